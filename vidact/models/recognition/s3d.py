"""S3D: the Inception of I3D with every 3-D convolution taken apart into one over space and one over time.

Published by kylemin/S3D; video_features keeps the same keys. Padding is symmetric here, unlike I3D's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, rename, shape
from vidact.models.recognition.blocks import ONE, WHOLE, Classifier, ConvNorm, Factorised, Head, Triple
from vidact.models.recognition.i3d import EPS, MIXED, Mixed

# The maximum in front of a mixed block: kernel, stride, padding.
POOLS: dict[str, tuple[Triple, Triple, Triple]] = {
    "3b": ((1, 3, 3), (1, 2, 2), (0, 1, 1)),
    "4b": ((3, 3, 3), (2, 2, 2), (1, 1, 1)),
    "5b": ((2, 2, 2), (2, 2, 2), (0, 0, 0)),
}
KEYS: Rows = (
    (r"^base\.0\.", "stem."),
    (r"^base\.2\.", "second."),
    (r"^base\.3\.", "third."),
    (r"^base\.5\.", "mixed.3b."),
    (r"^base\.6\.", "mixed.3c."),
    (r"^base\.8\.", "mixed.4b."),
    (r"^base\.9\.", "mixed.4c."),
    (r"^base\.10\.", "mixed.4d."),
    (r"^base\.11\.", "mixed.4e."),
    (r"^base\.12\.", "mixed.4f."),
    (r"^base\.14\.", "mixed.5b."),
    (r"^base\.15\.", "mixed.5c."),
    (r"\.branch0\.0\.", ".one."),
    (r"\.branch1\.", ".three."),
    (r"\.branch2\.", ".small."),
    (r"\.branch3\.1\.", ".pooled."),
    (r"\.bn\.", ".norm."),
    (r"\.conv_s\.", ".space."),
    (r"\.bn_s\.", ".between."),
    (r"\.conv_t\.", ".time."),
    (r"\.bn_t\.", ".norm."),
    (r"^fc\.0\.", "head.projection."),
)


class S3D(Classifier):
    """``inputs`` channels; the classifier is applied every 8 frames."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(Head(1024, classes, [(2, WHOLE, WHOLE)]))
        self.stem = _separated(inputs, 64, (7, 7, 7), (2, 2, 2))
        self.second = ConvNorm(64, 64, ONE, eps=EPS)
        self.third = _cube(64, 192)
        self.mixed = nn.ModuleDict()
        width = 192
        for name, channels in MIXED.items():
            block = Mixed(width, channels, _cube)
            self.mixed[name] = block
            width = block.outputs

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, 1024, T / 8, H / 32, W / 32)."""
        x = F.max_pool3d(self.stem(clips), (1, 3, 3), (1, 2, 2), (0, 1, 1))
        x = self.third(self.second(x))
        for name, block in self.mixed.items():
            if name in POOLS:
                x = F.max_pool3d(x, *POOLS[name])
            x = block(x)
        return (x,)


def _separated(inputs: int, outputs: int, kernel: Triple, stride: Triple = ONE) -> Factorised:
    return Factorised(inputs, outputs, outputs, kernel, stride, eps=EPS, between_eps=EPS)


def _cube(inputs: int, outputs: int) -> nn.Module:
    return _separated(inputs, outputs, (3, 3, 3))


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    own = rename(state, KEYS)
    inputs = shape(own, "stem.space.weight", architecture)[1]
    classes = shape(own, "head.projection.weight", architecture)[0]
    # Published as a 1x1x1 convolution.
    own["head.projection.weight"] = own["head.projection.weight"].flatten(1)
    return S3D(inputs, classes), own
