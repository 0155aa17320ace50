"""One pathway of the ResNet family (stem, four stages of bottlenecks) and the key names its blocks are published under.

Shared by the single-pathway networks and SlowFast. Knows nothing of heads or of how pathways are joined.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, count
from vidact.models.recognition.blocks import ONE, Bottleneck, ConvNorm, NonLocal, Triple

STAGES = range(4)
ALL_SPAN = 6
"""Every published network spans frames in this many blocks of a stage as its plan says; deeper ones may stop there."""


@dataclass(frozen=True, slots=True)
class Shape:
    """What a pathway looks like: channels, frames every convolution spans, strides in time.

    ``stem`` is the first kernel's length in frames; ``kernels`` the lengths in each stage, repeated over its blocks;
    ``stem_strides`` the strides in time of the first convolution and of the first maximum. Blocks of a stage from
    ``spanning`` on see single frames, whatever ``kernels`` says.
    """

    stem: int
    kernels: tuple[tuple[int, ...], ...]
    width: int = 64
    stem_strides: tuple[int, int] = (1, 1)
    non_local: tuple[tuple[int, ...], ...] = ((), (), (), ())
    softmax: bool = True
    spanning: int = 1000


class Pathway(nn.Module):
    """Stem and four stages. ``inputs`` are the channels of the clip, ``extra`` those joined to each stage's input.

    ``blocks`` is the number of blocks in each stage. The stages are called from outside, one by one, so that something
    can happen between them.
    """

    def __init__(self, shape: Shape, inputs: int, blocks: Sequence[int], extra: Sequence[int] = (0, 0, 0, 0)) -> None:
        super().__init__()
        self.pool_stride = (shape.stem_strides[1], 2, 2)
        self.stem = ConvNorm(inputs, shape.width, (shape.stem, 7, 7), (shape.stem_strides[0], 2, 2))
        self.stages = nn.ModuleList()
        self.widths: list[int] = [shape.width]
        for number in STAGES:
            stage = _stage(shape, number, blocks[number], self.widths[-1] + extra[number])
            self.stages.append(stage)
            self.widths.append(4 * shape.width << number)

    def start(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, width, T', H / 4, W / 4)."""
        return F.max_pool3d(self.stem(clips), (1, 3, 3), self.pool_stride, (0, 1, 1))


def _stage(shape: Shape, number: int, blocks: int, inputs: int) -> nn.Sequential:
    width, kernels = shape.width << number, shape.kernels[number]
    layers = nn.Sequential()
    for block in range(blocks):
        stride: Triple = (1, 2, 2) if block == 0 and number > 0 else ONE
        kernel = kernels[block % len(kernels)] if block < shape.spanning else 1
        layers.add_module(str(block), Bottleneck(inputs, width, 4 * width, kernel=kernel, stride=stride))
        if block in shape.non_local[number]:
            layers.add_module(f"{block}_nonlocal", NonLocal(4 * width, softmax=shape.softmax))
        inputs = 4 * width
    return layers


def depth(keys: Iterable[str], prefix: str) -> tuple[int, ...]:
    """How many blocks each stage under ``prefix`` has, read from own key names."""
    named = [key for key in keys if "_nonlocal" not in key]
    return tuple(count(named, f"{prefix}stages.{number}.") for number in STAGES)


def as_filed(shape: Shape, own: Mapping[str, Tensor], prefix: str) -> Shape:
    """The shape with what differs from file to file: where the longest stages stop spanning frames, and which blocks
    are followed by a non-local one, if any is.
    """
    first = re.compile(rf"{re.escape(prefix)}stages\.\d\.(\d+)\.a\.conv\.weight")
    blocks = [(int(found[1]), value.shape[2]) for key, value in own.items() if (found := first.fullmatch(key))]
    last = max((block for block, length in blocks if length > 1), default=0)
    looking = re.compile(rf"{re.escape(prefix)}stages\.(\d)\.(\d+)_nonlocal\.")
    places = {(int(found[1]), int(found[2])) for key in own if (found := looking.match(key))}
    non_local = tuple(tuple(sorted(block for stage, block in places if stage == number)) for number in STAGES)
    return replace(
        shape, spanning=max(ALL_SPAN, last + 1), non_local=non_local if any(shape.non_local) else shape.non_local
    )


PYSLOWFAST_BLOCKS: Rows = (
    (r"\.branch1\.", ".shortcut.conv."),
    (r"\.branch1_bn\.", ".shortcut.norm."),
    (r"\.branch2\.([abc])\.", r".\1.conv."),
    (r"\.branch2\.([abc])_bn\.", r".\1.norm."),
)
# The blobs of Caffe2 files under PySlowFast's names; the fast pathway's begin with t_, norms end with s, b, rm, riv.
CAFFE2_BLOBS: Rows = (
    (r"^pred_", "head.projection."),
    (r"^nonlocal_conv(\d)_(\d+)_", r"s\1.pathway0_nonlocal\2."),
    (r"(_nonlocal\d+)\.(theta|phi|g|out)_", r"\1.conv_\2."),
    (r"(_nonlocal\d+)\.bn_", r"\1.bn."),
    (r"^t_pool1_subsample_", "s1_fuse."),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample_", r"s\1_fuse."),
    (r"_fuse\.bn_", "_fuse.bn."),
    (r"_fuse\.w$", "_fuse.conv_f2s.w"),
    (r"^t_res_conv1_bn_", "s1.pathway1_stem.bn."),
    (r"^res_conv1_bn_", "s1.pathway0_stem.bn."),
    (r"^t_conv1_", "s1.pathway1_stem.conv."),
    (r"^conv1_", "s1.pathway0_stem.conv."),
    (r"^t_res(\d)_(\d+)_", r"s\1.pathway1_res\2."),
    (r"^res(\d)_(\d+)_", r"s\1.pathway0_res\2."),
    (r"\.branch2([abc])_", r".branch2.\1_"),
    (r"\.(branch1|branch2\.[abc])_bn_", r".\1_bn."),
    (r"\.(branch1|branch2\.[abc])_w$", r".\1.w"),
    (r"\.rm$", ".running_mean"),
    (r"\.riv$", ".running_var"),
    (r"\.[sw]$", ".weight"),
    (r"\.b$", ".bias"),
)
CAFFE2_MARK = r"res_conv1_bn_s$"
PYTORCHVIDEO_BLOCKS: Rows = (
    (r"\.branch1_(conv|norm)\.", r".shortcut.\1."),
    (r"\.branch2\.(conv|norm)_([abc])\.", r".\2.\1."),
)
MMACTION_BLOCKS: Rows = (
    (r"\.bn\.", ".norm."),
    (r"(stages\.\d+\.\d+)\.conv1\.", r"\1.a."),
    (r"(stages\.\d+\.\d+)\.conv2\.", r"\1.b."),
    (r"(stages\.\d+\.\d+)\.conv3\.", r"\1.c."),
    (r"\.downsample\.", ".shortcut."),
)
