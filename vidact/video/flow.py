"""Optical flow between pairs of grey pictures: TV-L1 (Zach, Pock, Bischof 2007), solved with a dual of each component.

The variant and the constants are those of OpenCV's ``DualTVL1OpticalFlow`` at its defaults, which flow networks were
trained on: warps with cubic interpolation, a median filter before each round of iterations, and an end as soon as the
field stops moving. Knows nothing of videos or networks. The only torch in this room, imported when flow is asked for:
processes that decode never load it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 16
"""Pixels of the shorter side of the smallest picture in the pyramid."""
TOGETHER = 64
"""Pairs in one piece on a GPU, filled up with black ones: where the shape is the same, so is the order of sums. A CPU
takes them one by one: a pair fits into its cache, and ends when it is done."""
PATIENCE = 8
"""Iterations on a GPU between two looks at whether any pair of a piece still moves; looking makes it wait."""
BOUND = 20.0
"""Pixels of motion beyond which networks do not see it."""
_LUMA = (0.299, 0.587, 0.114)


@dataclass(frozen=True, slots=True)
class Constants:
    """The constants of the method, by the names of the paper. ``weight`` is its lambda, for grey levels 0 to 255.

    ``epsilon`` is the root mean square change (pixels) of the field at which iterations end.
    """

    tau: float = 0.25
    weight: float = 0.15
    theta: float = 0.3
    scales: int = 5
    step: float = 0.8
    warps: int = 5
    epsilon: float = 0.01
    inner: int = 30
    outer: int = 10


DEFAULT = Constants()


def tvl1(first: Tensor, second: Tensor, constants: Constants = DEFAULT) -> Tensor:
    """Grey pictures (B, H, W), levels 0 to 255, of any dtype → float32 flow (B, 2, H, W).

    Channel 0 is how many pixels to the right, channel 1 how many pixels down each point of ``first`` has moved in
    ``second``. The field of a pair does not depend on the others in the batch: on a CPU to the last bit.
    """
    import torch

    if first.shape != second.shape or first.ndim != 3:
        raise ValueError(f"pictures {tuple(first.shape)} and {tuple(second.shape)}; both are (B, H, W)")
    pairs = torch.stack((first, second), dim=1).to(torch.float32)
    if not len(pairs):
        return pairs
    if pairs.device.type == "cpu":
        return torch.cat(_side_by_side([pairs[at : at + 1] for at in range(len(pairs))], constants))
    full = torch.cat((pairs, pairs.new_zeros((-len(pairs) % TOGETHER, *pairs.shape[1:]))))
    fields = [_coarse_to_fine(full[at : at + TOGETHER], constants) for at in range(0, len(full), TOGETHER)]
    return torch.cat(fields)[: len(pairs)]


def _side_by_side(pieces: list[Tensor], constants: Constants) -> list[Tensor]:
    """Every thread torch may use takes whole pairs: their pictures are too small to be shared by several."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # which the threads of the pool begin with
    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(_coarse_to_fine, pieces, [constants] * len(pieces)))
    finally:
        torch.set_num_threads(threads)


def grey(frames: Tensor) -> Tensor:
    """uint8 RGB (…, H, W, 3) → float32 grey levels (…, H, W), rounded as those of a grey picture are."""
    import torch

    return (frames.to(torch.float32) @ frames.new_tensor(_LUMA, dtype=torch.float32)).round_()


def levels(flow: Tensor, still: float) -> Tensor:
    """Flow in pixels → what a picture of it would hold: cut to ± 20 pixels, then 6.375 levels a pixel, rounded.

    ``still`` is the level of no motion before rounding. At 128 flow of + 20 pixels gives 256, which no byte can hold:
    networks fed with numbers instead of pictures saw it.
    """
    return (flow.clamp(-BOUND, BOUND) * (255 / (2 * BOUND)) + still).round_()


def _coarse_to_fine(pairs: Tensor, constants: Constants) -> Tensor:
    """(B, 2, H, W) → flow (B, 2, H, W). Each scale begins with the field of the one before."""
    import torch

    with torch.inference_mode():
        return _pyramid(pairs, constants)


def _pyramid(pairs: Tensor, constants: Constants) -> Tensor:
    levels = [pairs]
    while len(levels) < constants.scales:
        height, width = (round(side * constants.step) for side in levels[-1].shape[-2:])
        if min(height, width) < SMALLEST:
            break
        levels.append(_resized(levels[-1], height, width, constants.step))
    field = pairs.new_zeros(levels[-1].shape)
    for level in reversed(levels):
        if field.shape != level.shape:
            field = _resized(field, *level.shape[-2:]) / constants.step
        field = _one_scale(level, field, constants)
    return field


def _one_scale(pairs: Tensor, field: Tensor, constants: Constants) -> Tensor:
    """Improve a field (B, 2, H, W) on pictures of its size."""
    import torch

    first, second = pairs[:, :1], pairs[:, 1:]
    pictures = _canvas(torch.cat((second, *_slopes(second)), dim=1))
    solver = _Solver(field, constants)
    for _ in range(constants.warps):
        warped = _warped(pictures, solver.field)
        slope = warped[:, 1:]
        steep = slope.square().sum(1, keepdim=True)
        # A point moves along its slope by -rho / |slope|^2 of it, where rho is what the pictures still differ by.
        inverse = torch.where(steep > torch.finfo(torch.float32).eps, -1 / steep, 0.0)
        rest = (warped[:, :1] - (slope * solver.field).sum(1, keepdim=True) - first) * inverse
        solver.solve(slope, slope * inverse, rest)
    return solver.field


class _Solver:
    """The field and its dual at one scale, and room for the steps between two of them.

    ``across`` and ``down`` are the dual, with a border of zeros in front, so that its divergence is a difference
    everywhere. A single pair on a CPU takes the short way: nothing has to be kept for it while others go on.
    """

    def __init__(self, field: Tensor, constants: Constants) -> None:
        import torch

        self.constants = constants
        self.alone = len(field) == 1 and field.device.type == "cpu"
        self.field = field.contiguous()
        self.next, self.spare, self.right, self.below = (torch.zeros_like(self.field) for _ in range(4))
        self.across = torch.nn.functional.pad(self.right, (1, 0, 0, 0))
        self.down = torch.nn.functional.pad(self.right, (0, 0, 1, 0))
        self.limit = constants.epsilon * math.sqrt(field.shape[-2] * field.shape[-1])

    def solve(self, slope: Tensor, pull: Tensor, rest: Tensor) -> None:
        """Iterate around one warp until every pair has come to rest, or time is up.

        ``slope`` (B, 2, H, W) of the warped picture, ``pull`` the same over -|slope|^2, ``rest`` (B, 1, H, W) the part
        of -rho / |slope|^2 that stays the same.
        """
        import torch

        constants = self.constants
        moving = torch.ones((len(self.field), 1, 1, 1), dtype=torch.bool, device=self.field.device)
        for _ in range(constants.outer):
            smooth = median(self.field)
            self.field = smooth if self.alone else torch.where(moving, smooth, self.field)
            for inner in range(constants.inner):
                self._primal(slope, pull, rest)
                change = torch.linalg.vector_norm(
                    torch.sub(self.next, self.field, out=self.spare), dim=(1, 2, 3), keepdim=True
                )
                if self.alone:
                    self.field, self.next = self.next, self.field
                    self._dual(constants.tau / constants.theta)
                    if float(change) <= self.limit:
                        return
                    continue
                self.field = torch.where(moving, self.next, self.field)
                self._dual(moving * (constants.tau / constants.theta))
                moving = moving & (change > self.limit)
                if inner % PATIENCE == 0 and not bool(moving.any()):
                    return

    def _primal(self, slope: Tensor, pull: Tensor, rest: Tensor) -> None:
        """``next``: the field moved along the slopes by as much as the pictures ask for, and smoothed by the dual."""
        import torch

        limit = self.constants.weight * self.constants.theta
        share = torch.addcmul(rest, pull[:, :1], self.field[:, :1])
        share.addcmul_(pull[:, 1:], self.field[:, 1:]).clamp_(-limit, limit)
        torch.addcmul(self.field, slope, share, out=self.next)
        divergence = torch.sub(self.across[..., 1:], self.across[..., :-1], out=self.spare)
        divergence.add_(self.down[..., 1:, :]).sub_(self.down[..., :-1, :])
        self.next.add_(divergence, alpha=self.constants.theta)

    def _dual(self, rate: Any) -> None:
        """Move the dual by the slopes of the field. A rate of 0 leaves it as it is."""
        import torch

        field, right, below = self.field, self.right, self.below
        torch.sub(field[..., 1:], field[..., :-1], out=right[..., :-1])  # and 0 at the last column, row
        torch.sub(field[..., 1:, :], field[..., :-1, :], out=below[..., :-1, :])
        length = torch.mul(right, right, out=self.spare).addcmul_(below, below).sqrt_()
        length.mul_(rate).add_(1)
        for dual, step in ((self.across[..., 1:], right), (self.down[..., 1:, :], below)):
            if self.alone:
                dual.add_(step, alpha=rate)
            else:
                dual.addcmul_(step, rate)
            dual.div_(length)


def median(field: Tensor) -> Tensor:
    """The median of the 5 x 5 points around every point of (B, C, H, W); the border is repeated outwards.

    Columns are sorted once and serve five medians each; of their sorted ranks only those are kept that can still be
    the median of the square.
    """
    from torch.nn.functional import pad

    height, width = field.shape[-2:]
    wide = pad(field, (2, 2, 2, 2), mode="replicate")
    ranks = _exchange([wide[..., y : y + height, :] for y in range(5)], _SORT_FIVE, range(5))
    middle: list[Tensor] = []
    for rank, (first, last) in zip(ranks, _KEPT, strict=True):
        middle += _exchange([rank[..., x : x + width] for x in range(5)], _SORT_FIVE, range(first, last))
    return _exchange(middle, _MIDDLE, (6,))[0]


# Pairs of places whose values change places where the first is the larger. The last table finds the middle one of the
# 13 values that _KEPT leaves of a square whose rows and columns are sorted.
_Pairs = tuple[tuple[int, int], ...]
_SORT_FIVE: _Pairs = ((0, 3), (1, 4), (0, 2), (1, 3), (0, 1), (2, 4), (1, 2), (3, 4), (2, 3))
_KEPT: _Pairs = ((3, 5), (2, 5), (1, 4), (0, 3), (0, 2))
_MIDDLE: _Pairs = (
    *((1, 11), (4, 12), (3, 9), (0, 8), (7, 10), (2, 5), (4, 11), (3, 8), (1, 5), (4, 6), (7, 11), (5, 8), (6, 9)),
    *((10, 12), (0, 2), (2, 3), (10, 11), (1, 2), (3, 4), (2, 3), (9, 10), (6, 8), (7, 8), (3, 5), (8, 9), (4, 5)),
    *((6, 7), (5, 7), (5, 6)),
)


def _exchange(values: list[Tensor], pairs: _Pairs, wanted: Sequence[int]) -> list[Tensor]:
    """The ``wanted`` places after all exchanges. Halves of exchanges that nobody looks at are left out."""
    import torch

    seen, steps = set(wanted), []
    for low, high in reversed(pairs):
        if low in seen or high in seen:
            steps.append((low, high, low in seen, high in seen))
            seen |= {low, high}
    values = list(values)
    for low, high, smaller, larger in reversed(steps):
        one, other = values[low], values[high]
        if smaller:
            values[low] = torch.minimum(one, other)
        if larger:
            values[high] = torch.maximum(one, other)
    return [values[place] for place in wanted]


def _slopes(pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Half the difference of the neighbours to both sides, and above and below; the border is repeated outwards."""
    from torch.nn.functional import pad

    wide = pad(pictures, (1, 1, 0, 0), mode="replicate")
    tall = pad(pictures, (0, 0, 1, 1), mode="replicate")
    return (wide[..., 2:] - wide[..., :-2]) / 2, (tall[..., 2:, :] - tall[..., :-2, :]) / 2


def _canvas(pictures: Tensor) -> Tensor:
    """Black behind and below, to sides of a power of two and one: places on it can be told to the last bit."""
    from torch.nn.functional import pad

    (height, width) = pictures.shape[-2:]
    tall, wide = (1 + (1 << (side - 2).bit_length()) for side in (height, width))
    return pad(pictures, (0, wide - width, 0, tall - height))


def _warped(canvas: Tensor, field: Tensor) -> Tensor:
    """Pictures (B, C, …) on a canvas, looked up where the field (B, 2, H, W) points, by cubic interpolation.

    Black outside. Where the field is 0 a picture is what it was, exactly: what is still must not seem to move.
    """
    import torch

    height, width = field.shape[-2:]
    x = torch.arange(width, device=field.device) + field[:, 0]
    y = torch.arange(height, device=field.device)[:, None] + field[:, 1]
    at = torch.stack((x * (2 / (canvas.shape[-1] - 1)) - 1, y * (2 / (canvas.shape[-2] - 1)) - 1), dim=-1)
    return torch.nn.functional.grid_sample(canvas, at, mode="bicubic", padding_mode="zeros", align_corners=True)


def _resized(pictures: Tensor, height: int, width: int, scale: float | None = None) -> Tensor:
    """(…, H, W) scaled by linear interpolation without smoothing, as OpenCV does: pixel centres on pixel centres.

    ``scale`` is the factor where the size was rounded from it.
    """
    down = _interpolation(pictures, -2, height, scale)
    across = _interpolation(pictures, -1, width, scale)
    return down @ pictures @ across.T


def _interpolation(pictures: Tensor, axis: int, size: int, scale: float | None) -> Tensor:
    """The matrix (size, length) that scales an axis."""
    import torch

    length = pictures.shape[axis]
    factor = size / length if scale is None else scale
    at = ((torch.arange(size, dtype=torch.float64) + 0.5) / factor - 0.5).clamp(0, length - 1)
    distance = (at[:, None] - torch.arange(length)).abs()
    return (1 - distance).clamp(min=0).to(pictures)
