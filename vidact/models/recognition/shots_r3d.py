"""Shots R3D: an attention R3D that names the motion of a window, and a light branch that tells cuts frame by frame.

The trunk (``attention_r3d.py``) sees every second frame of the window. The branch sees all of them at a quarter of the
size and gives two numbers a frame: how much it looks like the first of a new shot (a cut), and like one inside a fade.
``features`` puts both side by side; it is what a localizer needs to place moves and cuts alike. Knows nothing of
labels, pixels or files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.recognition import attention_r3d
from vidact.models.recognition.attention_r3d import AttentionR3D
from vidact.models.recognition.blocks import slid_mean

TRUNK = "attention-r3d-10"
CONVOLUTIONS = 2
"""Each halves the picture."""
SHRINK = 4
"""How much smaller than the trunk's are the pictures of the branch."""
MIDDLE = 6
"""How many frames to both sides of the centre count as the middle of a window."""
SCALE = 0.25
"""What the branch's logits are multiplied by, to be about as large as the trunk's features."""
REACH = 4
"""Frames are compared over 1, 3, 5 and 7 steps of time."""


class FrameBranch(nn.Module):
    """Cut and fade, frame by frame: small convolutions of each frame and its change, what differs before and after it.

    ``widths`` are the channels of the two convolutions, ``hidden`` those of the layers over time.
    """

    def __init__(self, widths: tuple[int, int] = (16, 32), hidden: int = 48) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after, kernel in zip((6, *widths), widths, (5, 3), strict=False):
            layers += [nn.Conv2d(before, after, kernel, stride=2, padding=kernel // 2, bias=False)]
            layers += [nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.convolutions = nn.Sequential(*layers)
        # Ends are repeated: zeros beyond the window would look like cuts.
        first, second = (
            nn.Conv1d(seen, hidden, 5, padding=2, padding_mode="replicate")
            for seen in (2 * widths[-1] + 2 * REACH, hidden)
        )
        self.over_time = nn.Sequential(
            first, nn.ReLU(inplace=True), second, nn.ReLU(inplace=True), nn.Conv1d(hidden, 2, 1)
        )

    def forward(self, frames: Tensor) -> Tensor:
        """(B, 3, T, 24, 24) → (B, 2, T): logits of "the first frame of a new shot" and of "inside a fade"."""
        batch, _, time = frames.shape[:3]
        change = torch.diff(frames, dim=2, prepend=frames[:, :, :1])
        pictures = torch.cat((frames, change), dim=1).transpose(1, 2).flatten(0, 1)
        maps = self.convolutions(pictures).flatten(2)
        seen = torch.cat((maps.mean(dim=2), maps.amax(dim=2)), dim=1).reshape(batch, time, -1).transpose(1, 2)
        logits: Tensor = self.over_time(torch.cat((seen, differences(frames)), dim=1))
        return logits


def differences(frames: Tensor) -> Tensor:
    """How the pictures up to just before each frame differ from those from it on: (B, 3, T, H, W) → (B, 8, T).

    Of coarse pictures 1, 3, 5 and 7 frames apart around the boundary before a frame: the mean difference place by
    place, and of the sorted values of each colour, which motion changes little.
    """
    batch, _, time = frames.shape[:3]
    coarse = slid_mean(frames, (1, 2, 2), (1, 2, 2)).transpose(1, 2).flatten(3)  # (B, T, 3, places)
    ordered = coarse.sort(dim=3).values
    steps = torch.arange(time, device=frames.device)
    found = []
    for reach in range(REACH):
        before, after = (steps - 1 - reach).clamp(min=0), (steps + reach).clamp(max=time - 1)
        found += [(pictures[:, after] - pictures[:, before]).abs().mean(dim=(2, 3)) for pictures in (coarse, ordered)]
    return torch.stack(found, dim=1).reshape(batch, 2 * REACH, time)


def arranged(logits: Tensor) -> Tensor:
    """The branch's numbers (B, 2, T) as features (B, 2 T + 6), about as large as the trunk's.

    The logits themselves, and for the middle of the window and what lies to both sides of it the probability of the
    likeliest cut, and that times its place; so a localizer need not learn to find the place of a maximum.
    """
    frames = logits.shape[2]
    cuts = logits[:, 0].sigmoid()
    place = (torch.arange(frames, device=logits.device, dtype=logits.dtype) - frames // 2) / 4
    middle = (frames // 2 - MIDDLE, frames // 2 + MIDDLE + 1)
    found = [SCALE * logits.flatten(1)]
    for first, last in ((1, middle[0]), middle, (middle[1], frames)):  # of frame 0 nobody knows what was before
        part = cuts[:, first:last]
        weight = part.square()
        peak = part.amax(dim=1)
        where = (weight * place[first:last]).sum(dim=1) / weight.sum(dim=1).clamp(min=1e-6)
        found += [peak[:, None], (peak * where)[:, None]]
    return torch.cat(found, dim=1)


class ShotsR3D(nn.Module):
    """The trunk and the branch. Logits are the trunk's; ``features`` are both sides'.

    ``frames`` is the length of a window, an even number.
    """

    def __init__(self, trunk: AttentionR3D, branch: FrameBranch, frames: int = 32) -> None:
        super().__init__()
        self.trunk, self.branch = trunk, branch
        self.classes, self.frames = trunk.classes, frames
        self.dimension = trunk.dimension + 2 * frames + 6

    def features(self, clips: Tensor, pool: bool = True) -> Tensor:
        """(B, 3, T, H, W) → (B, D): what the trunk's head sees, then what the branch says (see ``arranged``).

        They have no axes of time or space to keep: ``pool=False`` gives (B, D, 1, 1, 1).
        """
        branch = arranged(self.branch(slid_mean(clips, (1, SHRINK, SHRINK), (1, SHRINK, SHRINK))))
        found = torch.cat((self.trunk.features(clips[:, :, ::2]), branch), dim=1)
        return found if pool else found[:, :, None, None, None]

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, H, W) normalised → (B, classes) logits of the trunk."""
        logits: Tensor = self.trunk(clips[:, :, ::2])
        return logits


def from_state(
    architecture: str, state: dict[str, Tensor], options: Mapping[str, Any]
) -> tuple[ShotsR3D, dict[str, Tensor]]:
    """The network that fits these tensors; ``options`` hold the trunk's under ``trunk``, and ``frames``."""
    parts = {
        part: {k[len(part) :]: v for k, v in state.items() if k.startswith(part)} for part in ("trunk.", "branch.")
    }
    try:
        widths = tuple(parts["branch."][f"convolutions.{3 * row}.weight"].shape[0] for row in range(CONVOLUTIONS))
        hidden = parts["branch."]["over_time.0.weight"].shape[0]
    except KeyError as error:
        raise ModelError(
            f"these are not the tensors of a {architecture}: branch.{error.args[0]} is missing",
            hint="check --model against the file (`vidact models list`)",
        ) from error
    trunk, _ = attention_r3d.from_state(TRUNK, parts["trunk."], options.get("trunk", {}))
    branch = FrameBranch((widths[0], widths[1]), hidden)
    return ShotsR3D(trunk, branch, options.get("frames", 32)), state
