"""Names that mean the same video are found, and names that could mean several are an error."""

from __future__ import annotations

import pytest

from vidact.errors import UsageError
from vidact.evaluation.matching import match


@pytest.mark.parametrize(
    ("found", "truth"),
    [
        ("a/b.mp4", "a/b.mp4"),
        ("a/b.mp4", "b"),
        ("b", "x/y/b.webm"),
        ("deep/v_abc.mp4", "abc"),
        ("abc_000010_000020.mp4", "abc"),
        ("abc.mp4", "abc_000010_000020"),
        ("video.1", "video.1"),
        ("f/video.1.npy", "video.1"),
    ],
)
def test_same_video(found: str, truth: str) -> None:
    assert match([found, "other.mp4"], [truth, "absent"]).of == {found: truth}


def test_what_has_no_counterpart_is_told() -> None:
    result = match(["a.mp4", "b.mp4"], ["b", "c"])
    assert (result.of, result.strangers, result.absent) == ({"b.mp4": "b"}, ("a.mp4",), ("c",))


def test_folders_decide_between_equal_names() -> None:
    result = match(["x/1.mp4", "y/1.mp4"], ["root/y/1.avi", "root/x/1.avi"])
    assert result.of == {"x/1.mp4": "root/x/1.avi", "y/1.mp4": "root/y/1.avi"}


def test_the_same_path_leaves_the_other_to_its_stem() -> None:
    assert match(["1", "y/1.mp4"], ["1"]).of == {"1": "1"}


@pytest.mark.parametrize(
    ("found", "truth", "named"),
    [
        (["x/1.mp4", "y/1.mp4"], ["1"], r"'1' .* any of 2 videos: 'x/1.mp4', 'y/1.mp4'"),
        (["1.mp4"], ["x/1.mp4", "y/1.mp4"], "any of 2 videos of the truth: 'x/1.mp4', 'y/1.mp4'"),
        (["x/1.mp4", "x/1.avi"], ["1.mkv"], "'1.mkv'"),
    ],
)
def test_ambiguous_names_are_refused(found: list[str], truth: list[str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        match(found, truth)
