"""A recognition network together with how its clips are prepared and its logits become scores.

Knows nothing of files, videos or where it runs; ``models/build.py`` makes it.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
import torch
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.layout import lay_out
from vidact.records import Spec

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


class Recognizer:
    """Scores clips. ``spec`` says how the weights want them sampled, sized and normalised."""

    def __init__(self, network: nn.Module, spec: Spec, *, device: str = "cpu", dtype: str = "float32") -> None:
        self.spec = spec
        self.network, self.device, self.dtype = placed(network, device, dtype)
        if self.device.type == "cpu" and self.dtype != torch.float32:
            lay_out(self.network)
        shape = (1, len(spec.mean), 1, 1, 1)
        # One multiply and one add for "scale to 0..1, subtract the mean, divide by the deviation".
        std = torch.tensor(spec.std, dtype=torch.float64)
        self._scale = (1 / (255 * std)).float().reshape(shape).to(self.device)
        self._shift = (-torch.tensor(spec.mean, dtype=torch.float64) / std).float().reshape(shape).to(self.device)

    def prepare(self, frames: np.ndarray[Any, np.dtype[np.uint8]]) -> Tensor:
        """uint8 pictures (B, T, H, W, 3) → normalised clips (B, 3, T, H, W) in the model's dtype on its device."""
        return self.normalise(torch.from_numpy(np.ascontiguousarray(frames)).to(self.device).permute(0, 4, 1, 2, 3))

    def normalise(self, levels: Tensor) -> Tensor:
        """Levels 0 to 255, of pixels or of flow, (B, C, T, H, W) → normalised clips in the model's dtype."""
        return (levels.float() * self._scale + self._shift).to(self.dtype).contiguous()

    @torch.inference_mode()
    def __call__(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, C, T, H, W) → logits (B, classes), float32."""
        logits: Tensor = self.network(clips.to(self.device, self.dtype))
        return logits.float()

    def scores(self, clips: Tensor) -> Tensor:
        """Normalised clips (B, C, T, H, W) → probabilities (B, classes), float32, as the original reports them.

        A network whose original does more than activate its logits (a softmax at every position, then their mean)
        brings its own ``scores(clips, activate)``.
        """
        own = getattr(self.network, "scores", None)
        if own is None:
            return self.activate(self(clips))
        with torch.inference_mode():
            found: Tensor = own(clips.to(self.device, self.dtype), self.activate)
            return found.float()

    def activate(self, logits: Tensor) -> Tensor:
        """Logits (…, classes) → probabilities: softmax, or sigmoid for multi-label weights."""
        return logits.softmax(-1) if self.spec.activation == "softmax" else logits.sigmoid()

    @overload
    def features(self, clips: Tensor, pool: Literal[True] = True) -> Tensor: ...
    @overload
    def features(self, clips: Tensor, pool: bool) -> Tensor: ...
    @torch.inference_mode()
    def features(self, clips: Tensor, pool: bool = True) -> Tensor:
        """Normalised clips (B, C, T, H, W) → (B, D), what the classifier head sees; ``pool=False``: (B, D, t, h, w)."""
        found: Tensor = self.network.features(clips.to(self.device, self.dtype), pool=pool)  # type: ignore[operator]
        return found.float()


def placed(network: nn.Module, device: str, dtype: str) -> tuple[nn.Module, torch.device, torch.dtype]:
    """The network, only to be asked, on this device in this dtype; and both as torch knows them. Raises ModelError."""
    if dtype not in DTYPES:
        raise ModelError(f"there is no dtype {dtype!r}", hint=f"choose one of {', '.join(DTYPES)}")
    if dtype == "float32":
        compute_exactly()
    kind = DTYPES[dtype]
    try:
        place = torch.device(device)
        return network.to(device=place, dtype=kind).eval().requires_grad_(False), place, kind
    except (RuntimeError, AssertionError) as error:
        raise ModelError(
            f"the model cannot be put on {device!r}: {str(error).splitlines()[0]}",
            hint="choose --device cpu, or free the device",
        ) from error


def compute_exactly() -> None:
    """Let float32 be float32: by default a GPU rounds what convolutions multiply to 10 bits of mantissa."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
