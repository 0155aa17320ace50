"""From the size of a frame as shown to the size it is scaled to and the crops cut out of it. Integers only, no
pixels."""

from __future__ import annotations

from dataclasses import dataclass

from vidact.errors import UsageError, VideoError
from vidact.records import Geometry, VideoFacts

LONGEST_SIDE = 16_384
"""Pixels. A strip scaled to a wider picture than this is refused: a 4 x 60000 pixel video must not eat the memory."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a frame, as shown, becomes pictures: scaled to ``height`` x ``width``, then one picture of ``size`` cut out
    per crop, whose upper left corner is (y, x)."""

    height: int
    width: int
    crops: tuple[tuple[int, int], ...]
    size: tuple[int, int]


def plan(facts: VideoFacts, geometry: Geometry, crops: int = 1) -> Plan:
    """Plan ``crops`` pictures a frame: 1 is the centre; 3 are both ends and the centre along the long side.

    Raises UsageError for any other number, or for more than one crop of a picture that is squashed whole; VideoError
    (``BadShape``) for a frame too narrow to be scaled.
    """
    height, width = geometry.size
    if geometry.resize == "squash":
        if crops != 1:
            raise UsageError(f"{crops} crops of a model that sees the whole frame.", hint="--views CLIPSx1")
        return Plan(height, width, ((0, 0),), geometry.size)
    if crops not in (1, 3):
        raise UsageError(f"{crops} crops were asked for; a video can be seen in 1 or 3.", hint="--views CLIPSx3")

    short = max(1, min(facts.height, facts.width))
    tall = max(height, _scaled(facts.height, geometry.short_side, short))
    wide = max(width, _scaled(facts.width, geometry.short_side, short))
    if max(tall, wide) > LONGEST_SIDE:
        raise VideoError("BadShape", f"{facts.width} x {facts.height} pixels are too narrow a picture", stage="index")
    spare_y, spare_x = tall - height, wide - width
    if crops == 1:
        corners: tuple[tuple[int, int], ...] = ((spare_y // 2, spare_x // 2),)
    elif tall > wide:
        corners = tuple((y, spare_x // 2) for y in (0, spare_y // 2, spare_y))
    else:
        corners = tuple((spare_y // 2, x) for x in (0, spare_x // 2, spare_x))
    return Plan(tall, wide, corners, geometry.size)


def _scaled(side: int, target: int, short: int) -> int:
    """``side`` x ``target`` / ``short``, rounded half up, in integers."""
    return (2 * side * target + short) // (2 * short)
