"""A recogniser to train: a fresh network of our family, or any checkpoint vidact can open, given the labels to learn.

Knows nothing of batches or schedules; ``loop.py`` trains what is made here.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch
from torch import nn

from vidact.errors import ModelError, UsageError
from vidact.models.build import load_model, unwrap
from vidact.models.networks import NETWORKS
from vidact.models.recognition import attention_r3d
from vidact.models.recognizer import Recognizer
from vidact.models.weights import State, read_spec, read_tensors
from vidact.records import Geometry, Sampling, Spec
from vidact.training.files import weights_name

FRESH = tuple(name for name, module in NETWORKS.items() if module == attention_r3d.__name__)
"""The architectures that can be trained from nothing."""

_WIDE_STEM = {"stem": [5, 7, 7], "stem_stride": [1, 2, 2], "stem_pool": True}
_SMALL_STEM = {"stem": [5, 7, 7], "stem_stride": [1, 2, 2], "stem_pool": False}
_SMALL_SIZE = 64


@dataclass(frozen=True, slots=True)
class Original:
    """What a tensor is called in the file a training started from, and its shape there behind the first axis."""

    key: str
    rest: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Start:
    """Where a training begins. ``originals``, by own key, is empty for our family; ``notes`` are lines for the user."""

    network: nn.Module
    spec: Spec
    originals: dict[str, Original]
    notes: tuple[str, ...]

    def named(self, state: State) -> State:
        """The network's tensors as they belong into a file: in the format of the original, so that it opens like it."""
        if not self.originals:
            return state
        return {
            original.key: value.reshape(*value.shape[:1], *original.rest)
            for own, value in state.items()
            if (original := self.originals.get(own))
        }


def fresh(
    architecture: str,
    name: str,
    labels: Sequence[str],
    *,
    frames: int,
    fps: float,
    size: int,
    width: int,
    seed: int = 0,
) -> Start:
    """A network with random weights, the same for the same seed, that sees ``frames`` pictures of ``size`` pixels.

    Raises UsageError for an architecture that is only ever fine-tuned.
    """
    if architecture not in FRESH:
        known = architecture in NETWORKS
        raise UsageError(
            f"{architecture} is not trained from nothing" if known else f"there is no architecture {architecture!r}",
            hint="give its published weights with --init FILE" if known else "choose one of " + ", ".join(FRESH),
        )
    options: dict[str, Any] = {"width": width, **(_SMALL_STEM if size <= _SMALL_SIZE else _WIDE_STEM)}
    torch.manual_seed(seed)
    network = attention_r3d.build(architecture, len(labels), options)
    spec = Spec(
        name=weights_name(architecture, name),
        architecture=architecture,
        sampling=Sampling(frames=frames, stride=1, fps=fps),
        geometry=Geometry(size=(size, size), resize="short-side", short_side=round(size * 8 / 7)),
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        labels=tuple(labels),
        classes=len(labels),
        feature_dimension=network.dimension,
        network=options,
    )
    return Start(network, spec, {}, ())


def from_checkpoint(path: str, architecture: str | None, name: str, labels: Sequence[str], *, seed: int = 0) -> Start:
    """The network of a checkpoint, with a new last layer if its labels are not the ones to learn.

    Raises ModelError when the file does not fit, or when its format could not be written again.
    """
    # A file of our own that is not for camera motion must not inherit the labels of its architecture's zoo entry.
    inside = read_spec(path)
    model = load_model(None if inside else architecture, checkpoint=path)
    if not isinstance(model, Recognizer):
        raise UsageError(f"{path!r} is not a recogniser", hint="give the checkpoint of one that classifies clips")
    network, spec = model.network, model.spec
    network.requires_grad_(True)
    network.float()
    ours = inside is not None and inside.architecture in FRESH
    originals = {} if ours else _originals(path, spec, network)
    notes = [f"Starting from {spec.name} in {path}."]
    if spec.labels != tuple(labels):
        old = getattr(network, "classes", spec.classes)
        torch.manual_seed(seed)
        _renew_head(network, old, len(labels))
        was = f"{old} labels" if spec.labels else f"{old} classes without names"
        notes.append(f"Its last layer is new: it knew {was}, the data has {len(labels)}.")
    spec = dataclasses.replace(
        spec,
        name=weights_name(spec.architecture, name),
        labels=tuple(labels),
        classes=len(labels),
        published=None,
        notes="",
    )
    return Start(network, spec, originals, tuple(notes))


def _renew_head(network: nn.Module, old: int, classes: int) -> None:
    layers = [(name, layer) for name, layer in network.named_modules() if isinstance(layer, nn.Linear)]
    layers = [(name, layer) for name, layer in layers if layer.out_features == old]
    if not layers:
        raise ModelError(
            f"{type(network).__name__} has no last layer of {old} classes that could be replaced",
            hint="train an attention-r3d instead, or give a checkpoint with the labels of the data",
        )
    name, layer = layers[-1]
    new = nn.Linear(layer.in_features, classes, bias=layer.bias is not None)
    nn.init.normal_(new.weight, std=0.01)
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    parent, _, last = name.rpartition(".")
    setattr(network.get_submodule(parent), last, new)
    if hasattr(network, "classes"):
        network.classes = classes  # type: ignore[assignment]


def _originals(path: str, spec: Spec, network: nn.Module) -> dict[str, Original]:
    """Own key → what it was in the file. Renamed or reshaped tensors share their memory: that tells which is which."""
    state = unwrap(read_tensors(path), path)
    _, mapped = import_module(NETWORKS[spec.architecture]).from_state(spec.architecture, state, spec.network)
    before = {(value.data_ptr(), value.numel()): (key, value) for key, value in state.items()}
    found = {}
    for own, value in mapped.items():
        key, original = before.get((value.data_ptr(), value.numel()), ("", value))
        if key and original.shape[:1] == value.shape[:1]:
            found[own] = Original(key, tuple(original.shape[1:]))
    if lost := [own for own in network.state_dict() if own not in found and not own.endswith("num_batches_tracked")]:
        raise ModelError(
            f"the format of {path!r} can be read but not written ({len(lost)} tensors are computed, first: {lost[0]})",
            hint="start from a checkpoint of another publisher, or train an attention-r3d",
        )
    return found
