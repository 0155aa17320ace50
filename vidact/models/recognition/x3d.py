"""X3D: a small network of depthwise 3-D convolutions, grown one axis at a time (XS, S, M, L).

XS, S and M share their layers and differ in the clips they were trained on. Published by PySlowFast, pytorchvideo and
mmaction2 (``Rules``).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, rename, shape
from vidact.models.recognition.blocks import ONE, Classifier, ConvNorm, Head, Triple, sigmoid
from vidact.models.recognition.pathway import MMACTION_BLOCKS, PYSLOWFAST_BLOCKS, PYTORCHVIDEO_BLOCKS, STAGES, depth

# The window the head averages: the frames and the last map of the training clips.
WINDOWS: dict[str, Triple] = {
    "x3d-xs": (4, 5, 5),
    "x3d-s": (13, 5, 5),
    "x3d-m": (16, 7, 7),
    "x3d-l": (16, 10, 10),
}


@dataclass(frozen=True, slots=True)
class Size:
    """How far a network was grown: channels behind the stem and in each stage. In comments, what M has."""

    stem: int  # 24
    blocks: tuple[int, ...]  # 3, 5, 11, 7
    widths: tuple[int, ...]  # 24, 48, 96, 192
    inner: tuple[int, ...]  # 54, 108, 216, 432
    squeezed: tuple[int, ...]  # 8, 8, 16, 32
    hidden: int  # 2048


@dataclass(frozen=True, slots=True)
class Rules:
    """What one publisher does its own way.

    ``windows`` and ``score_first`` as in resnet3d. ``bare_first``: the first shortcut, which changes the size but not
    the channels, has no norm.
    """

    mark: str
    rows: Rows
    windows: bool
    score_first: bool = False
    bare_first: bool = False


PYSLOWFAST = Rules(
    mark=r"s1\.pathway0_stem\.conv_xy\.",
    windows=True,
    score_first=True,
    rows=(
        (r"^s1\.pathway0_stem\.conv_xy\.", "space."),
        (r"^s1\.pathway0_stem\.conv\.", "time.conv."),
        (r"^s1\.pathway0_stem\.bn\.", "time.norm."),
        (r"^s2\.pathway0_res", "stages.0."),
        (r"^s3\.pathway0_res", "stages.1."),
        (r"^s4\.pathway0_res", "stages.2."),
        (r"^s5\.pathway0_res", "stages.3."),
        (r"\.branch2\.se\.fc1\.", ".squeeze.reduce."),
        (r"\.branch2\.se\.fc2\.", ".squeeze.expand."),
        (r"^head\.conv_5\.", "last.conv."),
        (r"^head\.conv_5_bn\.", "last.norm."),
        (r"^head\.lin_5\.", "head.hidden."),
        *PYSLOWFAST_BLOCKS,
    ),
)
# conv_t and conv_xy of the stem are named the wrong way round there.
PYTORCHVIDEO = Rules(
    mark=r"blocks\.5\.pool\.pre_conv\.",
    windows=True,
    bare_first=True,
    rows=(
        (r"^blocks\.0\.conv\.conv_t\.", "space."),
        (r"^blocks\.0\.conv\.conv_xy\.", "time.conv."),
        (r"^blocks\.0\.norm\.", "time.norm."),
        (r"^blocks\.1\.res_blocks\.", "stages.0."),
        (r"^blocks\.2\.res_blocks\.", "stages.1."),
        (r"^blocks\.3\.res_blocks\.", "stages.2."),
        (r"^blocks\.4\.res_blocks\.", "stages.3."),
        (r"\.branch2\.norm_b\.0\.", ".b.norm."),
        (r"\.branch2\.norm_b\.1\.block\.0\.", ".squeeze.reduce."),
        (r"\.branch2\.norm_b\.1\.block\.2\.", ".squeeze.expand."),
        (r"^blocks\.5\.pool\.pre_(conv|norm)\.", r"last.\1."),
        (r"^blocks\.5\.pool\.post_conv\.", "head.hidden."),
        (r"^blocks\.5\.proj\.", "head.projection."),
        *PYTORCHVIDEO_BLOCKS,
    ),
)
MMACTION = Rules(
    mark=r"backbone\.conv1_s\.",
    windows=False,
    rows=(
        (r"^backbone\.conv1_s\.conv\.", "space."),
        (r"^backbone\.conv1_t\.", "time."),
        (r"^backbone\.layer1\.", "stages.0."),
        (r"^backbone\.layer2\.", "stages.1."),
        (r"^backbone\.layer3\.", "stages.2."),
        (r"^backbone\.layer4\.", "stages.3."),
        (r"\.se_module\.fc1\.", ".squeeze.reduce."),
        (r"\.se_module\.fc2\.", ".squeeze.expand."),
        (r"^backbone\.conv5\.", "last."),
        (r"^cls_head\.fc1\.", "head.hidden."),
        (r"^cls_head\.fc2\.", "head.projection."),
        *MMACTION_BLOCKS,
    ),
)
FORMATS = (PYSLOWFAST, PYTORCHVIDEO, MMACTION)


class Squeeze(nn.Module):
    """A weight for every channel from its mean over the clip."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv3d(channels, squeezed, 1)
        self.expand = nn.Conv3d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → the same shape."""
        mean = x.mean(dim=(2, 3, 4), keepdim=True)
        return x.mul_(sigmoid(self.expand(self.reduce(mean).relu_())))


class Block(nn.Module):
    """1x1x1 to more channels, a depthwise 3x3x3 with a Swish behind, 1x1x1 back, then the shortcut is added."""

    def __init__(
        self, inputs: int, inner: int, outputs: int, stride: Triple, squeezed: int | None, *, bare: bool
    ) -> None:
        super().__init__()
        self.a = ConvNorm(inputs, inner, ONE)
        self.b = ConvNorm(inner, inner, (3, 3, 3), stride, groups=inner, relu=False)
        self.squeeze = None if squeezed is None else Squeeze(inner, squeezed)
        self.c = ConvNorm(inner, outputs, ONE, relu=False)
        self.shortcut: nn.Module | None = None
        if inputs != outputs or stride != ONE:
            shortcut = ConvNorm(inputs, outputs, ONE, stride, relu=False)
            self.shortcut = nn.Sequential(OrderedDict(conv=shortcut.conv)) if bare else shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T, H', W')."""
        inner = self.b(self.a(x))
        if self.squeeze is not None:
            inner = self.squeeze(inner)
        rest = x if self.shortcut is None else self.shortcut(x)
        summed: Tensor = self.c(F.silu(inner, inplace=True)).add_(rest)
        return summed.relu_()


class HiddenHead(Head):
    """A head with one more layer between the average and the classifier."""

    def __init__(self, channels: int, hidden: int, classes: int, windows: Sequence[Triple] | None) -> None:
        super().__init__(hidden, classes, windows)
        self.hidden = nn.Conv3d(channels, hidden, 1, bias=False)

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, T, H, W) → (B, D, t, h, w), one vector a position."""
        hidden: Tensor = self.hidden(super().pool(maps))
        return hidden.relu_()

    def joined(self, maps: Sequence[Tensor]) -> Tensor:
        """As ``pool``, one vector a position: the last layer stands behind the average."""
        return self.pool(maps)


class X3D(Classifier):
    """``window`` is the head's, None averages whole clips."""

    def __init__(self, rules: Rules, size: Size, inputs: int, classes: int, window: Triple | None) -> None:
        head = HiddenHead(size.inner[-1], size.hidden, classes, None if window is None else [window])
        super().__init__(head, score_first=rules.score_first)
        channels = size.stem
        self.space = nn.Conv3d(inputs, channels, (1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1), bias=False)
        self.time = ConvNorm(channels, channels, (5, 1, 1), groups=channels)
        self.stages = nn.ModuleList()
        for blocks, width, inner, squeezed in zip(size.blocks, size.widths, size.inner, size.squeezed, strict=True):
            stage = nn.Sequential()
            for block in range(blocks):
                stride = (1, 2, 2) if block == 0 else ONE
                bare = rules.bare_first and channels == width
                # Every other block weighs its channels.
                weighs = squeezed if block % 2 == 0 else None
                stage.append(Block(channels, inner, width, stride, weighs, bare=bare))
                channels = width
            self.stages.append(stage)
        self.last = ConvNorm(channels, size.inner[-1], ONE)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, D, T, H / 32, W / 32)."""
        x = self.time(self.space(clips))
        for stage in self.stages:
            x = stage(x)
        return (self.last(x),)


def _size(own: Mapping[str, Tensor], architecture: str) -> Size:
    def outputs(key: str) -> tuple[int, ...]:
        return tuple(shape(own, f"stages.{number}.0.{key}.weight", architecture)[0] for number in STAGES)

    return Size(
        stem=shape(own, "space.weight", architecture)[0],
        blocks=depth(own, ""),
        widths=outputs("c.conv"),
        inner=outputs("a.conv"),
        squeezed=outputs("squeeze.reduce"),
        hidden=shape(own, "head.hidden.weight", architecture)[0],
    )


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = rename(state, rules.rows)
    inputs = shape(own, "space.weight", architecture)[1]
    classes = shape(own, "head.projection.weight", architecture)[0]
    size = _size(own, architecture)
    # Published as a 1x1x1 convolution or as a matrix.
    own["head.hidden.weight"] = own["head.hidden.weight"].reshape(size.hidden, -1, 1, 1, 1)
    return X3D(rules, size, inputs, classes, WINDOWS[architecture] if rules.windows else None), own
