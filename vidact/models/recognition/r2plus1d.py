"""R(2+1)D: every 3-D convolution is one over space and one over time, with a norm and a ReLU between.

Two published designs: bottlenecks whose middle convolution is factorised, time first (pytorchvideo, R50), and basic
blocks with everything factorised, space first (mmaction2, R34).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, rename, shape
from vidact.models.recognition.blocks import (
    ONE,
    Basic,
    Bottleneck,
    Classifier,
    ConvNorm,
    Factorised,
    Head,
    Triple,
    equal_size,
    factorised,
)
from vidact.models.recognition.pathway import PYTORCHVIDEO_BLOCKS, STAGES, depth


@dataclass(frozen=True, slots=True)
class Rules:
    """What one publisher does its own way.

    ``bottleneck``: the design above. ``strides`` of each stage's first block. ``window`` of the head, None averages
    whole clips; ``score_first``: probabilities at every position, then their mean.
    """

    mark: str
    rows: Rows
    bottleneck: bool
    strides: tuple[Triple, ...]
    eps: float
    window: Triple | None
    score_first: bool


PYTORCHVIDEO = Rules(
    mark=r"blocks\.1\.res_blocks\.0\.branch2\.conv_b\.conv_xy\.",
    bottleneck=True,
    strides=((1, 2, 2), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
    eps=1e-5,
    window=(4, 7, 7),
    score_first=True,
    rows=(
        (r"^blocks\.0\.", "stem."),
        (r"^blocks\.1\.res_blocks\.", "stages.0."),
        (r"^blocks\.2\.res_blocks\.", "stages.1."),
        (r"^blocks\.3\.res_blocks\.", "stages.2."),
        (r"^blocks\.4\.res_blocks\.", "stages.3."),
        (r"^blocks\.5\.proj\.", "head.projection."),
        (r"\.branch2\.conv_b\.conv_xy\.", ".b.space."),
        (r"\.branch2\.conv_b\.conv_t\.", ".b.time."),
        (r"\.branch2\.conv_b\.norm\.", ".b.between."),
        *PYTORCHVIDEO_BLOCKS,
    ),
)
MMACTION = Rules(
    mark=r"backbone\.conv1\.conv\.conv_s\.",
    bottleneck=False,
    strides=(ONE, (2, 2, 2), (2, 2, 2), (2, 2, 2)),
    eps=1e-3,
    window=None,
    score_first=False,
    rows=(
        (r"^backbone\.conv1\.", "stem."),
        (r"^backbone\.layer1\.", "stages.0."),
        (r"^backbone\.layer2\.", "stages.1."),
        (r"^backbone\.layer3\.", "stages.2."),
        (r"^backbone\.layer4\.", "stages.3."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
        (r"\.conv\.conv_s\.", ".space."),
        (r"\.conv\.conv_t\.", ".time."),
        (r"\.conv\.bn_s\.", ".between."),
        (r"\.bn\.", ".norm."),
        (r"\.conv1\.", ".a."),
        (r"\.conv2\.", ".b."),
        (r"\.downsample\.", ".shortcut."),
    ),
)
FORMATS = (PYTORCHVIDEO, MMACTION)


def _basic(inputs: int, outputs: int, stride: Triple, eps: float) -> Basic:
    """Two factorised 3x3x3 convolutions and a factorised shortcut where the size or the channels change."""
    a = factorised(inputs, outputs, (3, 3, 3), stride, eps=eps)
    b = factorised(outputs, outputs, (3, 3, 3), eps=eps, relu=False)
    if inputs == outputs and stride == ONE:
        return Basic(a, b, None)
    middle = equal_size(inputs, outputs, 1)
    return Basic(a, b, Factorised(inputs, middle, outputs, ONE, stride, eps=eps, relu=False))


class R2Plus1D(Classifier):
    """Stem, four stages of either design, head. ``width`` channels behind the stem."""

    def __init__(self, rules: Rules, inputs: int, classes: int, width: int, blocks: tuple[int, ...]) -> None:
        growth = 4 if rules.bottleneck else 1
        dimension = 8 * growth * width
        head = Head(dimension, classes, None if rules.window is None else [rules.window])
        super().__init__(head, score_first=rules.score_first)
        self.stem: nn.Module
        if rules.bottleneck:
            self.stem = ConvNorm(inputs, width, (1, 7, 7), (1, 2, 2), eps=rules.eps)
        else:
            self.stem = factorised(inputs, width, (3, 7, 7), (1, 2, 2), eps=rules.eps)
        self.pool = not rules.bottleneck
        self.stages = nn.ModuleList()
        channels = width
        for number in STAGES:
            stage = nn.Sequential()
            for block in range(blocks[number]):
                stride = rules.strides[number] if block == 0 else ONE
                stage.append(_block(rules, channels, width << number, stride))
                channels = growth * width << number
            self.stages.append(stage)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, D, T', H / 32, W / 32)."""
        x = self.stem(clips)
        if self.pool:
            x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for stage in self.stages:
            x = stage(x)
        return (x,)


def _block(rules: Rules, inputs: int, width: int, stride: Triple) -> nn.Module:
    if not rules.bottleneck:
        return _basic(inputs, width, stride, rules.eps)
    middle = Factorised(width, width, width, (3, 3, 3), stride, time_first=True, eps=rules.eps)
    return Bottleneck(inputs, width, 4 * width, stride=stride, middle=middle, eps=rules.eps)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = rename(state, rules.rows)
    classes = shape(own, "head.projection.weight", architecture)[0]
    inputs = shape(own, "stem.conv.weight" if rules.bottleneck else "stem.space.weight", architecture)[1]
    width = shape(own, "stem.norm.weight", architecture)[0]
    return R2Plus1D(rules, inputs, classes, width, depth(own, "")), own
