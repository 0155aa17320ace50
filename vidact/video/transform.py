"""From the size of a frame as shown to the size it is scaled to and the crops cut out of it. Integers only, no
pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from vidact.errors import ModelError, UsageError, VideoError
from vidact.records import Geometry, Protocol, VideoFacts

LONGEST_SIDE = 16_384
"""Pixels. A strip scaled to a wider picture than this is refused: a 4 x 60000 pixel video must not eat the memory."""

Kernel = Literal["decoder", "area", "linear", "fixed", "antialiased"]
"""What scales: the decoder as it likes, the decoder by area, or ``video/resize.py`` after decoding at native size."""

Corner = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Plan:
    """How a frame, as shown, becomes pictures: scaled to ``height`` x ``width``, then one picture of ``size`` cut out
    per crop, whose upper left corner is (y, x); ``mirrored``: each is followed by its mirror image.

    ``decoded`` is the (height, width) decoders give.
    """

    height: int
    width: int
    crops: tuple[Corner, ...]
    size: tuple[int, int]
    kernel: Kernel = "decoder"
    native: tuple[int, int] = (0, 0)
    mirrored: bool = False

    @property
    def decoded(self) -> tuple[int, int]:
        """The size decoders scale to."""
        return (self.height, self.width) if self.kernel in ("decoder", "area") else self.native


@dataclass(frozen=True, slots=True)
class Rules:
    """The conventions of one project: what scales, and how lengths and offsets are rounded.

    ``long``: (long side, short side, short side wanted) → long side; ``centre``: spare pixels → offset of the centre;
    ``three``: spare pixels → offsets of three crops, in the original's order.
    """

    kernel: Kernel
    long: Callable[[int, int, int], int]
    centre: Callable[[int], int]
    three: Callable[[int], tuple[int, int, int]]


def _truncated(long: int, short: int, wanted: int) -> int:
    return wanted * long // short


def _floored(long: int, short: int, wanted: int) -> int:
    return math.floor(long / short * wanted)


def _scaled(side: int, short: int, target: int) -> int:
    """``side`` x ``target`` / ``short``, rounded half up, in integers."""
    return (2 * side * target + short) // (2 * short)


def _half_up(long: int, short: int, wanted: int) -> int:
    return int(long * (wanted / short) + 0.5)


def _lower(spare: int) -> int:
    return spare // 2


def _upper(spare: int) -> int:
    return -(-spare // 2)


def _even(spare: int) -> int:
    return round(spare / 2)


def _in_order(spare: int) -> tuple[int, int, int]:
    return 0, spare // 2, spare


def _in_order_upper(spare: int) -> tuple[int, int, int]:
    return 0, _upper(spare), spare


def _equal_steps(spare: int) -> tuple[int, int, int]:
    return 0, spare // 2, 2 * (spare // 2)


def _ends_first(spare: int) -> tuple[int, int, int]:
    """One pixel short of the end when the spare ones are odd."""
    return 0, 2 * (spare // 2), spare // 2


STYLES = {
    "mmaction2": Rules("fixed", _half_up, _lower, _ends_first),
    "pyslowfast": Rules("area", _scaled, _upper, _in_order_upper),
    "pyslowfast-pyav": Rules("linear", _floored, _upper, _in_order_upper),
    "pytorchvideo": Rules("linear", _floored, _even, _in_order_upper),
    "videomae": Rules("fixed", _truncated, _lower, _in_order),
    "vjepa2": Rules("fixed", _truncated, _lower, _equal_steps),
    "torchvision": Rules("linear", _truncated, _even, _in_order),
    "pillow": Rules("antialiased", _truncated, _lower, _in_order),
    "pillow-even": Rules("antialiased", _truncated, _even, _in_order),
}
"""What ``Protocol.style`` names. PySlowFast's first: the torchvision reader, which scales while it decodes. PySlowFast
and pytorchvideo normalise before they scale, in floating point; scaling is linear, so scaling first differs only by
the rounding to whole levels."""


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
    tall = max(height, _scaled(facts.height, short, geometry.short_side))
    wide = max(width, _scaled(facts.width, short, geometry.short_side))
    _check(facts, tall, wide)
    spare_y, spare_x = tall - height, wide - width
    if crops == 1:
        corners: tuple[Corner, ...] = ((spare_y // 2, spare_x // 2),)
    elif tall > wide:
        corners = tuple((y, spare_x // 2) for y in (0, spare_y // 2, spare_y))
    else:
        corners = tuple((spare_y // 2, x) for x in (0, spare_x // 2, spare_x))
    return Plan(tall, wide, corners, geometry.size)


def published(facts: VideoFacts, protocol: Protocol) -> Plan:
    """The pictures of a published test, crops in the original's order.

    Raises VideoError (``BadShape``) as ``plan`` does, ModelError for conventions this version does not know.
    """
    rules = STYLES.get(protocol.style)
    if rules is None:
        raise ModelError(f"there are no conventions {protocol.style!r}", hint="the weights need a newer vidact")
    height, width = protocol.size
    short = min(facts.height, facts.width)
    tall, wide = (
        protocol.short_side if side == short else rules.long(side, short, protocol.short_side)
        for side in (facts.height, facts.width)
    )
    _check(facts, tall, wide)
    spare_y, spare_x = tall - height, wide - width
    if protocol.crops == 1:
        corners: tuple[Corner, ...] = ((rules.centre(spare_y), rules.centre(spare_x)),)
    elif protocol.crops == 3 and tall > wide:
        corners = tuple((y, rules.centre(spare_x)) for y in rules.three(spare_y))
    elif protocol.crops == 3:
        corners = tuple((rules.centre(spare_y), x) for x in rules.three(spare_x))
    else:
        y, x = spare_y // 4, spare_x // 4
        corners = ((0, 0), (0, 4 * x), (4 * y, 0), (4 * y, 4 * x), (2 * y, 2 * x))
    native = (facts.height, facts.width)
    return Plan(tall, wide, corners, protocol.size, rules.kernel, native, mirrored=protocol.crops == 10)


def _check(facts: VideoFacts, tall: int, wide: int) -> None:
    if max(tall, wide) > LONGEST_SIDE:
        raise VideoError("BadShape", f"{facts.width} x {facts.height} pixels are too narrow a picture", stage="index")
