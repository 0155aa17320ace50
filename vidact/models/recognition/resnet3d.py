"""The single-pathway 3-D ResNets: Slow, I3D-R50 (also with non-local blocks) and C2D.

They differ in how many frames each convolution spans and in whether time is halved after the first stage. Published by
PySlowFast, pytorchvideo and mmaction2, each with its own keys and its own head (``Rules``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, rename, shape
from vidact.models.recognition.blocks import Classifier, Head
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
    """A network of the family: its pathway, whether time is halved after stage one, the frames its head averages."""

    pathway: Shape
    halve: bool
    window: int


_SLOW = Shape(stem=1, kernels=((1,), (1,), (3,), (3,)))
_I3D = Shape(stem=5, kernels=((3,), (3, 1), (3, 1), (1, 3)))
_C2D = Shape(stem=1, kernels=((1,), (1,), (1,), (1,)))
_LOOKING = ((), (1, 3), (1, 3, 5), ())

PLANS: dict[str, Plan] = {
    "slow-r50-8x8": Plan(_SLOW, halve=False, window=8),
    "slow-r50-8x4": Plan(_SLOW, halve=False, window=8),
    "slow-r50-4x16": Plan(_SLOW, halve=False, window=4),
    "slow-r50-flow": Plan(_SLOW, halve=False, window=16),
    "slow-r101-8x8": Plan(_SLOW, halve=False, window=8),
    "i3d-r50": Plan(_I3D, halve=True, window=4),
    "i3d-nln-r50": Plan(replace(_I3D, non_local=_LOOKING), halve=True, window=4),
    "c2d-r50": Plan(_C2D, halve=True, window=4),
}


@dataclass(frozen=True, slots=True)
class Rules:
    """What one publisher does its own way.

    ``windows``: the head averages windows of the size seen in training (else whole clips). ``score_first``: scores are
    taken at every position of the head and then averaged (else logits are). ``halving_stem``: the I3D networks halve
    time in the first convolution and the first maximum as well.
    """

    mark: str
    rows: Rows
    windows: bool
    score_first: bool = False
    halving_stem: bool = False


PYSLOWFAST = Rules(
    mark=r"s1\.pathway0_stem\.",
    windows=True,
    score_first=True,
    rows=(
        (r"^s1\.pathway0_stem\.bn\.", "pathway.stem.norm."),
        (r"^s1\.pathway0_stem\.", "pathway.stem."),
        (r"^s2\.pathway0_res", "pathway.stages.0."),
        (r"^s3\.pathway0_res", "pathway.stages.1."),
        (r"^s4\.pathway0_res", "pathway.stages.2."),
        (r"^s5\.pathway0_res", "pathway.stages.3."),
        (r"^s3\.pathway0_nonlocal(\d+)\.", r"pathway.stages.1.\1_nonlocal."),
        (r"^s4\.pathway0_nonlocal(\d+)\.", r"pathway.stages.2.\1_nonlocal."),
        (r"_nonlocal\.conv_", "_nonlocal."),
        (r"_nonlocal\.bn\.", "_nonlocal.norm."),
        *PYSLOWFAST_BLOCKS,
    ),
)
CAFFE2 = replace(PYSLOWFAST, mark=CAFFE2_MARK, rows=(*CAFFE2_BLOBS, *PYSLOWFAST.rows))
PYTORCHVIDEO = Rules(
    mark=r"blocks\.2\.res_blocks\.",
    windows=True,
    rows=(
        (r"^blocks\.0\.", "pathway.stem."),
        (r"^blocks\.1\.res_blocks\.", "pathway.stages.0."),
        (r"^blocks\.2\.res_blocks\.", "pathway.stages.1."),
        (r"^blocks\.3\.res_blocks\.", "pathway.stages.2."),
        (r"^blocks\.4\.res_blocks\.", "pathway.stages.3."),
        (r"^blocks\.5\.proj\.", "head.projection."),
        *PYTORCHVIDEO_BLOCKS,
    ),
)
# Where time is halved after the first stage, that step is counted as a block.
PYTORCHVIDEO_HALVED = Rules(
    mark=r"blocks\.5\.res_blocks\.",
    windows=True,
    rows=(
        (r"^blocks\.0\.", "pathway.stem."),
        (r"^blocks\.1\.res_blocks\.", "pathway.stages.0."),
        (r"^blocks\.3\.res_blocks\.", "pathway.stages.1."),
        (r"^blocks\.4\.res_blocks\.", "pathway.stages.2."),
        (r"^blocks\.5\.res_blocks\.", "pathway.stages.3."),
        (r"^blocks\.6\.proj\.", "head.projection."),
        *PYTORCHVIDEO_BLOCKS,
    ),
)
MMACTION = Rules(
    mark=r"backbone\.conv1\.conv\.",
    windows=False,
    halving_stem=True,
    rows=(
        (r"^backbone\.conv1\.", "pathway.stem."),
        (r"^backbone\.layer1\.", "pathway.stages.0."),
        (r"^backbone\.layer2\.", "pathway.stages.1."),
        (r"^backbone\.layer3\.", "pathway.stages.2."),
        (r"^backbone\.layer4\.", "pathway.stages.3."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
        *MMACTION_BLOCKS,
    ),
)
FORMATS = (PYSLOWFAST, CAFFE2, PYTORCHVIDEO, PYTORCHVIDEO_HALVED, MMACTION)


class ResNet3D(Classifier):
    """One pathway and a head. ``inputs`` channels, ``width`` behind the stem, ``blocks`` in each stage."""

    def __init__(
        self, plan: Plan, rules: Rules, inputs: int, classes: int, width: int, blocks: tuple[int, ...]
    ) -> None:
        strides = (2, 2) if plan.halve and rules.halving_stem else (1, 1)
        pathway = Pathway(replace(plan.pathway, width=width, stem_strides=strides), inputs, blocks)
        head = Head(pathway.widths[-1], classes, [(plan.window, 7, 7)] if rules.windows else None)
        super().__init__(head, score_first=rules.score_first)
        self.pathway = pathway
        self.halve = plan.halve

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, D, T', H / 32, W / 32)."""
        x = self.pathway.start(clips)
        for number, stage in enumerate(self.pathway.stages):
            x = stage(x)
            if number == 0 and self.halve:
                x = F.max_pool3d(x, (2, 1, 1))
        return (x,)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = rename(state, rules.rows)
    width, inputs = shape(own, "pathway.stem.conv.weight", architecture)[:2]
    classes = shape(own, "head.projection.weight", architecture)[0]
    blocks = depth(own, "pathway.")
    plan = PLANS[architecture]
    plan = replace(plan, pathway=as_filed(plan.pathway, own, "pathway."))
    return ResNet3D(plan, rules, inputs, classes, width, blocks), own
