"""From a name and a file to a network that scores clips.

``describe`` tells a model's spec and hash without torch; ``load_model`` builds the network and loads its weights
strictly. A network's own file knows the key styles it is published in; this one knows only wrappers, prefixes and the
report of what does not fit.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shlex
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Generic

from vidact.errors import MissingWeights, ModelError
from vidact.models import cache, weights, zoo
from vidact.models.labels import read_labels
from vidact.models.networks import NETWORKS
from vidact.models.unknown import unknown, unknown_localizer
from vidact.models.weights import S
from vidact.models.zoo import localizers
from vidact.records import LocalizerSpec, Spec

_WRAPPERS = ("model_state", "state_dict_ema", "state_dict", "model", "module")
_PREFIXES = ("module.", "_orig_mod.")


@dataclasses.dataclass(frozen=True)
class Chosen(Generic[S]):
    """Which weights a name and a checkpoint mean: the file, its spec and its SHA-256.

    Of a composite ``file`` holds the files of its streams by name, and the hash is one over theirs.
    """

    spec: S
    file: str | Mapping[str, str]
    weights_hash: str


Checkpoint = str | Mapping[str, str] | None
"""The file of a model, or those of a composite's streams by their names; None: those vidact has."""


def describe(name: str | None, checkpoint: Checkpoint = None, labels: str | None = None) -> Chosen[Spec]:
    """What ``--model``, ``--checkpoint`` and ``--labels`` mean, without importing torch.

    Raises ModelError when the name is unknown, a file is missing or the labels do not fit.
    """
    composite = zoo.resolve(name) if name is not None else None
    if composite is not None and composite.spec.streams:
        return _describe_streams(composite.spec, checkpoint, labels)
    if isinstance(checkpoint, Mapping):
        raise ModelError(f"{name or zoo.DEFAULT} is one network, not several", hint="give its file with --checkpoint")
    if checkpoint is not None:
        spec = _spec_of_file(name, checkpoint)
        chosen = Chosen(spec, checkpoint, weights.file_hash(checkpoint))
    else:
        entry = zoo.resolve(name or zoo.DEFAULT)
        if entry is None:
            raise unknown(name or zoo.DEFAULT)
        file = cache.file_of(entry)
        chosen = Chosen(entry.described(), file, cache.hash_of(entry, file))
    if labels is None:
        return chosen
    # A file that carries no spec may have other classes than the zoo's; load_model compares once it is open.
    known = checkpoint is None or weights.read_spec(checkpoint) is not None
    names = read_labels(labels, chosen.spec.classes if known else None)
    return dataclasses.replace(chosen, spec=dataclasses.replace(chosen.spec, labels=names))


def _describe_streams(spec: Spec, checkpoint: Checkpoint, labels: str | None) -> Chosen[Spec]:
    """A composite: both its streams are described as models of their own, and have to agree on their classes."""
    example = " ".join(f"--backbone-checkpoint {stream}=FILE" for stream in spec.streams)
    given = checkpoint if isinstance(checkpoint, Mapping) else {}
    wrong = [name for name in given if name not in spec.streams]
    if wrong or isinstance(checkpoint, str):
        told = f"has no part {wrong[0]!r}" if wrong else f"is two networks, {checkpoint!r} can be the file of one"
        raise ModelError(f"{spec.name} {told}", hint=f"give the files of its parts: {example}")
    try:
        rgb, flow = (describe(stream, given.get(stream), labels) for stream in spec.streams)
    except MissingWeights as error:
        raise MissingWeights(error.message, name=error.name, hint=f"{error.hint}; or {example}") from error
    except ModelError as error:
        raise ModelError(error.message, hint=f"{spec.name} takes the files of its parts: {example}") from error
    if rgb.spec.labels != flow.spec.labels:
        raise ModelError(
            f"the parts of {spec.name} name different classes", hint="give the names of both with --labels FILE"
        )
    assert isinstance(rgb.file, str) and isinstance(flow.file, str)
    both = hashlib.sha256(f"{rgb.weights_hash} {flow.weights_hash}".encode()).hexdigest()
    files = dict(zip(spec.streams, (rgb.file, flow.file), strict=True))
    return Chosen(zoo.joined(spec, rgb.spec, flow.spec), files, both)


def describe_localizer(
    name: str | None, checkpoint: str | None = None, labels: str | None = None
) -> Chosen[LocalizerSpec]:
    """What ``--model``, ``--checkpoint`` and ``--labels`` mean for a localizer, without importing torch.

    Raises ModelError when the name is unknown, no localizer's, a file is missing or the labels do not fit.
    """
    chosen = _chosen_localizer(name, checkpoint)
    if labels is None:
        return chosen
    # Classes are known once a file without a spec is open; where a classifier names segments, labels are its own.
    known = checkpoint is None or weights.read_localizer_spec(checkpoint) is not None
    fused = any(settings.get("fusion") for settings in chosen.spec.settings.values())
    names = read_labels(labels, chosen.spec.classes if known and not fused else None)
    return dataclasses.replace(chosen, spec=dataclasses.replace(chosen.spec, labels=names))


def _chosen_localizer(name: str | None, checkpoint: str | None) -> Chosen[LocalizerSpec]:
    inside = None if checkpoint is None else weights.read_localizer_spec(checkpoint)
    if inside is not None and checkpoint is not None:
        _refuse_other(checkpoint, inside, name)
        return Chosen(inside, checkpoint, weights.file_hash(checkpoint))
    if checkpoint is not None and name is None:
        raise _no_localizer_inside(checkpoint)
    entry = localizers.resolve(name or localizers.DEFAULT)
    if checkpoint is not None and name is not None and "." not in name:
        entry = None  # the name of an architecture alone says nothing about features or labels
    if entry is None:
        raise unknown_localizer(name or localizers.DEFAULT, checkpoint)
    if checkpoint is not None:
        return Chosen(entry.spec, checkpoint, weights.file_hash(checkpoint))
    file = cache.file_of(entry)
    return Chosen(entry.spec, file, cache.hash_of(entry, file))


def _refuse_other(checkpoint: str, inside: Spec | LocalizerSpec, name: str | None) -> None:
    if name not in (None, inside.name, inside.architecture):
        raise ModelError(
            f"{checkpoint!r} holds {inside.name}, not {name}",
            hint=f"leave --model out, or give --model {inside.architecture}",
        )


def _no_localizer_inside(checkpoint: str) -> ModelError:
    weights.file_hash(checkpoint)  # raises with the reason when it cannot be read
    recogniser = weights.read_spec(checkpoint)
    if recogniser is not None:
        return ModelError(
            f"{checkpoint!r} holds {recogniser.name}, a recogniser, not a localizer",
            hint="`vidact classify` takes it, and --backbone-checkpoint NAME=FILE where a localizer builds on it",
        )
    best = Path(checkpoint).with_name("best.safetensors")
    if Path(checkpoint).name == "last.pt" and best.exists():
        return ModelError(f"{checkpoint!r} is the state of a training", hint=f"--checkpoint {shlex.quote(str(best))}")
    return ModelError(
        f"{checkpoint!r} does not say which localizer it belongs to",
        hint="name it with --model (`vidact models list --task localization` shows the names)",
    )


def _spec_of_file(name: str | None, checkpoint: str) -> Spec:
    inside = weights.read_spec(checkpoint)
    if inside is not None:
        _refuse_other(checkpoint, inside, name)
        return inside
    if not os.path.exists(checkpoint):
        weights.file_hash(checkpoint)  # raises with the reason
    if name is None:
        localizer = weights.read_localizer_spec(checkpoint)
        if localizer is not None:
            raise ModelError(
                f"{checkpoint!r} holds {localizer.name}, a localizer, not a recogniser",
                hint="`vidact localize --checkpoint` takes it",
            )
        raise ModelError(
            f"{checkpoint!r} does not say which network it belongs to",
            hint="name it with --model (`vidact models list` shows the names)",
        )
    # The name of an architecture alone says nothing about labels: the file may have been trained on anything.
    entry = zoo.resolve(name) if "." in name else None
    if entry is not None:
        return entry.described()
    if name not in NETWORKS:
        raise unknown(name)
    spec = zoo.spec_of(name, weights.key_names(checkpoint))
    if spec is None:
        raise ModelError(
            f"{checkpoint!r} does not say how {name} wants its clips, and no published weights of {name} do",
            hint="give a checkpoint that `vidact train recognizer` wrote: it carries its sampling and labels",
        )
    return spec


def load_model(
    name: str | None = None,
    *,
    checkpoint: str | os.PathLike[str] | Mapping[str, str] | None = None,
    device: str = "cpu",
    dtype: str = "float32",
    labels: str | Sequence[str] | None = None,
    sha256: str | None = None,
    fold: bool = False,
) -> Any:
    """Build a network and load its weights strictly: a ``Recognizer``, or a ``Localizer`` where the name is one's.

    ``name`` is ``architecture.weights`` or an architecture; ``checkpoint`` a file in any format the architecture was
    published in; ``labels`` a file or the names themselves; a file with another ``sha256`` is refused. A composite is
    a ``TwoStream``, and its checkpoint says which file belongs to which part: ``{"i3d.k400": "rgb.pt", …}``. ``fold``
    multiplies batch norms into convolutions where it can: faster, the same but for rounding, not to be trained. Raises
    ModelError, with the first keys that do not fit.
    """
    from vidact.models.recognizer import Recognizer

    file = (
        dict(checkpoint) if isinstance(checkpoint, Mapping) else None if checkpoint is None else os.fspath(checkpoint)
    )
    if not isinstance(file, dict) and is_localizer(name, file):
        return _load_localizer(name, file, device, dtype, labels, sha256)
    chosen = describe(name, file, labels if isinstance(labels, str) else None)
    if labels is not None and not isinstance(labels, str):
        chosen = dataclasses.replace(chosen, spec=dataclasses.replace(chosen.spec, labels=tuple(labels)))
    if isinstance(chosen.file, Mapping):
        return _load_streams(chosen, device, dtype, sha256, fold)
    _check_hash(chosen.file, chosen.weights_hash if file is None else "", sha256)
    network, spec = _load(chosen)
    if fold:
        fold_norms(network)
    return Recognizer(network, spec, device=device, dtype=dtype)


def fold_norms(network: Any) -> None:
    """Multiply the batch norms of a loaded network into its convolutions, in float32, where its blocks know how."""
    from vidact.models.recognition.blocks import Normed

    for module in network.modules():
        if isinstance(module, Normed):
            module.fold()


def _load_localizer(
    name: str | None,
    file: str | None,
    device: str,
    dtype: str,
    labels: str | Sequence[str] | None,
    sha256: str | None,
) -> Any:
    from vidact.models import localizer

    names = read_labels(labels) if isinstance(labels, str) else labels
    chosen = describe_localizer(name, file)
    assert isinstance(chosen.file, str)
    _check_hash(chosen.file, chosen.weights_hash if file is None else "", sha256)
    return localizer.load(chosen.spec, chosen.file, device=device, dtype=dtype, labels=names)


def _load_streams(chosen: Chosen[Spec], device: str, dtype: str, sha256: str | None, fold: bool) -> Any:
    """Both networks of a composite, each loaded as the model it is."""
    from vidact.models.two_stream import TwoStream

    if sha256 not in (None, chosen.weights_hash):
        raise ModelError(
            f"a file of {chosen.spec.name} was changed: the hash over both is {chosen.weights_hash}, expected {sha256}",
            hint="copy them again",
        )
    assert isinstance(chosen.file, Mapping)
    names = chosen.spec.labels or None
    rgb, flow = (
        load_model(stream, checkpoint=file, device=device, dtype=dtype, labels=names, fold=fold)
        for stream, file in chosen.file.items()
    )
    for part in (rgb, flow):
        takes = next(tensor.shape[1] for tensor in part.network.parameters() if tensor.ndim > 3)
        if takes != len(part.spec.mean):
            raise ModelError(
                f"the file for {part.spec.name} takes clips of {takes} channels, expected {len(part.spec.mean)}",
                hint="the files of the two parts may be exchanged",
            )
    if rgb.spec.classes != flow.spec.classes:
        raise ModelError(
            f"the parts of {chosen.spec.name} have {rgb.spec.classes} and {flow.spec.classes} classes",
            hint="give two files that were trained on the same classes",
        )
    return TwoStream(rgb, flow, dataclasses.replace(chosen.spec, classes=rgb.spec.classes))


def is_localizer(name: str | None, file: str | None) -> bool:
    """Whether these are a localizer's weights: by their name, or by what the file says of itself."""
    return localizers.means(name) or (file is not None and weights.read_localizer_spec(file) is not None)


def _check_hash(file: str, known: str, wanted: str | None) -> None:
    """ModelError when a file is not the one whose SHA-256 is ``wanted``, or else ``known``; neither: any file is."""
    expected = wanted or known
    found = weights.file_hash(file) if expected else ""
    if found != expected:
        raise ModelError(
            f"{file!r} is damaged or was changed: its SHA-256 is {found}, expected {expected}",
            hint="install or copy it again",
        )


def _load(chosen: Chosen[Spec]) -> tuple[Any, Spec]:
    """The network with its tensors in place, and the spec with the classes the file really has."""
    assert isinstance(chosen.file, str)
    return of_state(chosen.spec, unwrap(weights.read_tensors(chosen.file), chosen.file), chosen.file)


def of_state(spec: Spec, state: weights.State, file: str) -> tuple[Any, Spec]:
    """The network these published tensors of ``file`` make, and the spec with the classes they really have."""
    module = import_module(NETWORKS[spec.architecture])
    network, mapped = module.from_state(spec.architecture, state, spec.network)
    load_strictly(network, mapped, file)
    return network, _with_classes(spec, getattr(network, "classes", spec.classes), file)


def _with_classes(spec: Spec, classes: int, file: str) -> Spec:
    """The spec with the classes of the network that was built; labels that do not fit them are refused."""
    if spec.labels and len(spec.labels) != classes:
        raise ModelError(
            f"{file!r} has {classes} classes, {spec.name} has {len(spec.labels)} labels",
            hint=f"give --labels FILE with {classes} names, or --model {spec.architecture} to go without names",
        )
    return dataclasses.replace(spec, classes=classes)


def unwrap(loaded: Any, file: str) -> weights.State:
    """The state dict inside whatever wrappers training code put around it, without ``module.`` prefixes."""
    import torch

    while isinstance(loaded, Mapping):
        inner = next((key for key in _WRAPPERS if isinstance(loaded.get(key), Mapping)), None)
        if inner is None:
            break
        loaded = loaded[inner]
    if isinstance(loaded, Mapping) and not any(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise ModelError(
            f"{file!r} holds no table of tensors; it holds {sorted(map(str, loaded))[:8]}",
            hint="give a file with a state_dict",
        )
    if not isinstance(loaded, Mapping):
        raise ModelError(
            f"{file!r} holds a {type(loaded).__name__}, not a table of tensors", hint="give a file with a state_dict"
        )
    state = {str(key): value for key, value in loaded.items() if isinstance(value, torch.Tensor)}
    for prefix in _PREFIXES:
        if state and all(key.startswith(prefix) for key in state):
            state = {key[len(prefix) :]: value for key, value in state.items()}
    return state


def load_strictly(network: Any, state: weights.State, file: str) -> None:
    """Copy every tensor into the network; anything missing, unexpected or misshapen is a ModelError that names it."""
    own = network.state_dict()
    missing = [key for key in own if key not in state and not key.endswith("num_batches_tracked")]
    unexpected = [key for key in state if key not in own]
    misshapen = [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own
        if key in state and own[key].shape != state[key].shape
    ]
    if missing or unexpected or misshapen:
        parts = [
            f"{len(found)} {what} (first: {found[0]})"
            for what, found in (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
            if found
        ]
        raise ModelError(
            f"the tensors in {file!r} do not fit {type(network).__name__}: " + "; ".join(parts),
            hint="check --model against the file (`vidact models list`)",
        )
    network.load_state_dict(state, strict=False)  # every key was compared above; only counters may be absent
