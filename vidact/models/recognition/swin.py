"""Video Swin: a transformer over windows of the clip, shifted by half a window in every second block.

Four stages halve height and width and double the channels (Liu et al., "Video Swin Transformer", CVPR 2022). Published
by the authors, in mmaction2 and in torchvision, which differ in keys alone. Depths, widths, heads and windows are read
from the shapes of the tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.keys import Rows, choose, count, rename, shape
from vidact.models.recognition.blocks import Classifier, Head, Triple
from vidact.models.recognition.transformer import Perceptron, attend

EPS = 1e-5
APART = -100.0
"""Added between places that only the shift brought together."""
SIDE = 7
"""Height and width of the published windows; their frames differ."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One publisher's key names."""

    mark: str
    rows: Rows


_RELATIVE = (r"\.attn\.relative_position_bias_table$", ".attn.table")
# The authors' keys and mmaction2's differ in the name of the last norm alone.
ORIGINAL = Rules(
    mark=r"backbone\.layers\.0\.blocks\.0\.attn\.relative_position_bias_table",
    rows=(
        (r"^backbone\.layers\.", "stages."),
        (r"^backbone\.patch_embed\.proj\.", "patches."),
        (r"^backbone\.patch_embed\.norm\.", "patches_norm."),
        (r"^backbone\.norm3?\.", "norm."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
        _RELATIVE,
    ),
)
TORCHVISION = Rules(
    mark=r"features\.0\.0\.attn\.relative_position_bias_table",
    rows=(
        *((rf"^features\.{2 * number}\.", f"stages.{number}.blocks.") for number in range(4)),
        *((rf"^features\.{2 * number + 1}\.", f"stages.{number}.downsample.") for number in range(3)),
        (r"^patch_embed\.proj\.", "patches."),
        (r"^patch_embed\.norm\.", "patches_norm."),
        (r"\.mlp\.0\.", ".mlp.fc1."),
        (r"\.mlp\.3\.", ".mlp.fc2."),
        (r"^head\.", "head.projection."),
        _RELATIVE,
    ),
)
FORMATS = (ORIGINAL, TORCHVISION)


class WindowAttention(nn.Module):
    """Every place looks at every other of its window; a learnt bias says what their distance means.

    With ``shifted`` the windows lie half a window further along every axis that is longer than one.
    """

    def __init__(self, width: int, heads: int, window: Triple, *, shifted: bool) -> None:
        super().__init__()
        self.heads, self.window, self.shifted = heads, window, shifted
        self.table = nn.Parameter(torch.zeros(_distances(window), heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) → the same shape."""
        size = x.shape[1:4]
        window = _fitted(self.window, size)
        shift = [full // 2 if self.shifted and n > full else 0 for n, full in zip(size, self.window, strict=True)]
        padding = [-n % side for n, side in zip(size, window, strict=True)]
        if any(padding):
            x = F.pad(x, (0, 0, 0, padding[2], 0, padding[1], 0, padding[0]))
        if any(shift):
            x = x.roll([-step for step in shift], dims=(1, 2, 3))
        x = self._inside(x, window, shift)
        if any(shift):
            x = x.roll(shift, dims=(1, 2, 3))
        return x[:, : size[0], : size[1], : size[2]]

    def _inside(self, x: Tensor, window: Triple, shift: list[int]) -> Tensor:
        """Attention within every window of a clip whose sides the window divides."""
        batch, *size, width = x.shape
        grid = [n // side for n, side in zip(size, window, strict=True)]
        cut = [part for pair in zip(grid, window, strict=True) for part in pair]
        # (3, B, windows along each axis, heads, places in a window, channels)
        qkv = self.qkv(x).view(batch, *cut, 3, self.heads, -1).permute(7, 0, 1, 3, 5, 8, 2, 4, 6, 9)
        qkv = qkv.reshape(3, batch, *grid, self.heads, -1, width // self.heads)
        found = torch.empty_like(qkv[0])
        bias = self._bias(window)
        # Of the shifted windows only the last along an axis hold places that do not belong together. Taken apart, all
        # windows of one attention share their bias.
        for ends in product(*((False, True) if step else (None,) for step in shift)):
            part = (slice(None), *(_CUTS[end] for end in ends))
            q, k, v = (each[part].flatten(0, 3) for each in qkv)
            if not len(q):
                continue
            mask = bias + _apart(window, shift, ends).to(bias) if any(ends) else bias
            mixed = attend(q, k, v, bias=mask)
            found[part] = mixed.view(batch, *found[part].shape[1:])
        found = found.view(batch, *grid, self.heads, *window, -1).permute(0, 1, 5, 2, 6, 3, 7, 4, 8)
        joined: Tensor = self.proj(found.reshape(batch, *size, width))
        return joined

    def _bias(self, window: Triple) -> Tensor:
        """What a pair of places adds to its product, (1, heads, N, N).

        A window cut short by the clip takes the first N places of the whole one, as all publishers do: exact where
        only frames are missing.
        """
        places = torch.cartesian_prod(*(torch.arange(side) for side in self.window))
        places = places[: window[0] * window[1] * window[2]]
        between = places[:, None] - places[None] + torch.tensor(self.window) - 1
        _, height, width = self.window
        number = (between[..., 0] * (2 * height - 1) + between[..., 1]) * (2 * width - 1) + between[..., 2]
        return self.table[number.to(self.table.device)].permute(2, 0, 1)[None].contiguous()


_CUTS = {None: slice(None), False: slice(None, -1), True: slice(-1, None)}


def _apart(window: Triple, shift: list[int], ends: tuple[bool | None, ...]) -> Tensor:
    """``APART`` for pairs of places in a window that the shift brought together from two ends of the clip, (N, N)."""
    sides = []
    for side, step, end in zip(window, shift, ends, strict=True):
        sides.append((torch.arange(side) >= side - step).long() if end else torch.zeros(side, dtype=torch.long))
    parts = torch.cartesian_prod(*sides)
    return (parts[:, None] != parts[None]).any(-1) * APART


class Block(nn.Module):
    """Attention in windows and a perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, window: Triple, hidden: int, *, shifted: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = WindowAttention(width, heads, window, shifted=shifted)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Perceptron(width, hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) → the same shape."""
        x = x + self.attn(self.norm1(x))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class Merge(nn.Module):
    """Four neighbours become one place of twice the channels."""

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width, eps=EPS)
        self.reduction = nn.Linear(4 * width, outputs, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, H, W, C) → (B, T, H / 2, W / 2, C'), rounded up."""
        height, width = x.shape[2:4]
        if height % 2 or width % 2:
            x = F.pad(x, (0, 0, 0, width % 2, 0, height % 2))
        # The order of the four: down first, then right.
        four = [x[:, :, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        merged: Tensor = self.reduction(self.norm(torch.cat(four, dim=-1)))
        return merged


@dataclass(frozen=True, slots=True)
class Stage:
    """The sizes of a stage; ``outputs`` channels lie behind its merging, None where it does not merge."""

    width: int
    heads: int
    hidden: int
    blocks: int
    window: Triple
    outputs: int | None


class Swin(Classifier):
    """``patch`` is the size of a token in frames and pixels."""

    def __init__(self, stages: list[Stage], patch: Triple, inputs: int, classes: int) -> None:
        super().__init__(Head(stages[-1].width, classes, None))
        self.patch = patch
        self.patches = nn.Conv3d(inputs, stages[0].width, patch, stride=patch)
        self.patches_norm = nn.LayerNorm(stages[0].width, eps=EPS)
        self.stages = nn.ModuleList(self._layers(stage) for stage in stages)
        self.norm = nn.LayerNorm(stages[-1].width, eps=EPS)

    @staticmethod
    def _layers(stage: Stage) -> nn.ModuleDict:
        blocks = (
            Block(stage.width, stage.heads, stage.window, stage.hidden, shifted=number % 2 == 1)
            for number in range(stage.blocks)
        )
        layers: dict[str, nn.Module] = {"blocks": nn.Sequential(*blocks)}
        if stage.outputs is not None:
            layers["downsample"] = Merge(stage.width, stage.outputs)
        return nn.ModuleDict(layers)

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → (B, D, T / 2, H / 32, W / 32), rounded up."""
        padding = [-n % side for n, side in zip(clips.shape[2:], self.patch, strict=True)]
        if any(padding):
            clips = F.pad(clips, (0, padding[2], 0, padding[1], 0, padding[0]))
        x = self.patches_norm(self.patches(clips).permute(0, 2, 3, 4, 1))
        for stage in self.stages:
            for layer in stage.values():  # type: ignore[operator]
                x = layer(x)
        return (self.norm(x).permute(0, 4, 1, 2, 3),)


def _fitted(window: Triple, size: tuple[int, ...]) -> Triple:
    """The window, no side of it longer than the clip."""
    frames, height, width = (min(side, n) for side, n in zip(window, size, strict=True))
    return frames, height, width


def _distances(window: Triple) -> int:
    """How many different distances there are between two places of a window."""
    return (2 * window[0] - 1) * (2 * window[1] - 1) * (2 * window[2] - 1)


def _window(distances: int, places: int | None = None) -> Triple:
    """The window of so many distances and, where the file says, places: square, of the published side if it can be."""
    for side in (SIDE, *range(16, 0, -1)):
        frames, rest = divmod(distances, (2 * side - 1) ** 2)
        frames = (frames + 1) // 2
        if rest == 0 and distances == _distances((frames, side, side)) and places in (None, frames * side**2):
            return frames, side, side
    raise ModelError(f"no window has {distances} distances between its places")


def _stages(own: Mapping[str, Tensor], places: int | None, architecture: str) -> list[Stage]:
    stages = []
    for number in range(count(own, "stages.")):
        prefix = f"stages.{number}."
        distances, heads = shape(own, prefix + "blocks.0.attn.table", architecture)
        hidden, width = shape(own, prefix + "blocks.0.mlp.fc1.weight", architecture)
        merging = own.get(prefix + "downsample.reduction.weight")
        stages.append(
            Stage(
                width=width,
                heads=heads,
                hidden=hidden,
                blocks=count(own, prefix + "blocks."),
                window=_window(distances, places),
                outputs=None if merging is None else merging.shape[0],
            )
        )
    return stages


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    # Which distance a pair of places has follows from the window; files may hold that table or not.
    own = rename(state, rules.rows)
    tables = [own.pop(key) for key in list(own) if key.endswith(".attn.relative_position_index")]
    _, inputs, frames, height, width = shape(own, "patches.weight", architecture)
    classes = shape(own, "head.projection.weight", architecture)[0]
    stages = _stages(own, len(tables[0]) if tables else None, architecture)
    return Swin(stages, (frames, height, width), inputs, classes), own
