"""Geometry in integers: sizes and corners for every shape of frame."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidact.errors import UsageError, VideoError
from vidact.records import Geometry, VideoFacts
from vidact.video.transform import LONGEST_SIDE, plan

SHORT = Geometry((224, 224), "short-side", 256)


def facts(width: int, height: int) -> VideoFacts:
    return VideoFacts(1.0, 0.0, 30.0, width, height, 0, "h264", 30)


def test_squash_takes_the_whole_frame() -> None:
    squashed = plan(facts(640, 360), Geometry((96, 128), "squash", 96))
    assert (squashed.height, squashed.width, squashed.crops, squashed.size) == (96, 128, ((0, 0),), (96, 128))


@pytest.mark.parametrize(
    ("width", "height", "crops", "expected"),
    [
        (640, 360, 1, (256, 455, ((16, 115),))),
        (640, 360, 3, (256, 455, ((16, 0), (16, 115), (16, 231)))),
        (360, 640, 3, (455, 256, ((0, 16), (115, 16), (231, 16)))),
        (256, 256, 1, (256, 256, ((16, 16),))),
        (1, 1, 1, (256, 256, ((16, 16),))),
    ],
)
def test_the_short_side_is_scaled_and_crops_lie_along_the_long_one(
    width: int, height: int, crops: int, expected: tuple[int, int, object]
) -> None:
    made = plan(facts(width, height), SHORT, crops)
    assert (made.height, made.width, made.crops) == expected


@given(st.integers(1, 8000), st.integers(1, 8000), st.sampled_from([1, 3]), st.integers(32, 400), st.integers(32, 400))
def test_crops_lie_inside_the_picture(width: int, height: int, crops: int, side: int, short: int) -> None:
    try:
        made = plan(facts(width, height), Geometry((side, side), "short-side", short), crops)
    except VideoError as error:
        assert error.kind == "BadShape"
        assert max(width, height) / min(width, height) * max(side, short) > LONGEST_SIDE / 2
        return
    assert len(made.crops) == crops
    for y, x in made.crops:
        assert y >= 0 and y + side <= made.height
        assert x >= 0 and x + side <= made.width


def test_what_cannot_be_planned_says_so() -> None:
    with pytest.raises(UsageError, match="2 crops"):
        plan(facts(640, 360), SHORT, 2)
    with pytest.raises(UsageError, match="whole frame"):
        plan(facts(640, 360), Geometry((96, 96), "squash", 96), 3)
    with pytest.raises(VideoError) as caught:
        plan(facts(60_000, 4), SHORT)
    assert caught.value.kind == "BadShape"
