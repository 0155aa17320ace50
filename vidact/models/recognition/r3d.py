"""3-D ResNets as 3D-ResNets-PyTorch publishes them: R3D, and R(2+1)D on the same plan (``.pth``).

Every stage but the first halves time and space. Shortcut B is a convolution where the size changes, shortcut A (names
that end in ``-a``) skips pixels and fills the new channels with zeros.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, rename, shape
from vidact.models.recognition.blocks import ONE, Basic, Bottleneck, Classifier, ConvNorm, Head, Triple, factorised
from vidact.models.recognition.pathway import STAGES, depth

KEYS: Rows = (
    (r"^conv1\.", "stem.conv."),
    (r"^bn1\.", "stem.norm."),
    (r"^conv1_", "stem.conv_"),
    (r"^bn1_", "stem.bn_"),
    (r"^layer1\.", "stages.0."),
    (r"^layer2\.", "stages.1."),
    (r"^layer3\.", "stages.2."),
    (r"^layer4\.", "stages.3."),
    (r"^fc\.", "head.projection."),
    (r"\.conv1\.", ".a.conv."),
    (r"\.conv2\.", ".b.conv."),
    (r"\.conv3\.", ".c.conv."),
    (r"\.bn1\.", ".a.norm."),
    (r"\.bn2\.", ".b.norm."),
    (r"\.bn3\.", ".c.norm."),
    (r"\.(conv|bn)1_", r".a.\1_"),
    (r"\.(conv|bn)2_", r".b.\1_"),
    (r"\.conv_s\.", ".space."),
    (r"\.bn_s\.", ".between."),
    (r"\.conv_t\.", ".time."),
    (r"\.bn_t\.", ".norm."),
    (r"\.downsample\.0\.", ".shortcut.conv."),
    (r"\.downsample\.1\.", ".shortcut.norm."),
)
CUBE: Triple = (3, 3, 3)


class Filled(nn.Module):
    """Shortcut A: every ``stride``-th place, zeros in the channels that are missing."""

    def __init__(self, outputs: int, stride: Triple) -> None:
        super().__init__()
        self.outputs, self.stride = outputs, stride

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T', H', W')."""
        time, height, width = self.stride
        kept = x[:, :, ::time, ::height, ::width]
        return F.pad(kept, (0, 0, 0, 0, 0, 0, 0, self.outputs - x.shape[1]))


class R3D(Classifier):
    """``width`` channels behind the stem.

    ``deep``: bottlenecks, else basic blocks; ``split``: convolutions over space, then over time; ``fill``: shortcut A.
    """

    def __init__(
        self, inputs: int, classes: int, width: int, blocks: tuple[int, ...], *, deep: bool, split: bool, fill: bool
    ) -> None:
        super().__init__(Head(32 * width if deep else 8 * width, classes, None))
        self.split, self.fill = split, fill
        self.stem = self._convolution(inputs, width, (7, 7, 7), (1, 2, 2))
        self.stages = nn.ModuleList()
        channels = width
        for number in STAGES:
            stage = nn.Sequential()
            for block in range(blocks[number]):
                stride: Triple = (2, 2, 2) if block == 0 and number > 0 else ONE
                make = self._deep if deep else self._basic
                stage.append(make(channels, width << number, stride))
                channels = (4 * width if deep else width) << number
            self.stages.append(stage)

    def _convolution(
        self, inputs: int, outputs: int, kernel: Triple, stride: Triple = ONE, *, relu: bool = True
    ) -> nn.Module:
        make = factorised if self.split else ConvNorm
        return make(inputs, outputs, kernel, stride, relu=relu)

    def _deep(self, inputs: int, width: int, stride: Triple) -> Bottleneck:
        middle = self._convolution(width, width, CUBE, stride)
        return Bottleneck(inputs, width, 4 * width, stride=stride, middle=middle)

    def _basic(self, inputs: int, width: int, stride: Triple) -> Basic:
        shortcut: nn.Module | None = None
        if inputs != width or stride != ONE:
            shortcut = Filled(width, stride) if self.fill else ConvNorm(inputs, width, ONE, stride, relu=False)
        a = self._convolution(inputs, width, CUBE, stride)
        return Basic(a, self._convolution(width, width, CUBE, relu=False), shortcut)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, D, T / 16, H / 32, W / 32)."""
        x = F.max_pool3d(self.stem(clips), 3, 2, 1)
        for stage in self.stages:
            x = stage(x)
        return (x,)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    own = rename(state, KEYS)
    split = architecture.startswith("r2p1d")
    inputs = shape(own, "stem.space.weight" if split else "stem.conv.weight", architecture)[1]
    classes = shape(own, "head.projection.weight", architecture)[0]
    deep = "stages.0.0.c.conv.weight" in own
    fill = architecture.endswith("-a")
    width = shape(own, "stem.norm.weight", architecture)[0]
    return R3D(inputs, classes, width, depth(own, ""), deep=deep, split=split, fill=fill), own
