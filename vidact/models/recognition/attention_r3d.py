"""Attention R3D: a 3-D residual network whose blocks end in channel attention, then spatial attention.

The attention stands after the convolutions, before the shortcut is added; switched off, what is left is the plain
3-D ResNet. Depths 10, 18 and 34 use basic blocks, 50 bottlenecks. No layer knows the size of its input. Knows nothing
of labels, pixels or files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.recognition.blocks import sigmoid

Triple = tuple[int, int, int]

DEPTHS: dict[int, tuple[int, int, int, int]] = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
BOTTLENECK_DEPTHS = frozenset({50})
ATTENTION = "attention-r3d"

STRIDES: tuple[Triple, ...] = ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 2, 2))
"""First stride (time, height, width) of each stage: time is kept long, because motion lives there."""


class ChannelAttention(nn.Module):
    """A weight in 0..1 for every channel, from its mean and its maximum over time and space."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(channels // reduction, 4)
        self.mlp = nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → the same, channels weighted."""
        flat = x.flatten(2)
        weight = sigmoid(self.mlp(flat.mean(dim=2)) + self.mlp(flat.max(dim=2).values))
        return x * weight[:, :, None, None, None]


class SpatialAttention(nn.Module):
    """A weight in 0..1 for every place of every frame, from the mean and the maximum over its channels."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 1, (1, kernel, kernel), padding=(0, kernel // 2, kernel // 2), bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → the same, places weighted."""
        summary = torch.cat((x.mean(dim=1, keepdim=True), x.max(dim=1, keepdim=True).values), dim=1)
        return x * sigmoid(self.conv(summary))


class Shrink(nn.AvgPool3d):
    """Averages in float32: torch averages no shorter numbers on CPUs."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C, T', H', W') of the same type."""
        return super().forward(x.float()).to(x.dtype)


class Block(nn.Module):
    """A residual block: two 3x3x3 convolutions, or a bottleneck of three, then attention, then the shortcut."""

    def __init__(
        self, inputs: int, width: int, stride: Triple, *, bottleneck: bool, attention: bool, reduction: int
    ) -> None:
        super().__init__()
        outputs = width * 4 if bottleneck else width
        if bottleneck:
            layers = [_conv(inputs, width, 1), *_norm(width), _conv(width, width, 3, stride), *_norm(width)]
            layers += [_conv(width, outputs, 1), nn.BatchNorm3d(outputs)]
        else:
            layers = [_conv(inputs, width, 3, stride), *_norm(width), _conv(width, width, 3), nn.BatchNorm3d(width)]
        self.convolutions = nn.Sequential(*layers)
        self.attention = (
            nn.Sequential(ChannelAttention(outputs, reduction), SpatialAttention()) if attention else nn.Identity()
        )
        plain = inputs == outputs and stride == (1, 1, 1)
        # Averaging first uses every place of the input, where a strided 1x1x1 convolution would skip seven of eight.
        shrink = nn.Identity() if stride == (1, 1, 1) else Shrink(stride, ceil_mode=True, count_include_pad=False)
        self.shortcut = (
            nn.Identity() if plain else nn.Sequential(shrink, _conv(inputs, outputs, 1), nn.BatchNorm3d(outputs))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T', H', W')."""
        return torch.relu(self.attention(self.convolutions(x)) + self.shortcut(x))


class AttentionR3D(nn.Module):
    """The family: ``depth`` 10, 18, 34 or 50, ``width`` channels in the first stage, doubled in each of the next three.

    ``stem`` is the first kernel and ``stem_stride`` its stride, both (time, height, width); ``stem_pool`` adds the
    maximum over 1x3x3 that halves the picture once more. ``features(clips)`` has ``self.dimension`` channels. Raises
    ModelError for a depth outside the family.
    """

    def __init__(
        self,
        depth: int,
        classes: int,
        *,
        width: int = 64,
        attention: bool = True,
        reduction: int = 16,
        stem: Sequence[int] = (5, 7, 7),
        stem_stride: Sequence[int] = (1, 2, 2),
        stem_pool: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ModelError(
                f"there is no attention-r3d of depth {depth}", hint=f"choose one of {', '.join(map(str, DEPTHS))}"
            )
        kernel, stride = _triple(stem, "stem"), _triple(stem_stride, "stem_stride")
        stem_layers: list[nn.Module] = [_conv(3, width, kernel, stride), *_norm(width)]
        if stem_pool:
            stem_layers.append(nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)))
        self.stem = nn.Sequential(*stem_layers)
        bottleneck = depth in BOTTLENECK_DEPTHS
        stages, inputs = [], width
        for number, (blocks, first) in enumerate(zip(DEPTHS[depth], STRIDES, strict=True)):
            rows = []
            for position in range(blocks):
                step = first if position == 0 else (1, 1, 1)
                channels = width << number
                rows.append(
                    Block(inputs, channels, step, bottleneck=bottleneck, attention=attention, reduction=reduction)
                )
                inputs = channels * 4 if bottleneck else channels
            stages.append(nn.Sequential(*rows))
        self.stages = nn.Sequential(*stages)
        self.dimension, self.classes = inputs, classes
        self.head = nn.Sequential(nn.Dropout(dropout), nn.Linear(inputs, classes))
        self._start()

    def _start(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            elif isinstance(module, nn.BatchNorm3d):
                nn.init.ones_(module.weight)
                nn.init.zeros_(module.bias)
        first = self.stem[0]
        if isinstance(first, nn.Conv3d) and first.kernel_size[0] > 1:
            with torch.no_grad():
                first.weight.copy_(_drifting_waves(*first.weight.shape))

    def features(self, clips: Tensor, pool: bool = True) -> Tensor:
        """What the classifier head sees: (B, 3, T, H, W) → (B, D), or (B, D, T', H', W') with ``pool=False``."""
        maps: Tensor = self.stages(self.stem(clips))
        return maps.mean(dim=(2, 3, 4)) if pool else maps

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) normalised → (B, classes) logits."""
        logits: Tensor = self.head(self.features(clips))
        return logits


def _drifting_waves(outputs: int, inputs: int, time: int, height: int, width: int) -> Tensor:
    """First weights of the stem: waves under a bell, drifting in eight directions at several lengths and speeds.

    A rectified answer to a drifting wave tells the direction of motion from the first step of a training; from random
    weights that takes the network thousands of clips to find.
    """
    t, y, x = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32) - n // 2 for n in (time, height, width)), indexing="ij"
    )
    bell = torch.exp(-(x**2 + y**2) / (2 * (0.31 * width) ** 2) - t**2 / (2 * (0.3 * time) ** 2))
    waves = []
    for number in range(outputs):
        angle = 2 * math.pi * (number % 8) / 8
        length, speed = ((6.0, 0.5), (3.5, 1.0), (5.0, 0.25), (6.0, 2.0))[number // 8 % 4]
        phase = 2 * math.pi / length * (math.cos(angle) * x + math.sin(angle) * y - speed * t) + number * math.pi / 2
        wave = torch.cos(phase) * bell
        wave = wave - wave.mean()
        waves.append(1.4 * wave / wave.norm())
    shade = torch.tensor([0.3, 0.59, 0.11]) if inputs == 3 else torch.full((inputs,), 1 / inputs)
    return torch.stack(waves)[:, None] * shade[:, None, None, None]


def build(architecture: str, classes: int, options: Mapping[str, Any]) -> AttentionR3D:
    """A fresh network by its name (``attention-r3d-10``, ``r3d-plain-50``); ``options`` go to the constructor."""
    family, _, depth = architecture.rpartition("-")
    given = {key: value for key, value in options.items() if key not in ("depth", "classes")}
    return AttentionR3D(int(depth), classes, **{"attention": family == ATTENTION, **given})


def from_state(
    architecture: str, state: dict[str, Tensor], options: Mapping[str, Any]
) -> tuple[AttentionR3D, dict[str, Tensor]]:
    """The network that fits these tensors, and the tensors, which are under its own names: no one else published it.

    Classes, width and the stem's kernel come from the tensors; what they do not show (strides) from ``options``.
    """
    if not {"stem.0.weight", "head.1.weight"} <= state.keys():
        raise ModelError(
            f"these are not the tensors of an {architecture}: stem.0.weight or head.1.weight is missing",
            hint="check --model against the file (`vidact models list`)",
        )
    stem = state["stem.0.weight"].shape
    seen = {"width": stem[0], "stem": tuple(stem[2:])}
    return build(architecture, state["head.1.weight"].shape[0], {**options, **seen}), state


def _conv(inputs: int, outputs: int, kernel: int | Triple, stride: Triple = (1, 1, 1)) -> nn.Conv3d:
    size = (kernel, kernel, kernel) if isinstance(kernel, int) else kernel
    padding = (size[0] // 2, size[1] // 2, size[2] // 2)
    return nn.Conv3d(inputs, outputs, size, stride=stride, padding=padding, bias=False)


def _norm(channels: int) -> tuple[nn.Module, nn.Module]:
    return nn.BatchNorm3d(channels), nn.ReLU(inplace=True)


def _triple(values: Any, name: str) -> Triple:
    triple = tuple(int(value) for value in values)
    if len(triple) != 3 or min(triple) < 1:
        raise ModelError(f"{name} must be three positive numbers (time, height, width), not {values!r}")
    return triple[0], triple[1], triple[2]
