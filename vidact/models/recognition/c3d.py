"""C3D: eight plain 3-D convolutions and two layers over the whole clip, 16 frames of 112x112 (mmaction2, ``.pth``)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.keys import Rows, rename, shape
from vidact.models.recognition.blocks import Classifier, Head

CLIP = (16, 112, 112)
# Name and channels of each convolution; "pool" halves what is left.
LAYERS: tuple[tuple[str, int], ...] = (
    ("1a", 64),
    ("2a", 128),
    ("3a", 256),
    ("3b", 256),
    ("4a", 512),
    ("4b", 512),
    ("5a", 512),
    ("5b", 512),
)
LAST_OF_LEVEL = frozenset({"2a", "3b", "4b"})
KEYS: Rows = (
    (r"^backbone\.conv(\d[ab])\.conv\.", r"convolutions.\1."),
    (r"^backbone\.fc6\.", "sixth."),
    (r"^backbone\.fc7\.", "seventh."),
    (r"^cls_head\.fc_cls\.", "head.projection."),
)


class C3D(Classifier):
    """The network of one fixed clip size."""

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__(Head(4096, classes, None))
        self.convolutions = nn.ModuleDict()
        for name, channels in LAYERS:
            self.convolutions[name] = nn.Conv3d(inputs, channels, 3, padding=1)
            inputs = channels
        self.sixth = nn.Linear(8192, 4096)
        self.seventh = nn.Linear(4096, 4096)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, 16, 112, 112) → (B, 4096, 1, 1, 1). Raises ModelError for clips of another size."""
        if tuple(clips.shape[2:]) != CLIP:
            raise ModelError(f"C3D takes clips of {CLIP}, not {tuple(clips.shape[2:])} (frames, height, width)")
        x = clips
        for name, convolution in self.convolutions.items():
            x = convolution(x).relu_()
            if name == "1a":
                x = F.max_pool3d(x, (1, 2, 2))
            elif name in LAST_OF_LEVEL:
                x = F.max_pool3d(x, 2)
        x = F.max_pool3d(x, 2, padding=(0, 1, 1)).flatten(1)
        x = self.seventh(self.sixth(x).relu_()).relu_()
        return (x[:, :, None, None, None],)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    own = rename(state, KEYS)
    inputs = shape(own, "convolutions.1a.weight", architecture)[1]
    return C3D(inputs, shape(own, "head.projection.weight", architecture)[0]), own
