"""Names that mean the same video are found, and names that could mean several are an error."""

from __future__ import annotations

import pytest

from vidact.errors import UsageError
from vidact.store.matching import Names, match


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


def test_folders_that_differ_decide_too() -> None:
    result = match(["one/1.mp4", "two/1.mp4"], ["one/1.mp4", "three/1.mp4"])
    assert (result.of, result.strangers, result.absent) == (
        {"one/1.mp4": "one/1.mp4"},
        ("two/1.mp4",),
        ("three/1.mp4",),
    )


def test_two_clips_of_a_video_are_two() -> None:
    assert not match(["abc_000010_000020.mp4"], ["abc_000030_000040"]).of
    assert match(["v_abc_000010_000020.mp4"], ["abc_000010_000020"]).of


def test_the_same_path_leaves_the_other_to_its_stem() -> None:
    assert match(["1", "y/1.mp4"], ["1"]).of == {"1": "1"}


@pytest.mark.parametrize(
    ("found", "truth", "named"),
    [
        (["x/1.mp4", "y/1.mp4"], ["1"], r"'1' .* any of 2 videos: 'x/1.mp4', 'y/1.mp4'"),
        (["1.mp4"], ["x/1.mp4", "y/1.mp4"], "any of 2 videos: 'x/1.mp4', 'y/1.mp4'"),
        (["x/1.mp4", "x/1.avi"], ["1.mkv"], "'1.mkv'"),
    ],
)
def test_ambiguous_names_are_refused(found: list[str], truth: list[str], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        match(found, truth)


@pytest.mark.parametrize(
    ("video", "name"),
    [
        ("day/a.mp4", "day/a"),
        ("/data/day/a.mp4", "day/a"),
        ("/abs/c.mp4", "abs/c"),
        ("clip.odd", "clip"),
        ("elsewhere/video.1.mp4", "video.1"),
        ("v_xyz.mp4", "xyz_000010_000020"),
        ("evening/a.mp4", None),
        ("b.mp4", None),
    ],
)
def test_one_name_among_many(video: str, name: str | None) -> None:
    names = Names(["day/a", "night/a", "abs/c", "clip", "video.1", "video.2", "xyz_000010_000020"], "")
    assert names.find(video) == name


@pytest.mark.parametrize(
    ("name", "video", "same"),
    [
        ("cam1/0001", "cam2/0001.mp4", False),
        ("cam1/v_abc", "cam2/abc.mp4", False),
        ("day/cam1/0001", "night/cam1/0001.mp4", False),
        ("cam1/0001", "0001.mp4", True),
        ("0001", "cam2/0001.mp4", True),
        ("cam1/0001", "archive/cam1/0001.mp4", True),
        ("feats/cam1/0001", "cam1/0001.mp4", True),
    ],
)
def test_folders_that_contradict_are_two_videos(name: str, video: str, same: bool) -> None:
    assert Names([name], "").find(video) == (name if same else None)
    assert match([video], [name]).of == {video: name}, "the only one on both sides"


def test_only_a_file_has_an_ending_nobody_knows() -> None:
    names = Names(["S01", "clip", "two", "two.mp4"], "")
    assert [names.find(video, file=False) for video in ("S01.E02", "clip.odd", "S01.mp4", "two.avi")] == [
        None,
        None,
        "S01",
        "two",
    ]
    assert names.find("clip.odd") == "clip"
