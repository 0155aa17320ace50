"""What is left to do."""

from __future__ import annotations

from dataclasses import replace

from vidact.engine.plan import remaining
from vidact.records import Video
from vidact.store.reader import Done

A, B, C = (Video(name, f"/in/{name}", 10, 1_000) for name in ("a.mp4", "b.mp4", "c.mp4"))
OK = Done(10, 1_000, "ok", None, 1, 1)


def failed(error: str = "Undecodable", attempts: int = 1) -> Done:
    return Done(10, 1_000, "failed", error, attempts, 1)


def test_a_folder_that_grew_and_a_file_that_changed() -> None:
    todo = remaining([A, B, C], {"a.mp4": OK, "b.mp4": OK._replace(mtime_ns=999, attempts=3)})
    assert [video.video for video in todo.videos] == ["b.mp4", "c.mp4"]
    assert (todo.new, todo.changed, todo.retried, todo.done) == (1, 1, 0, 1)
    assert todo.attempts == {"b.mp4": 3} and todo.withdrawn == ["b.mp4"]


def test_failed_videos_wait_for_the_flag_unless_they_were_still_changing() -> None:
    committed = {"a.mp4": failed(), "b.mp4": failed("StillChanging", 2)}
    todo = remaining([A, B], committed)
    assert (todo.videos, todo.failed, todo.retried, todo.attempts) == ([B], 1, 1, {"b.mp4": 2})
    assert remaining([A, B], committed, retry_failed=True).videos == [A, B]


def test_a_failed_file_that_was_replaced_is_tried_without_the_flag() -> None:
    assert remaining([replace(A, size=11)], {"a.mp4": failed()}).changed == 1


def test_a_file_that_is_gone_keeps_its_rows() -> None:
    gone = Video("a.mp4", "/in/a.mp4", None, None, ("NotFound", "there is no such file"))
    assert remaining([gone], {"a.mp4": OK}).done == 1
    assert remaining([gone], {}).new == 1
    before = Done(None, None, "failed", "NotFound", 1, 1)
    assert remaining([gone], {"a.mp4": before}).failed == 1
    assert remaining([A], {"a.mp4": before}).changed == 1


def test_what_was_done_but_is_lost_is_done_again() -> None:
    todo = remaining([A, B], {"a.mp4": OK, "b.mp4": OK}, lost={"a.mp4"})
    assert (todo.videos, todo.changed, todo.withdrawn, todo.done) == ([A], 1, ["a.mp4"], 1)


def test_the_limit_counts_what_is_to_do_only() -> None:
    todo = remaining([A, B, C], {"a.mp4": OK}, limit=1)
    assert (todo.videos, todo.left, todo.done) == ([B], 1, 1)


def test_an_archive_is_compared_quickly() -> None:
    videos = [Video(f"{n:06}.mp4", "", 10, 1_000) for n in range(40_000)]
    assert remaining(videos, {video.video: OK for video in videos}).done == 40_000
