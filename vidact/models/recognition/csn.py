"""CSN: a 3-D ResNet whose 3x3x3 convolutions look at every channel on its own.

Interaction-reduced (ir) blocks drop the mixing between channels, interaction-preserved (ip) ones keep it as a 1x1x1
convolution in front. Published by pytorchvideo and mmaction2 (``Rules``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, rename, shape
from vidact.models.recognition.blocks import ONE, Bottleneck, Classifier, ConvNorm, Head, Triple
from vidact.models.recognition.pathway import MMACTION_BLOCKS, PYTORCHVIDEO_BLOCKS, STAGES, depth


@dataclass(frozen=True, slots=True)
class Rules:
    """What one publisher does its own way: the norms' ``eps``; ``window`` is the head's, None averages whole clips."""

    mark: str
    rows: Rows
    eps: float
    window: Triple | None


PYTORCHVIDEO = Rules(
    mark=r"blocks\.1\.res_blocks\.0\.branch2\.conv_b\.",
    eps=1e-5,
    window=(4, 7, 7),
    rows=(
        (r"^blocks\.0\.", "stem."),
        (r"^blocks\.1\.res_blocks\.", "stages.0."),
        (r"^blocks\.2\.res_blocks\.", "stages.1."),
        (r"^blocks\.3\.res_blocks\.", "stages.2."),
        (r"^blocks\.4\.res_blocks\.", "stages.3."),
        (r"^blocks\.5\.proj\.", "head.projection."),
        *PYTORCHVIDEO_BLOCKS,
        (r"\.b\.(conv|norm)\.", r".b.0.\1."),
    ),
)
MMACTION = Rules(
    mark=r"backbone\.layer1\.0\.conv2\.0\.",
    eps=1e-3,
    window=None,
    rows=(
        (r"^backbone\.conv1\.", "stem."),
        (r"^backbone\.layer1\.", "stages.0."),
        (r"^backbone\.layer2\.", "stages.1."),
        (r"^backbone\.layer3\.", "stages.2."),
        (r"^backbone\.layer4\.", "stages.3."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
        *MMACTION_BLOCKS,
    ),
)
FORMATS = (PYTORCHVIDEO, MMACTION)


class CSN(Classifier):
    """``width`` channels behind the stem.

    ``mixing`` keeps the interaction between channels in front of every 3x3x3 convolution (ip-CSN).
    """

    def __init__(
        self, rules: Rules, inputs: int, classes: int, width: int, blocks: tuple[int, ...], *, mixing: bool = False
    ) -> None:
        super().__init__(Head(32 * width, classes, None if rules.window is None else [rules.window]))
        self.stem = ConvNorm(inputs, width, (3, 7, 7), (1, 2, 2), eps=rules.eps)
        self.stages = nn.ModuleList()
        channels = width
        for number in STAGES:
            stage = nn.Sequential()
            for block in range(blocks[number]):
                stride = (2, 2, 2) if block == 0 and number > 0 else ONE
                stage.append(_block(channels, width << number, stride, rules.eps, mixing=mixing))
                channels = 4 * width << number
            self.stages.append(stage)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, 2048, T / 8, H / 32, W / 32)."""
        x = F.max_pool3d(self.stem(clips), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        for stage in self.stages:
            x = stage(x)
        return (x,)


def _block(inputs: int, width: int, stride: Triple, eps: float, *, mixing: bool) -> Bottleneck:
    middle = nn.Sequential(ConvNorm(width, width, (3, 3, 3), stride, groups=width, eps=eps))
    if mixing:
        middle.insert(0, ConvNorm(width, width, ONE, eps=eps, relu=False))
    return Bottleneck(inputs, width, 4 * width, stride=stride, middle=middle, eps=eps)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = rename(state, rules.rows)
    width, inputs = shape(own, "stem.conv.weight", architecture)[:2]
    classes = shape(own, "head.projection.weight", architecture)[0]
    return CSN(rules, inputs, classes, width, depth(own, ""), mixing=architecture.startswith("ipcsn")), own
