"""The driver with a pool in this process: batches across videos, deaths and losses at chosen moments."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from engine.fakes import FakeTask, videos

from vidact.engine import faults
from vidact.engine.driver import drive
from vidact.engine.local import BlocksLost, Call, Kind, Load, LocalPool, Worker, WorkerDied
from vidact.engine.machine import Split
from vidact.errors import RunError
from vidact.records import Outcome, Video

SPLIT = Split(decoders=2, decode_threads=1, scorers=1, score_threads=1, device="cpu")


class Counting(FakeTask):
    calls = 0

    def score(self, model: str, frames: Any) -> Any:
        Counting.calls += 1
        return super().score(model, frames)


class Faulty(LocalPool):
    """Lets answers of one method fail: ``when`` is asked with the method and how often it was called."""

    def __init__(self, load: Load, when: Callable[[str, int], Exception | None]) -> None:
        super().__init__(load)
        self.when, self.counts = when, dict.fromkeys(("hello", "load", "next", "score", "finish"), itertools.count(1))
        self.counts = {name: itertools.count(1) for name in self.counts}
        self.dead: set[int] = set()
        self.started: list[Kind] = []

    def start(self, kind: Kind) -> Worker:
        self.started.append(kind)
        return super().start(kind)

    def result(self, call: Call) -> Any:
        if id(call.worker) in self.dead:
            raise WorkerDied("it is dead")
        method = (call.arguments or ("",))[0]
        error = self.when(method, next(self.counts[method]))
        if isinstance(error, WorkerDied):
            self.dead.add(id(call.worker))
        if error is not None:
            raise error
        return super().result(call)


def run(pool: LocalPool, files: Sequence[Video], **options: Any) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for outcome in drive(pool, files, **options):
        assert outcome.video.video not in found
        found[outcome.video.video] = outcome
    return found


def rows(found: dict[str, Outcome]) -> dict[str, Any]:
    return {name: (one.status, [float(score) for score in one.details["score"]]) for name, one in found.items()}


@pytest.fixture
def files(tmp_path: Path) -> list[Video]:
    return videos(tmp_path, [f"{n:02}.rows{n % 4 + 1}.txt" for n in range(30)] + ["long.rows61.txt"])


def test_batches_are_filled_across_videos(files: list[Video]) -> None:
    Counting.calls = 0
    items = sum(int(file.video.split("rows")[1].split(".")[0]) for file in files)
    heard: list[tuple[int, float]] = []
    found = run(
        LocalPool(Load(Counting(), SPLIT, 8)), files, progress=lambda clips, seconds: heard.append((clips, seconds))
    )
    assert Counting.calls == -(-items // 8)
    assert sum(one.row["clips"] for one in found.values()) == items == sum(clips for clips, _ in heard)
    assert sum(seconds for _, seconds in heard) == pytest.approx(items)  # the fake's clips last a second each


def test_nothing_to_do_starts_nothing() -> None:
    pool = Faulty(Load(FakeTask(), SPLIT, 8), lambda method, count: None)
    gone = Video("a.mp4", "/a.mp4", None, None, ("NotFound", "there is no such file"))
    assert run(pool, []) == {} and pool.started == []
    assert run(pool, [gone])["a.mp4"].row["error"] == "NotFound" and pool.started == []


def test_a_single_video_starts_what_it_needs(tmp_path: Path) -> None:
    split = Split(4, 1, 2, 1, "cpu")
    one, long = videos(tmp_path, ["a.rows3.txt", "b.rows90.txt"])
    pool = Faulty(Load(FakeTask(chunk_rows=10), split, 8), lambda method, count: None)
    assert run(pool, [one])["a.rows3.txt"].status == "ok" and sorted(pool.started) == ["decoder", "scorer"]
    pool.started.clear()
    assert run(pool, [long])["b.rows90.txt"].status == "ok" and pool.started.count("decoder") == 4


@pytest.mark.parametrize("finisher", ["decoder", "scorer"])
def test_what_is_there_already_is_finished_without_being_read(tmp_path: Path, finisher: str) -> None:
    files = videos(tmp_path, ["a.stored.txt", "b.rows5.txt", "c.stored.txt"])
    found = run(LocalPool(Load(FakeTask(finisher=finisher), SPLIT, 8)), files)
    assert {name: (one.status, one.row["clips"], len(one.details["score"])) for name, one in found.items()} == {
        "a.stored.txt": ("ok", 0, 1),
        "b.rows5.txt": ("ok", 5, 5),
        "c.stored.txt": ("ok", 0, 1),
    }


@pytest.mark.parametrize("method", ["hello", "next", "finish", "load", "score"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("finisher", ["decoder", "scorer"])
def test_a_death_at_any_answer_loses_and_doubles_nothing(
    files: list[Video], method: str, count: int, finisher: str
) -> None:
    load = Load(FakeTask(chunk_rows=10, finisher=finisher), SPLIT, 8)
    whole = rows(run(LocalPool(load), files))
    pool = Faulty(load, lambda name, number: WorkerDied("killed") if (name, number) == (method, count) else None)
    assert rows(run(pool, files)) == whole
    died = len(pool.dead)
    assert len(pool.started) == 3 + died


@pytest.mark.parametrize("sizes", [(3, 5), (5, 3)])
def test_a_file_that_was_replaced_between_two_attempts(tmp_path: Path, sizes: tuple[int, int]) -> None:
    file, other = videos(tmp_path, ["a.txt", "b.txt"])
    Path(file.path).write_bytes(b"x" * sizes[0])

    def replaced(method: str, count: int) -> Exception | None:
        if method == "next" and count == 2:
            Path(file.path).write_bytes(b"x" * sizes[1])
            return WorkerDied("killed")
        return None

    # One row to a block and to a batch: some rows of the old file are scored before its decoder dies.
    load = Load(FakeTask(item=(2, 2000, 1000, 3)), Split(1, 1, 1, 1, "cpu"), 1)
    found = run(Faulty(load, replaced), [file, other])
    assert (found["a.txt"].status, found["a.txt"].row["clips"], found["a.txt"].row["size"]) == (
        "ok",
        sizes[1],
        sizes[1],
    )
    assert list(found["a.txt"].details["clip"]) == list(range(sizes[1]))


@pytest.mark.parametrize("rows_of_a_block", [1, 3, 8])
def test_what_a_decoder_takes_back_leaves_nothing_behind(tmp_path: Path, rows_of_a_block: int) -> None:
    words = ["{}.rows7.txt", "{}.rows7.hole.txt", "{}.rows1.txt"]
    files = videos(tmp_path, [word.format(f"a.{extra}") for word in words for extra in ("stumble", "plain")])
    found = run(LocalPool(Load(FakeTask(views=2), SPLIT, rows_of_a_block)), files)
    for word in words:
        one, other = (found[word.format(f"a.{extra}")] for extra in ("stumble", "plain"))
        assert (one.status, one.row["clips"], list(one.details["clip"])) == (
            other.status,
            other.row["clips"],
            list(other.details["clip"]),
        )
        assert max(one.details["score"]) < 258 / 300, "a row of the other decoder, which is all white"


@pytest.mark.parametrize("count", [1, 2, 5])
def test_lost_pictures_are_read_again(files: list[Video], count: int) -> None:
    load = Load(FakeTask(chunk_rows=10, views=2), SPLIT, 8)
    whole = rows(run(LocalPool(load), files))
    pool = Faulty(load, lambda name, number: BlocksLost("gone") if (name, number) == ("score", count) else None)
    assert rows(run(pool, files)) == whole
    assert pool._calls == type(pool._calls)()


def test_deaths_are_allowed_in_proportion(files: list[Video], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FREE", 2)
    pool = Faulty(Load(FakeTask(), SPLIT, 8), lambda name, number: WorkerDied("killed") if name == "next" else None)
    with pytest.raises(RunError, match=r"3 decoder processes died, with 0 videos done; the last one: killed"):
        run(pool, files)


def test_processes_that_never_come_up_end_the_run(files: list[Video]) -> None:
    pool = Faulty(Load(FakeTask(), SPLIT, 8), lambda name, number: WorkerDied("no shell") if name == "hello" else None)
    with pytest.raises(RunError, match="no worker process comes up: no shell"):
        run(pool, files)


def test_a_video_that_kills_alone_twice_has_failed(tmp_path: Path) -> None:
    files = videos(tmp_path, ["a.txt", "b.txt", "killer.txt"])

    class Killer(Faulty):
        def result(self, call: Call) -> Any:
            method, arguments = call.arguments or ("", ())
            if method == "next" and arguments and any("killer" in video.video for video in arguments[0].videos):
                self.dead.add(id(call.worker))
            return super().result(call)

    pool = Killer(Load(FakeTask(), Split(1, 1, 1, 1, "cpu"), 8), lambda name, number: None)
    found = run(pool, files)
    killer = found["killer.txt"].row
    assert (killer["status"], killer["error"], killer["attempts"]) == ("failed", "DecoderDied", 2)
    assert killer["error_message"] == "its decoder died (it is dead), twice, with nothing else in it"
    assert found["a.txt"].status == found["b.txt"].status == "ok"
    assert len(pool.dead) <= 3


def test_progress_counts_whole_clips(tmp_path: Path) -> None:
    heard: list[tuple[int, float]] = []
    pool = LocalPool(Load(FakeTask(views=3), SPLIT, 8))
    run(pool, videos(tmp_path, ["a.rows40.txt"]), progress=lambda clips, seconds: heard.append((clips, seconds)))
    assert sum(clips for clips, _ in heard) == 40 and sum(seconds for _, seconds in heard) == pytest.approx(40)


def test_what_is_waited_for_is_told_in_its_order(tmp_path: Path) -> None:
    heard: list[str] = []
    files = videos(tmp_path, ["a.rows4.txt"])
    pool = LocalPool(Load(FakeTask(), SPLIT, 8))
    run(pool, files, stage=heard.append, progress=lambda clips, seconds: heard.append("clips"))
    assert heard[:3] == ["loading the model", "reading the first video", "clips"]


def test_stop_drops_what_is_not_begun(tmp_path: Path) -> None:
    files = videos(tmp_path, [f"{n:03}.rows3.txt" for n in range(400)])
    done: list[Outcome] = []
    for outcome in drive(LocalPool(Load(FakeTask(), SPLIT, 8)), files, stop=lambda: len(done) > 3):
        done.append(outcome)
    assert 3 < len(done) < len(files) and {one.status for one in done} == {"ok"}


def test_a_row_has_every_column_of_the_table(files: list[Video]) -> None:
    from vidact.store.schemas import VIDEOS

    (outcome,) = run(LocalPool(Load(FakeTask(), SPLIT, 8)), files[:1], attempts={files[0].video: 2}).values()
    assert list(outcome.row) == VIDEOS.names
    assert outcome.row["attempts"] == 3 and outcome.row["seconds_decode"] >= 0
