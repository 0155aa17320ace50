"""SlowFast: a slow pathway that sees few frames and a thin fast one that sees all, joined after every stage.

The network takes the fast frames and picks the slow ones itself. Published by PySlowFast, pytorchvideo and mmaction2,
which differ in keys, in the choice of the slow frames, in the fusion's norm and in the head (``Rules``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, rename, shape
from vidact.models.recognition.blocks import Classifier, Head, Normed, Triple
from vidact.models.recognition.pathway import (
    CAFFE2_BLOBS,
    CAFFE2_MARK,
    MMACTION_BLOCKS,
    PYSLOWFAST_BLOCKS,
    PYTORCHVIDEO_BLOCKS,
    Pathway,
    Shape,
    as_filed,
    depth,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """A network of the family: fast ``frames``, of which the slow pathway takes one in ``alpha``.

    ``fusion`` is the length of the fusing convolution, None where publishers differ and the file says.
    """

    frames: int
    alpha: int
    fusion: int | None


PLANS: dict[str, Plan] = {
    "slowfast-r50-4x16": Plan(frames=32, alpha=8, fusion=5),
    "slowfast-r50-8x8": Plan(frames=32, alpha=4, fusion=7),
    "slowfast-r50-16x8": Plan(frames=64, alpha=4, fusion=7),
    "slowfast-r101-8x8": Plan(frames=32, alpha=4, fusion=None),
    "slowfast-r101-16x8": Plan(frames=64, alpha=4, fusion=5),
}
_SLOW = Shape(stem=1, kernels=((1,), (1,), (3,), (3,)))
_FAST = Shape(stem=5, kernels=((3,), (3,), (3,), (3,)), width=8)


@dataclass(frozen=True, slots=True)
class Rules:
    """What one publisher does its own way.

    ``evenly``: the slow frames are spread from the first fast frame to the last (else every alpha-th is taken).
    ``fusion_norm``: a norm and a ReLU follow the fusing convolution. ``fast_first``: the order the classifier sees the
    pathways in. ``windows`` and ``score_first`` as in resnet3d.
    """

    mark: str
    rows: Rows
    evenly: bool
    fusion_norm: bool
    fast_first: bool
    windows: bool
    score_first: bool


PYSLOWFAST = Rules(
    mark=r"s1\.pathway1_stem\.",
    evenly=True,
    fusion_norm=True,
    fast_first=False,
    windows=True,
    score_first=True,
    rows=(
        (r"^s(\d)\.pathway0_", r"s\1.slow."),
        (r"^s(\d)\.pathway1_", r"s\1.fast."),
        (r"^s1\.(slow|fast)\.stem\.bn\.", r"\1.stem.norm."),
        (r"^s1\.(slow|fast)\.stem\.", r"\1.stem."),
        (r"^s2\.(slow|fast)\.res", r"\1.stages.0."),
        (r"^s3\.(slow|fast)\.res", r"\1.stages.1."),
        (r"^s4\.(slow|fast)\.res", r"\1.stages.2."),
        (r"^s5\.(slow|fast)\.res", r"\1.stages.3."),
        (r"^s1_fuse\.", "fusions.0."),
        (r"^s2_fuse\.", "fusions.1."),
        (r"^s3_fuse\.", "fusions.2."),
        (r"^s4_fuse\.", "fusions.3."),
        (r"^(fusions\.\d)\.conv_f2s\.", r"\1.conv."),
        (r"^(fusions\.\d)\.bn\.", r"\1.norm."),
        *PYSLOWFAST_BLOCKS,
    ),
)
CAFFE2 = replace(PYSLOWFAST, mark=CAFFE2_MARK, rows=(*CAFFE2_BLOBS, *PYSLOWFAST.rows))
PYTORCHVIDEO = Rules(
    mark=r"blocks\.0\.multipathway_blocks\.",
    evenly=True,
    fusion_norm=True,
    fast_first=False,
    windows=True,
    score_first=False,
    rows=(
        (r"\.multipathway_blocks\.0\.", ".slow."),
        (r"\.multipathway_blocks\.1\.", ".fast."),
        (r"^blocks\.0\.(slow|fast)\.", r"\1.stem."),
        (r"^blocks\.1\.(slow|fast)\.res_blocks\.", r"\1.stages.0."),
        (r"^blocks\.2\.(slow|fast)\.res_blocks\.", r"\1.stages.1."),
        (r"^blocks\.3\.(slow|fast)\.res_blocks\.", r"\1.stages.2."),
        (r"^blocks\.4\.(slow|fast)\.res_blocks\.", r"\1.stages.3."),
        (r"^blocks\.(\d)\.multipathway_fusion\.conv_fast_to_slow\.", r"fusions.\1.conv."),
        (r"^blocks\.(\d)\.multipathway_fusion\.norm\.", r"fusions.\1.norm."),
        (r"^blocks\.6\.proj\.", "head.projection."),
        *PYTORCHVIDEO_BLOCKS,
    ),
)
MMACTION = Rules(
    mark=r"backbone\.slow_path\.",
    evenly=False,
    fusion_norm=False,
    fast_first=True,
    windows=False,
    score_first=False,
    rows=(
        (r"^backbone\.(slow|fast)_path\.", r"\1."),
        (r"^slow\.conv1_lateral\.", "fusions.0."),
        (r"^slow\.layer1_lateral\.", "fusions.1."),
        (r"^slow\.layer2_lateral\.", "fusions.2."),
        (r"^slow\.layer3_lateral\.", "fusions.3."),
        (r"^(slow|fast)\.conv1\.", r"\1.stem."),
        (r"^(slow|fast)\.layer1\.", r"\1.stages.0."),
        (r"^(slow|fast)\.layer2\.", r"\1.stages.1."),
        (r"^(slow|fast)\.layer3\.", r"\1.stages.2."),
        (r"^(slow|fast)\.layer4\.", r"\1.stages.3."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
        *MMACTION_BLOCKS,
    ),
)
FORMATS = (PYSLOWFAST, CAFFE2, PYTORCHVIDEO, MMACTION)


class Fusion(Normed):
    """Fast maps brought to the slow pathway's rate by a convolution over time."""

    def __init__(self, channels: int, length: int, alpha: int, *, norm: bool) -> None:
        super().__init__()
        outputs = 2 * channels
        self.conv = nn.Conv3d(
            channels, outputs, (length, 1, 1), stride=(alpha, 1, 1), padding=(length // 2, 0, 0), bias=False
        )
        self.norm = nn.BatchNorm3d(outputs) if norm else None

    def forward(self, slow: Tensor, fast: Tensor) -> Tensor:
        """(B, C, T / alpha, H, W) and (B, c, T, H, W) → the slow maps with the fast ones' 2·c channels behind them."""
        x = self.conv(fast)
        if self.norm is not None:
            x = self.norm(x).relu_()
        return torch.cat((slow, x), dim=1)


class SlowFast(Classifier):
    """Two pathways, a fusion before each stage and a head.

    ``shapes`` and the ``blocks`` of the stages are those of the slow pathway and of the fast one; ``fusion`` is the
    length of the fusing convolution.
    """

    def __init__(
        self,
        plan: Plan,
        rules: Rules,
        inputs: int,
        classes: int,
        shapes: tuple[Shape, Shape],
        blocks: tuple[tuple[int, ...], tuple[int, ...]],
        fusion: int,
    ) -> None:
        fast = Pathway(shapes[1], inputs, blocks[1])
        fused = [2 * width for width in fast.widths[:4]]
        slow = Pathway(shapes[0], inputs, blocks[0], fused)
        windows: list[Triple] = [(plan.frames // plan.alpha, 7, 7), (plan.frames, 7, 7)]
        head = Head(slow.widths[-1] + fast.widths[-1], classes, windows if rules.windows else None)
        super().__init__(head, score_first=rules.score_first)
        self.alpha, self.rules = plan.alpha, rules
        self.slow, self.fast = slow, fast
        self.fusions = nn.ModuleList(
            Fusion(width, fusion, plan.alpha, norm=rules.fusion_norm) for width in fast.widths[:4]
        )

    def slow_frames(self, clips: Tensor) -> Tensor:
        """The frames of (B, C, T, H, W) that the slow pathway sees."""
        frames = clips.shape[2]
        if not self.rules.evenly:
            return clips[:, :, : frames // self.alpha * self.alpha : self.alpha]
        return clips[:, :, torch.linspace(0, frames - 1, frames // self.alpha).long().to(clips.device)]

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → slow (B, 2048, T / alpha, h, w) and fast maps (B, 256, T, h, w), in the head's order."""
        slow, fast = self.slow.start(self.slow_frames(clips)), self.fast.start(clips)
        for fuse, slow_stage, fast_stage in zip(self.fusions, self.slow.stages, self.fast.stages, strict=True):
            slow, fast = slow_stage(fuse(slow, fast)), fast_stage(fast)
        return (fast, slow) if self.rules.fast_first else (slow, fast)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = rename(state, rules.rows)
    slow, inputs = shape(own, "slow.stem.conv.weight", architecture)[:2]
    fast = shape(own, "fast.stem.conv.weight", architecture)[0]
    classes = shape(own, "head.projection.weight", architecture)[0]
    blocks = depth(own, "slow."), depth(own, "fast.")
    plan = PLANS[architecture]
    shapes = (
        as_filed(replace(_SLOW, width=slow), own, "slow."),
        as_filed(replace(_FAST, width=fast), own, "fast."),
    )
    fusion = plan.fusion or shape(own, "fusions.0.conv.weight", architecture)[2]
    return SlowFast(plan, rules, inputs, classes, shapes, blocks, fusion), own
