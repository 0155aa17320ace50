"""A localizer to train: a fresh network of any kind with its published start values, its spec, and its training.

``loop.py`` goes round, ``sequences.py`` gives the batches, ``objectives.py`` the losses. How good found segments are is
told by whoever starts the training.
"""

from __future__ import annotations

import copy
import dataclasses
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import nn

from vidact.errors import UsageError
from vidact.models.localization.actionformer import ActionFormer
from vidact.models.localization.bmn import BMN
from vidact.models.localization.settings import Fusion, Settings, Suppression, Windows
from vidact.models.localization.tcn import TCN
from vidact.models.localization.tridet import GranularityBlock, TriDet
from vidact.models.localizer import NETWORKS, Localizer
from vidact.models.recognizer import compute_exactly
from vidact.records import Contract, LocalizerSpec, Segments
from vidact.store.annotations import AnnotatedVideo
from vidact.training.files import weights_name
from vidact.training.loop import Learnt, Loop, Recipe
from vidact.training.objectives import Losses, Sequences, objective
from vidact.training.sequences import SequenceData, rate_and_duration

Score = Callable[[Sequence[AnnotatedVideo], Sequence[Segments]], float]
"""(true segments, found segments) of the same videos → how good they are; higher is better."""

ANY_ACTION = "action"
"""What a network that tells no labels apart finds."""
_PRIOR, _NEVER = 0.01, 1e-6


@dataclass(frozen=True, slots=True)
class Shape:
    """The size of a network: defaults as published for THUMOS-14.

    ``length`` rows at most are trained on at a time; ``fit`` says whether longer videos are cut (and searched whole) or
    every video is resized to that length. Pyramids have ``levels`` levels, heads of ``head_width`` (0: ``width``), and
    position codes if ``codes``; ``heads`` and ``window`` are ActionFormer's, ``bins`` TriDet's. ``durations`` are BMN's
    longest segments in rows (0: ``length``, or half of it where videos are cut), ``layers`` TCN's.
    """

    length: int = 2304
    fit: Literal["cut", "resize"] = "cut"
    width: int = 512
    levels: int = 6
    head_width: int = 0
    codes: bool = False
    drop_path: float = 0.1
    heads: int = 4
    window: int = 19
    bins: int = 16
    durations: int = 0
    layers: int = 10
    dropout: float = 0.5


@dataclass(frozen=True, slots=True)
class Start:
    """Where a training begins. Batches must be a ``multiple`` of rows long, or exactly as long as the settings say
    where ``whole``."""

    network: nn.Module
    spec: LocalizerSpec
    settings: Settings
    multiple: int
    whole: bool


def fresh(
    architecture: str,
    name: str,
    contract: Contract,
    labels: Sequence[str],
    shape: Shape,
    *,
    empty: Sequence[int] = (),
    seed: int = 0,
) -> Start:
    """A network with random weights, the same for the same seed, that reads features of ``contract``.

    ``empty`` are the numbers of labels without example, which it is told never to find. Raises UsageError for a size
    that cannot be.
    """
    if architecture not in NETWORKS:
        raise UsageError(f"there is no localizer {architecture!r}", hint=f"choose one of {', '.join(sorted(NETWORKS))}")
    _check(architecture, contract, shape)
    torch.manual_seed(seed)
    settings = _settings(architecture, shape, len(labels))
    network, facts = _build(architecture, contract.dimension, len(labels), shape)
    _start_values(network, empty)
    spec = LocalizerSpec(
        name=weights_name(architecture, name),
        architecture=architecture,
        contract=contract,
        classes=network.classes,  # type: ignore[arg-type]
        labels=tuple(labels),
        network=facts,
        settings={"vidact": settings.to_json()},
    )
    whole = architecture in ("tridet", "bmn")
    multiple = 1 if architecture == "tcn" else 2 ** (shape.levels - 1)
    return Start(network, spec, settings, multiple, whole)


def _check(architecture: str, contract: Contract, shape: Shape) -> None:
    pyramid = architecture in ("actionformer", "tridet")
    groups = {"actionformer": shape.heads, "tridet": 16, "bmn": 4}.get(architecture, 1)
    if shape.width % groups:
        raise UsageError(f"a width of {shape.width} is no multiple of {groups}", hint=f"--width {groups * 16}")
    if architecture == "bmn" and contract.dimension % groups:
        raise UsageError(
            f"BMN reads features in {groups} groups, and {contract.dimension} is no multiple of {groups}",
            hint="choose another --model",
        )
    if pyramid and shape.length % 2 ** (shape.levels - 1):
        step = 2 ** (shape.levels - 1)
        raise UsageError(
            f"{shape.length} rows cannot be halved {shape.levels - 1} times",
            hint=f"--length {-(-shape.length // step) * step}, or fewer --levels",
        )
    if shape.durations > shape.length:
        raise UsageError(f"segments of {shape.durations} rows do not fit into {shape.length}", hint="--length")


def _settings(architecture: str, shape: Shape, labels: int) -> Settings:
    resize: Literal["none", "linear"] = "linear" if shape.fit == "resize" else "none"
    if architecture != "bmn":
        return Settings(shape.length, resize, nms=Suppression(sigma=0.5, max_segments=200))
    nms = Suppression(sigma=0.5, max_segments=100, min_score=1e-4, by_class=False, iou=0.0, voting=0.95)
    windows = Windows(shape.length, max(shape.length // 2, 1)) if shape.fit == "cut" else None
    fusion = Fusion(top=2, root=False) if labels > 1 else None
    return Settings(shape.length, resize, nms=nms, windows=windows, fusion=fusion)


def _build(architecture: str, inputs: int, classes: int, shape: Shape) -> tuple[nn.Module, dict[str, Any]]:
    """The network, and what of it no tensor tells."""
    codes = shape.length if shape.codes else 0
    shared: dict[str, Any] = {
        "width": shape.width,
        "classes": classes,
        "head_width": shape.head_width or shape.width,
        "codes": codes,
        "drop_path": shape.drop_path,
    }
    if architecture == "actionformer":
        windows = [shape.window] * shape.levels
        network: nn.Module = ActionFormer([inputs], windows=windows, heads=shape.heads, **shared)
        return network, {"heads": shape.heads, "window": shape.window, "codes": codes}
    if architecture == "tridet":
        kernels = [(1, 11)] * shape.levels
        shared.update(hidden=shape.width * 3 // 2, stem=kernels[:2], branch=kernels[1:], bins=shape.bins)
        return TriDet(inputs, **shared), {"codes": codes}
    if architecture == "tcn":
        return TCN(inputs, width=shape.width, layers=shape.layers, classes=classes, dropout=shape.dropout), {}
    durations = shape.durations or (shape.length if shape.fit == "resize" else max(shape.length // 2, 1))
    facts: dict[str, Any] = {"length": shape.length, "durations": durations, "boundary_scores": True}
    width = shape.width
    return BMN(inputs, width=width, reduced=width // 2, sampled=2 * width, mapped=width // 2, **facts), facts


def _start_values(network: nn.Module, empty: Sequence[int]) -> None:
    """As published: no biases; classes of pyramids rare at first; BMN after Glorot and Bengio; TriDet's windows nearly
    closed. A label without example begins, and stays, as good as impossible."""
    for module in network.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            if isinstance(network, BMN):
                nn.init.xavier_uniform_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, GranularityBlock):
            for layer in (module.gate, module.near, module.wide, module.instant, module.average):
                nn.init.normal_(layer.weight, std=0.1)
    if isinstance(network, BMN):
        return
    heads = [network.out] if isinstance(network, TCN) else [network.cls.out]  # type: ignore[union-attr]
    if isinstance(network, TriDet):
        heads += [network.start.out, network.end.out]
    for head in heads:
        assert isinstance(head, nn.Conv1d) and head.bias is not None
        if not isinstance(network, TCN):
            nn.init.constant_(head.bias, -math.log((1 - _PRIOR) / _PRIOR))
        with torch.no_grad():
            head.bias[list(empty)] = -math.log((1 - _NEVER) / _NEVER)


class LocalizerTrainer(Loop[Sequences]):
    """Trains a localizer; after every round it searches the held-out videos as ``vidact localize`` would.

    ``step(batch)`` is one step of the training and touches no file.
    """

    score_column = "val_score"
    speed_column = "sequences_per_second"

    def __init__(
        self,
        start: Start,
        data: SequenceData,
        recipe: Recipe,
        output: str | os.PathLike[str],
        *,
        losses: Losses,
        score: Score,
        device: str = "cpu",
    ) -> None:
        super().__init__(start.network, start.spec, data, recipe, output, device=device)
        compute_exactly()  # as the localizer does that judges: a training that is resumed must go on in the same way
        self.start, self.sequences, self.losses, self.score = start, data, losses, score
        self.objective = objective(start.spec.architecture, losses)
        self.train_columns = tuple(f"loss_{part}" for part in self.objective.parts)

    def learn(self, batch: Sequences) -> Learnt:
        """The sum of the objective's parts."""
        with self.autocast():
            parts = self.objective(self.network, batch.to(self.device))
        sums = {f"loss_{name}": float(part.detach()) * len(batch) for name, part in parts.items()}
        return Learnt(torch.stack(list(parts.values())).sum(), len(batch), sums)

    def judge(self) -> tuple[float, float]:
        """Mean loss on pieces of the held-out videos, and the score of what is found in the whole ones."""
        loss, seen = 0.0, 0
        with torch.random.fork_rng(), self.averaged_weights(), torch.inference_mode():
            torch.manual_seed(self.recipe.seed)  # what a loss draws is the same after every round
            for batch in self.data.held_out():
                with self.autocast():
                    parts = self.objective(self.network, batch.to(self.device))
                loss += sum(float(part) for part in parts.values()) * len(batch)
                seen += len(batch)
        truth = [self._as_told(example.video) for example in self.sequences.validation]
        return loss / max(seen, 1), self.score(truth, self.search())

    def search(self) -> list[Segments]:
        """What the averaged weights find in the held-out videos."""
        network = copy.deepcopy(self.network)
        network.load_state_dict(self.averaged)
        localizer = Localizer(network, self.start.spec, self.start.settings, device=str(self.device))
        found = []
        for example in self.sequences.validation:
            features = self.sequences.feature_set.read(example)
            rate, duration = rate_and_duration(self.start.spec.contract, features, example)
            found.append(localizer.localize(features.array, duration=duration, fps=rate, centres=features.centres))
        return found

    def _as_told(self, video: AnnotatedVideo) -> AnnotatedVideo:
        if self.start.settings.fusion is None:
            return video
        return dataclasses.replace(video, labels=(ANY_ACTION,) * len(video.labels))

    def kept(self) -> dict[str, float]:
        """The running number of positive points."""
        return {"running": self.objective.running}

    def go_on_from(self, kept: dict[str, float]) -> None:  # type: ignore[override]
        """Take up what ``kept`` gave."""
        self.objective.running = kept["running"]

    def described(self) -> dict[str, Any]:
        """Losses, cutting, the batch size, and which videos with which segments."""
        return {
            "losses": dataclasses.asdict(self.losses),
            "cutting": dataclasses.asdict(self.sequences.cutting),
            "batch size": self.sequences.batch_size,
            "annotations (their hash)": self.sequences.truth.digest(),
        }
