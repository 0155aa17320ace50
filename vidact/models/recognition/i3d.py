"""I3D: the Inception network of images, its filters inflated over time (RGB, and optical flow as the second stream).

Sizes follow TensorFlow's "same" rule, with the odd pixel of padding behind. Published as pytorch-i3d (``.pt``). Knows
nothing of two-stream averaging.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, rename, shape
from vidact.models.recognition.blocks import ONE, Classifier, ConvNorm, Head, Triple

EPS = 1e-3
WINDOW: Triple = (2, 7, 7)

# Channels of each mixed block: 1x1x1; 1x1x1 then 3x3x3; 1x1x1 then 3x3x3; maximum then 1x1x1.
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "3b": (64, 96, 128, 16, 32, 32),
    "3c": (128, 128, 192, 32, 96, 64),
    "4b": (192, 96, 208, 16, 48, 64),
    "4c": (160, 112, 224, 24, 64, 64),
    "4d": (128, 128, 256, 24, 64, 64),
    "4e": (112, 144, 288, 32, 64, 64),
    "4f": (256, 160, 320, 32, 128, 128),
    "5b": (256, 160, 320, 32, 128, 128),
    "5c": (384, 192, 384, 48, 128, 128),
}
# The maximum in front of a mixed block: kernel and stride.
POOLS: dict[str, tuple[Triple, Triple]] = {
    "3b": ((1, 3, 3), (1, 2, 2)),
    "4b": ((3, 3, 3), (2, 2, 2)),
    "5b": ((2, 2, 2), (2, 2, 2)),
}
KEYS: Rows = (
    (r"^Conv3d_1a_7x7\.", "stem."),
    (r"^Conv3d_2b_1x1\.", "second."),
    (r"^Conv3d_2c_3x3\.", "third."),
    (r"^Mixed_(..)\.b0\.", r"mixed.\1.one."),
    (r"^Mixed_(..)\.b1a\.", r"mixed.\1.three.0."),
    (r"^Mixed_(..)\.b1b\.", r"mixed.\1.three.1."),
    (r"^Mixed_(..)\.b2a\.", r"mixed.\1.small.0."),
    (r"^Mixed_(..)\.b2b\.", r"mixed.\1.small.1."),
    (r"^Mixed_(..)\.b3b\.", r"mixed.\1.pooled."),
    (r"^logits\.conv3d\.", "head.projection."),
    (r"\.conv3d\.", ".conv."),
    (r"\.bn\.", ".norm."),
)


class Mixed(nn.Module):
    """Four branches over the same input, their channels one behind the other. ``cube`` makes the 3x3x3 convolutions."""

    def __init__(
        self, inputs: int, channels: tuple[int, int, int, int, int, int], cube: Callable[[int, int], nn.Module]
    ) -> None:
        super().__init__()
        one, reduce, three, small_reduce, small, pooled = channels
        self.one = ConvNorm(inputs, one, ONE, eps=EPS)
        self.three = nn.Sequential(ConvNorm(inputs, reduce, ONE, eps=EPS), cube(reduce, three))
        self.small = nn.Sequential(ConvNorm(inputs, small_reduce, ONE, eps=EPS), cube(small_reduce, small))
        self.pooled = ConvNorm(inputs, pooled, ONE, eps=EPS)
        self.outputs = one + three + small + pooled

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T, H, W)."""
        peaks = F.max_pool3d(x, 3, stride=1, padding=1)
        return torch.cat((self.one(x), self.three(x), self.small(x), self.pooled(peaks)), dim=1)


def _cube(inputs: int, outputs: int) -> nn.Module:
    return ConvNorm(inputs, outputs, (3, 3, 3), eps=EPS)


class I3D(Classifier):
    """``inputs`` 3 for pictures, 2 for optical flow. The classifier is applied every 8 frames."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(Head(1024, classes, [WINDOW]))
        self.stem = ConvNorm(inputs, 64, (7, 7, 7), (2, 2, 2), eps=EPS)
        self.stem.conv.padding = (0, 0, 0)
        self.second = ConvNorm(64, 64, ONE, eps=EPS)
        self.third = _cube(64, 192)
        self.mixed = nn.ModuleDict()
        width = 192
        for name, channels in MIXED.items():
            block = Mixed(width, channels, _cube)
            self.mixed[name] = block
            width = block.outputs

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, 1024, T / 8, H / 32, W / 32), rounded up."""
        x = same_max(self.stem(_padded(clips, 7, 2)), (1, 3, 3), (1, 2, 2))
        x = self.third(self.second(x))
        for name, block in self.mixed.items():
            if name in POOLS:
                x = same_max(x, *POOLS[name])
            x = block(x)
        return (x,)


def _before(length: int, kernel: int, stride: int) -> tuple[int, int]:
    """Padding before and behind an axis so that its length, divided by the stride, is rounded up."""
    total = max(kernel - (length % stride or stride), 0)
    return total // 2, total - total // 2


def _padded(x: Tensor, kernel: int, stride: int) -> Tensor:
    # F.pad counts axes from the last one.
    return F.pad(x, [pad for length in reversed(x.shape[2:]) for pad in _before(length, kernel, stride)])


def same_max(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """The maximum with "same" sizes of values that are never negative, so that padding cannot be seen."""
    before = [_before(*axis)[0] for axis in zip(x.shape[2:], kernel, stride, strict=True)]
    return F.max_pool3d(x, kernel, stride, before, ceil_mode=True)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    own = rename(state, KEYS)
    inputs = shape(own, "stem.conv.weight", architecture)[1]
    classes = shape(own, "head.projection.weight", architecture)[0]
    # Published as a 1x1x1 convolution.
    own["head.projection.weight"] = own["head.projection.weight"].flatten(1)
    return I3D(inputs, classes), own
