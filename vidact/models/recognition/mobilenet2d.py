"""TSM on MobileNetV2: channels move between segments in front of every block that keeps its size (mmaction2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, rename, shape
from vidact.models.recognition.blocks import WHOLE, Classifier, Head
from vidact.models.recognition.resnet2d import ConvNorm2d, shifted

# Times the channels grow inside a block, channels behind it, blocks, stride of the first.
LEVELS: tuple[tuple[int, int, int, int], ...] = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
DIMENSION = 1280
KEYS: Rows = (
    (r"^backbone\.conv1\.", "stem."),
    (r"^backbone\.conv2\.", "last."),
    (r"^backbone\.layer(\d)\.(\d)\.conv\.(\d)\.(net\.)?", r"levels.\1.\2.convolutions.\3."),
    (r"\.bn\.", ".norm."),
    (r"^cls_head\.fc_cls\.", "head.projection."),
)


class Inverted(nn.Module):
    """1x1 to more channels, a depthwise 3x3, 1x1 to fewer; the input is added where the size stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, growth: int) -> None:
        super().__init__()
        inner = inputs * growth
        self.convolutions = nn.ModuleList()
        if growth > 1:
            self.convolutions.append(ConvNorm2d(inputs, inner, 1, relu=False))
        self.convolutions.append(ConvNorm2d(inner, inner, 3, stride, groups=inner, relu=False))
        self.convolutions.append(ConvNorm2d(inner, outputs, 1, relu=False))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor, frames: int) -> Tensor:
        """(B * ``frames``, C, H, W) → (B * ``frames``, C', H', W')."""
        seen = shifted(x, frames) if self.residual and len(self.convolutions) == 3 else x
        *firsts, last = self.convolutions
        for convolution in firsts:
            seen = F.relu6(convolution(seen), inplace=True)
        found: Tensor = last(seen)
        return found.add_(x) if self.residual else found


class MobileNet2D(Classifier):
    """``inputs`` channels, segments as frames."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(Head(DIMENSION, classes, [(1, WHOLE, WHOLE)]))
        self.stem = ConvNorm2d(inputs, 32, 3, 2, relu=False)
        self.levels = nn.ModuleDict()
        channels = 32
        for number, (growth, outputs, blocks, first) in enumerate(LEVELS, 1):
            level = nn.ModuleList()
            for block in range(blocks):
                level.append(Inverted(channels, outputs, first if block == 0 else 1, growth))
                channels = outputs
            self.levels[str(number)] = level
        self.last = ConvNorm2d(channels, DIMENSION, 1, relu=False)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, 1280, T, H / 32, W / 32)."""
        frames = clips.shape[2]
        x = F.relu6(self.stem(clips.transpose(1, 2).flatten(0, 1)), inplace=True)
        for level in self.levels.values():
            for block in level:  # type: ignore[attr-defined]
                x = block(x, frames)
        x = F.relu6(self.last(x), inplace=True)
        return (x.view(-1, frames, *x.shape[1:]).transpose(1, 2),)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    own = rename(state, KEYS)
    inputs = shape(own, "stem.conv.weight", architecture)[1]
    return MobileNet2D(inputs, shape(own, "head.projection.weight", architecture)[0]), own
