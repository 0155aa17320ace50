"""Two-dimensional ResNets over the segments of a video: TSN, and TSM, which shifts channels between them (mmaction2).

The segments are the clip's frames: (B, C, T, H, W), T of any length. Logits are averaged over the segments.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, rename, shape
from vidact.models.recognition.blocks import WHOLE, Classifier, Head, Normed
from vidact.models.recognition.pathway import MMACTION_BLOCKS, STAGES, depth

SHIFTED = 8
"""One channel in so many moves one segment forward, one in so many one back."""


@dataclass(frozen=True, slots=True)
class Rules:
    """``shift``: the network is TSM."""

    mark: str
    rows: Rows
    shift: bool


_MMACTION: Rows = (
    (r"\.conv\.net\.", ".conv."),
    (r"^backbone\.conv1\.", "stem."),
    (r"^backbone\.layer1\.", "stages.0."),
    (r"^backbone\.layer2\.", "stages.1."),
    (r"^backbone\.layer3\.", "stages.2."),
    (r"^backbone\.layer4\.", "stages.3."),
    (r"^cls_head\.fc_cls\.", "head.projection."),
    *MMACTION_BLOCKS,
)
TSN = Rules(mark=r"backbone\.layer1\.0\.conv1\.conv\.weight", rows=_MMACTION, shift=False)
TSM = Rules(mark=r"backbone\.layer1\.0\.conv1\.conv\.net\.weight", rows=_MMACTION, shift=True)


class ConvNorm2d(Normed):
    """A convolution that keeps the size (but for its stride), a batch norm and, by default, a ReLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, *, groups: int = 1, relu: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) → (N, C', H', W')."""
        x = self.norm(self.conv(x))
        return x.relu_() if self.relu else x


class Bottleneck2d(nn.Module):
    """1x1, 3x3, 1x1 and the shortcut; ``shift``: the first convolution sees channels of the neighbouring segments."""

    def __init__(self, inputs: int, width: int, stride: int, *, shift: bool) -> None:
        super().__init__()
        self.shift = shift
        self.a = ConvNorm2d(inputs, width, 1)
        self.b = ConvNorm2d(width, width, 3, stride)
        self.c = ConvNorm2d(width, 4 * width, 1, relu=False)
        same = inputs == 4 * width and stride == 1
        self.shortcut = None if same else ConvNorm2d(inputs, 4 * width, 1, stride, relu=False)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B * ``frames``, C, H, W) → (B * ``frames``, C', H', W')."""
        rest = x if self.shortcut is None else self.shortcut(x)
        seen = shifted(x, frames) if self.shift else x
        summed: Tensor = self.c(self.b(self.a(seen))).add_(rest)
        return summed.relu_()


def shifted(x: Tensor, frames: int) -> Tensor:
    """(B * ``frames``, C, H, W): the first channels one segment earlier, the next ones one later, zeros at the ends."""
    moved = x.view(-1, frames, *x.shape[1:])
    result = torch.empty_like(moved)
    fold = x.shape[1] // SHIFTED
    result[:, :-1, :fold] = moved[:, 1:, :fold]
    result[:, -1, :fold] = 0
    result[:, 1:, fold : 2 * fold] = moved[:, :-1, fold : 2 * fold]
    result[:, 0, fold : 2 * fold] = 0
    result[:, :, 2 * fold :] = moved[:, :, 2 * fold :]
    return result.flatten(0, 1)


class ResNet2D(Classifier):
    """Bottlenecks, ``blocks`` of them in each stage; ``width`` channels behind the stem."""

    def __init__(self, rules: Rules, inputs: int, classes: int, width: int, blocks: tuple[int, ...]) -> None:
        super().__init__(Head(32 * width, classes, [(1, WHOLE, WHOLE)]))
        self.stem = ConvNorm2d(inputs, width, 7, 2)
        # The deep ones shift every second block only.
        every = 2 if blocks[2] >= 23 else 1
        self.stages = nn.ModuleList()
        channels = width
        for number in STAGES:
            stage = nn.ModuleList()
            for block in range(blocks[number]):
                stride = 2 if block == 0 and number > 0 else 1
                shift = rules.shift and block % every == 0
                stage.append(Bottleneck2d(channels, width << number, stride, shift=shift))
                channels = 4 * width << number
            self.stages.append(stage)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, 2048, T, H / 32, W / 32)."""
        frames = clips.shape[2]
        x = F.max_pool2d(self.stem(clips.transpose(1, 2).flatten(0, 1)), 3, 2, 1)
        for stage in self.stages:
            for block in stage:  # type: ignore[attr-defined]
                x = block(x, frames)
        return (x.view(-1, frames, *x.shape[1:]).transpose(1, 2),)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose((TSM if architecture.startswith("tsm") else TSN,), state, architecture)
    own = rename(state, rules.rows)
    width, inputs = shape(own, "stem.conv.weight", architecture)[:2]
    classes = shape(own, "head.projection.weight", architecture)[0]
    return ResNet2D(rules, inputs, classes, width, depth(own, "")), own
