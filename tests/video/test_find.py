"""Finding and naming videos: nothing is opened, nothing is lost, every name can be undone."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from video.cases import unescape

from vidact.errors import UsageError
from vidact.records import Video
from vidact.video.find import escape, find


def touch(path: Path, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def names(videos: list[Video]) -> list[str]:
    return [video.video for video in videos]


@given(st.binary(min_size=1).map(lambda raw: raw.replace(b"\0", b"0")))
def test_every_name_is_escaped_reversibly(raw: bytes) -> None:
    name = escape(raw)
    name.encode("utf-8")
    assert unescape(name) == raw
    assert escape(os.fsdecode(raw)) == name


@given(st.binary(min_size=1), st.binary(min_size=1))
def test_different_paths_have_different_names(one: bytes, other: bytes) -> None:
    assert (escape(one) == escape(other)) == (one == other)


def test_escapes_are_as_documented() -> None:
    assert escape("a b/é😀[red]\n'\".mp4") == "a b/é😀[red]\n'\".mp4"
    assert escape(b"back\\slash\xff.mp4") == r"back\\slash\xff.mp4"
    assert escape(b"\\xff") == r"\\xff" != escape(b"\xff")


def test_a_directory_is_searched_for_suffixes(tmp_path: Path) -> None:
    touch(tmp_path / "b.MP4")
    touch(tmp_path / "a" / "deep" / "x.webm")
    touch(tmp_path / "a" / "notes.txt")
    touch(tmp_path / "a" / "still.gif")
    touch(tmp_path / "x.mp4" / "inside.mkv")  # a directory with a video's name is a directory
    found = find([str(tmp_path)])
    assert found.root == str(tmp_path)
    assert names(found.videos) == ["a/deep/x.webm", "b.MP4", "x.mp4/inside.mkv"]
    assert found.skipped == []
    video = found.videos[1]
    assert (video.path, video.size, video.error) == (str(tmp_path / "b.MP4"), 1, None)
    assert video.mtime_ns == (tmp_path / "b.MP4").stat().st_mtime_ns


def test_links_to_files_are_followed_and_links_to_directories_are_not(tmp_path: Path) -> None:
    there = touch(tmp_path / "elsewhere" / "real.mp4", b"four")
    here = tmp_path / "here"
    here.mkdir()
    (here / "link.mp4").symlink_to(there)
    (here / "folder.mp4").symlink_to(there.parent)
    (here / "loop").symlink_to(here)
    (here / "dangling.mp4").symlink_to(tmp_path / "gone")
    (here / "circle.mp4").symlink_to("circle.mp4")
    found = find([str(here)])
    assert [(video.video, video.size) for video in found.videos] == [("link.mp4", 4)]
    assert sorted(os.path.basename(path) for path, _ in found.skipped) == ["circle.mp4", "dangling.mp4"]
    # Named explicitly, a link to a directory is what the user wants searched, under the name the user gave it.
    (tmp_path / "entry").symlink_to(there.parent)
    assert find([str(tmp_path / "entry")]).root == str(tmp_path / "entry")
    assert names(find([str(tmp_path / "entry")]).videos) == ["real.mp4"]


def test_things_that_must_not_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "fifo.mp4")
    monkeypatch.chdir(tmp_path)  # socket paths are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
        touch(tmp_path / "good.mp4")
        searched = find(["."])
        assert names(searched.videos) == ["good.mp4"]
        assert dict(searched.skipped)[str(tmp_path / "fifo.mp4")] == "it is a FIFO"
        named = find(["fifo.mp4", "socket.mp4", "/dev/null", "gone.mp4", "good.mp4"], listed=["."], root=str(tmp_path))
    errors = {video.video: video.error for video in named.videos}
    assert errors.pop("good.mp4") is None
    assert {name: error[0] for name, error in errors.items() if error} == {
        "fifo.mp4": "NotAFile",
        "socket.mp4": "NotAFile",
        "/dev/null": "NotAFile",
        "gone.mp4": "NotFound",
        str(tmp_path): "NotAFile",
    }


def test_the_root_is_the_directory_or_the_common_parent(tmp_path: Path) -> None:
    one, two = touch(tmp_path / "a" / "1.mp4"), touch(tmp_path / "a" / "b" / "2.mp4")
    assert find([str(one)]).root == str(tmp_path / "a")
    assert find([str(one), str(two)]).root == str(tmp_path / "a")
    assert names(find([str(one), str(two)]).videos) == ["1.mp4", "b/2.mp4"]
    assert find([], listed=[str(one), str(two)]).root == str(tmp_path / "a")
    assert find([str(tmp_path / "a" / "b"), str(one)]).root == str(tmp_path / "a")
    moved = find([str(tmp_path / "a")], root=str(tmp_path / "a" / "b"))
    assert names(moved.videos) == [str(one), "2.mp4"]


def test_inputs_that_share_no_folder_keep_their_whole_paths(tmp_path: Path) -> None:
    one = touch(tmp_path / "a" / "1.mp4")
    found = find([str(one), "/dev/null"])
    assert (found.root, names(found.videos)) == ("", sorted(["/dev/null", str(one)]))
    assert names(find([str(tmp_path)], root="").videos) == [str(one)], "a rerun with less names it the same"
    assert names(find([str(one)], root="/").videos) == [str(one)[1:]], "a run of old, or asked for"
    assert find(["/dev/null"]).root == "/dev"


def test_one_path_is_one_row_however_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "a" / "1.mp4")
    monkeypatch.chdir(tmp_path)
    found = find(["a", "./a//1.mp4", "a/../a/1.mp4"], listed=[b"a/1.mp4", str(tmp_path / "a" / "1.mp4")])
    assert names(found.videos) == ["1.mp4"]


def test_a_parent_behind_a_link_is_the_real_parent(tmp_path: Path) -> None:
    touch(tmp_path / "real" / "sub" / "x.txt")
    target = touch(tmp_path / "real" / "1.mp4")
    touch(tmp_path / "1.mp4", b"another")
    (tmp_path / "link").symlink_to(tmp_path / "real" / "sub")
    (video,) = find([f"{tmp_path}/link/../1.mp4"]).videos
    assert os.path.samefile(video.path, target)


def test_patterns_are_expanded_unless_a_file_is_called_so(tmp_path: Path) -> None:
    touch(tmp_path / "1.mp4")
    touch(tmp_path / "2.mp4")
    touch(tmp_path / "sub" / "3.mp4")
    assert names(find([f"{tmp_path}/*.mp4"]).videos) == ["1.mp4", "2.mp4"]
    assert names(find([f"{tmp_path}/**/*.mp4"]).videos) == ["1.mp4", "2.mp4", "sub/3.mp4"]
    assert names(find([f"{tmp_path}/[12].mp4"]).videos) == ["1.mp4", "2.mp4"]
    touch(tmp_path / "[12].mp4")
    assert names(find([f"{tmp_path}/[12].mp4"]).videos) == ["[12].mp4"]
    nothing = find([f"{tmp_path}/*.avi", f"{tmp_path}/1.mp4"])
    assert names(nothing.videos) == ["1.mp4"]
    assert nothing.skipped == [(f"{tmp_path}/*.avi", "the pattern matches nothing")]


@pytest.mark.parametrize("inputs", [[], [""], ["s3://bucket/a.mp4"], ["https://example.org/a.mp4"]])
def test_inputs_that_make_no_sense_are_usage_errors(inputs: list[str]) -> None:
    with pytest.raises(UsageError) as caught:
        find(inputs)
    assert caught.value.hint


@pytest.mark.parametrize("entry", ["nul\0byte.mp4", "lone\ud800surrogate.mp4", "x" * 5000])
def test_names_no_file_can_have_are_rows(entry: str) -> None:
    (video,) = find([], listed=[entry]).videos
    assert video.error is not None and video.error[0] == "NotFound"
    video.video.encode("utf-8")


def test_names_that_are_not_utf8(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9\\\n\x1b[31m.mp4"
    try:
        with open(path, "wb") as file:
            file.write(b"x")
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    (searched,) = find([str(tmp_path)]).videos
    assert searched.video == "caf\\xe9\\\\\n\x1b[31m.mp4"
    assert os.path.exists(searched.path)
    assert find([], listed=[path]).videos == [searched]


def test_an_unreadable_directory_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "open" / "1.mp4")
    touch(tmp_path / "shut" / "2.mp4")
    scan = os.scandir

    def guarded(path: str) -> object:
        if path.endswith("shut"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = find([str(tmp_path)])
    assert names(found.videos) == ["open/1.mp4"]
    assert found.skipped == [(str(tmp_path / "shut"), "the directory cannot be listed: Permission denied")]
    (row,) = find([str(tmp_path / "shut")]).videos
    assert row.error is not None and row.error[0] == "NotReadable"


def test_every_file_is_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for n in range(50):
        touch(tmp_path / f"{n}.mp4")
    looked: list[object] = []
    stat = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **options: looked.append(path) or stat(path, **options))
    assert len(find([str(tmp_path)]).videos) == 50
    assert len(looked) <= 52


def test_one_bad_entry_does_not_hide_its_neighbours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("1.mp4", "2.mp4", "3.mp4"):
        touch(tmp_path / name)
    scan = os.scandir

    class Entry:
        def __init__(self, entry: os.DirEntry[str]) -> None:
            self.name, self.path, self.is_symlink = entry.name, entry.path, entry.is_symlink

        def is_dir(self, *, follow_symlinks: bool) -> bool:
            if self.name == "2.mp4":
                raise OSError(errno.EIO, "Input/output error", self.path)
            return False

    @contextlib.contextmanager
    def scandir(path: str) -> Iterator[Iterator[Entry]]:
        with scan(path) as entries:
            yield (Entry(entry) for entry in sorted(entries, key=lambda entry: entry.name))

    monkeypatch.setattr(os, "scandir", scandir)
    found = find([str(tmp_path)])
    assert names(found.videos) == ["1.mp4", "3.mp4"]
    assert found.skipped == [(str(tmp_path / "2.mp4"), "Input/output error")]


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOENT, "NotFound"),
        (errno.EIO, "NotReadable"),
        (errno.ESTALE, "NotReadable"),
        (errno.EACCES, "NotReadable"),
    ],
)
def test_only_what_is_not_there_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: str
) -> None:
    path, stat = str(tmp_path / "1.mp4"), os.stat

    def failing(asked: str, **options: bool) -> os.stat_result:
        if asked == path:
            raise OSError(code, os.strerror(code), asked)
        return stat(asked, **options)

    monkeypatch.setattr(os, "stat", failing)
    (video,) = find([], listed=[path]).videos
    assert video.error == (kind, os.strerror(code))
