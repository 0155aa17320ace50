"""The run folder: begin, resume, withdraw, commit, and what a disk that refuses costs."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from store.made import SETTINGS, files, fill, outcome, whole

from vidact.errors import RunError
from vidact.records import Outcome, RunSettings, Video
from vidact.store import rundir
from vidact.store.manifest import load_run
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir

FORMATS = ("parquet", "jsonl")


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_and_its_files(tmp_path: Path, form: str) -> None:
    out = tmp_path / "deep" / "out"
    fill(out, outcome("b.mp4"), outcome("a.mp4"), settings=replace(SETTINGS, format=form))
    part = f"part-000001.{form}"
    assert files(out) == {".lock", "run.json", "summary.json", f"videos/{part}", f"predictions/{part}"}
    whole(out, {"a.mp4": 1, "b.mp4": 1})
    rows = Reader(str(out)).detail().to_pylist()
    assert [row["video"] for row in rows] == ["a.mp4"] * 8 + ["b.mp4"] * 8
    assert [row["clip"] for row in rows[:8]] == [0, 0, 1, 1, 2, 2, None, None]
    assert [row["rank"] for row in rows[:8]] == [1, 2] * 4


def test_segments_have_their_own_table(tmp_path: Path) -> None:
    columns = {"start": [5.0, 1.0], "end": [6.0, 2.0], "label_id": [0, 1], "label": ["x", "y"], "score": [0.9, 0.8]}
    one = outcome("a.mp4")
    fill(tmp_path, Outcome(one.video, one.row, columns), settings=replace(SETTINGS, command="localize"))
    assert [row["start"] for row in Reader(str(tmp_path)).detail().to_pylist()] == [1.0, 5.0]
    assert (tmp_path / "segments" / "part-000001.parquet").exists()
    counts = json.loads((tmp_path / "summary.json").read_text())["run"]
    assert counts["labels"] == [{"label": "x", "segments": 1}, {"label": "y", "segments": 1}]


@pytest.mark.parametrize("form", FORMATS)
def test_resume_knows_what_is_done(tmp_path: Path, form: str) -> None:
    settings = replace(SETTINGS, format=form)
    fill(tmp_path, outcome("a.mp4", attempt=2), outcome("b.mp4", status="failed"), settings=settings)
    run = RunDir.open(str(tmp_path), settings)
    done = run.committed()
    assert set(done) == {"a.mp4", "b.mp4"}
    assert done["a.mp4"][:-1] == (1002, 10**18 + 2, "ok", None, 2)
    assert (done["b.mp4"].status, done["b.mp4"].error) == ("failed", "NoVideoStream")
    assert done["a.mp4"].unchanged(outcome("a.mp4", attempt=2).video)
    assert not done["a.mp4"].unchanged(outcome("a.mp4", attempt=3).video)
    run.release()


def test_a_file_dated_beyond_int64_is_not_changed_for_ever(tmp_path: Path) -> None:
    video = Video("a.mp4", "/videos/a.mp4", 7, 2**64)
    fill(tmp_path, Outcome(video, {"status": "ok", "size": 7, "mtime_ns": 2**64}, {}))
    run = RunDir.open(str(tmp_path), SETTINGS)
    assert run.committed()["a.mp4"].unchanged(video)
    run.release()


def test_a_missing_file_stays_missing(tmp_path: Path) -> None:
    video = Video("a.mp4", "/videos/a.mp4", None, None)
    row = {"status": "failed", "error": "NotFound", "size": None, "mtime_ns": None}
    fill(tmp_path, Outcome(video, row, {}))
    run = RunDir.open(str(tmp_path), SETTINGS)
    assert run.committed()["a.mp4"].unchanged(video)
    assert not run.committed()["a.mp4"].unchanged(Video("a.mp4", "/videos/a.mp4", 7, 8))
    run.release()


def test_forty_thousand_videos(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    one = outcome("x")
    names = [f"folder/{number:05d} ä.mp4" for number in range(40_000)]
    for number, name in enumerate(names):
        video = Video(name, name, number, number * 10)
        status = "failed" if number % 7 == 0 else "ok"
        run.add(Outcome(video, {**one.row, "size": number, "mtime_ns": number * 10, "status": status}, {}))
    run.close({})
    run = RunDir.open(str(tmp_path), SETTINGS)
    done = run.committed()
    assert len(done) == 40_000
    assert all(done[name].unchanged(Video(name, name, number, number * 10)) for number, name in enumerate(names))
    assert [name for name in names if done[name].status == "failed"] == names[::7]
    assert len(os.listdir(tmp_path / "videos")) <= 40_000 / rundir.PART_VIDEOS
    gone = names[100:39_000:1000]
    run.withdraw(gone)
    run.release()
    assert set(names) - set(Reader(str(tmp_path)).committed()) == set(gone)


def test_commit_by_count_time_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(rundir.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 3)
    run = RunDir.open(str(tmp_path), SETTINGS)
    for name in "ab":
        run.add(outcome(name))
    assert not Reader(str(tmp_path)).committed()
    run.add(outcome("c"))
    assert set(Reader(str(tmp_path)).committed()) == set("abc") == set(run.committed())
    run.add(outcome("d"))
    clock[0] = 29.0
    run.tick()
    assert "d" not in Reader(str(tmp_path)).committed()
    clock[0] = 30.0
    run.tick()
    assert "d" in Reader(str(tmp_path)).committed()
    monkeypatch.setattr(rundir, "COMMIT_BYTES", 1000)
    run.add(outcome("e", clips=50))
    assert "e" in Reader(str(tmp_path)).committed()
    run.release()


@pytest.mark.parametrize("form", FORMATS)
def test_many_nights_make_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(rundir, "PART_VIDEOS", 8)
    settings = replace(SETTINGS, format=form)
    for night in range(12):
        fill(tmp_path, outcome(f"{night}-a"), outcome(f"{night}-b"), settings=settings)
    assert sorted(os.listdir(tmp_path / "videos")) == [f"part-{n:06d}.{form}" for n in (1, 2, 3)]
    assert sorted(os.listdir(tmp_path / "predictions")) == sorted(os.listdir(tmp_path / "videos"))
    whole(tmp_path, {f"{night}-{letter}": 1 for night in range(12) for letter in "ab"})


def test_a_part_full_of_rows_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "PART_ROWS", 8)
    fill(tmp_path, outcome("a"))
    fill(tmp_path, outcome("b"))
    assert len(os.listdir(tmp_path / "videos")) == 2
    whole(tmp_path, {"a": 1, "b": 1})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_withdraw_and_do_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, size: int) -> None:
    monkeypatch.setattr(rundir, "PART_VIDEOS", size)
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 1)
    settings = replace(SETTINGS, format=form)
    fill(tmp_path, *(outcome(name) for name in "abcde"), settings=settings)
    run = RunDir.open(str(tmp_path), settings)
    run.withdraw(["a", "c", "e", "never seen"])
    whole(tmp_path, {"b": 1, "d": 1})
    assert set(run.committed()) == {"b", "d"}
    run.add(outcome("c", attempt=2))
    run.close({})
    whole(tmp_path, {"b": 1, "c": 2, "d": 1})


def test_withdraw_reaches_what_is_not_committed_yet(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    run.add(outcome("a"))
    run.withdraw(["a"])
    run.close({})
    assert not Reader(str(tmp_path)).committed()


def test_one_row_a_video_whatever_the_caller_forgets(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"), outcome("a", attempt=2))
    whole(tmp_path, {"a": 2})
    fill(tmp_path, outcome("a", attempt=3))
    whole(tmp_path, {"a": 3})


def test_rows_that_do_not_fit_cost_no_other_video(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    bad = outcome("bad")
    run.add(outcome("a"))
    run.add(Outcome(bad.video, bad.row, {**bad.details, "colour": ["red"] * 8}))
    with pytest.raises(ValueError, match="colour"):
        run.close({})
    whole(tmp_path, {"a": 1})


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    run.add(outcome("a"))
    run.commit()
    run.add(outcome("b"))
    real = os.replace

    def full(source: str, target: str) -> None:
        if "videos" in target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(RunError, match="No space left"):
            run.commit()
        whole(tmp_path, {"a": 1})
        with pytest.raises(RunError, match="No space left"):
            run.close({})
    whole(tmp_path, {"a": 1})
    fill(tmp_path, outcome("b", attempt=2))
    whole(tmp_path, {"a": 1, "b": 2})


@pytest.mark.parametrize("form", FORMATS)
def test_a_small_disk(small_disk: Path, form: str) -> None:
    settings = replace(SETTINGS, format=form)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (100 << 10))
    run = RunDir.open(str(small_disk / "out"), settings)
    committed: dict[str, int] = {}
    with pytest.raises(RunError, match="No space left") as caught:
        for number in range(1000):
            run.add(outcome(f"{number:04d}-{os.urandom(2000).hex()}"))
            run.commit()
            committed = dict.fromkeys(run.committed(), 1)
    assert "free some space" in caught.value.hint
    run.release()
    assert committed
    whole(small_disk / "out", committed)
    ballast.unlink()
    fill(small_disk / "out", outcome("last"), settings=settings)
    whole(small_disk / "out", {**committed, "last": 1})


def test_a_commit_that_failed_may_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace
    for failing in range(1, 5):
        out = tmp_path / str(failing)
        fill(out, outcome("a"), outcome("b"))
        run = RunDir.open(str(out), SETTINGS)
        run.add(outcome("b", attempt=2))  # withdrawn from its part: two files; then committed: two more
        calls = [0]

        def interrupted(source: str, target: str, calls: list[int] = calls, failing: int = failing) -> None:
            calls[0] += 1
            if calls[0] == failing:
                raise KeyboardInterrupt
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.commit()
        run.close({})
        whole(out, {"a": 1, "b": 2})


def test_a_withdrawal_that_was_interrupted_is_not_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    for name in "ab":
        run.add(outcome(name))
        run.commit()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    real = rundir.write_part
    writes = iter([real, interrupted])
    with monkeypatch.context() as patch:
        patch.setattr(rundir, "write_part", lambda *args: next(writes)(*args))
        with pytest.raises(KeyboardInterrupt):
            run.withdraw(["b"])
    run.add(outcome("c"))
    run.close({})
    whole(tmp_path, {"a": 1, "c": 1})


def test_metadata_of_parts(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    for table in ("videos", "predictions"):
        found = pq.read_schema(tmp_path / table / "part-000001.parquet").metadata
        wanted = {b"schema": b"1", b"model": b"tiny.test", b"weights_hash": b"0123", b"protocol": b"clips"}
        assert wanted.items() <= found.items()


def test_a_run_without_a_row_takes_other_settings(tmp_path: Path) -> None:
    """A first try that failed before its first commit (wrong weights, say) does not pin the folder."""
    out = str(tmp_path / "out")
    RunDir.open(out, RunSettings(model="a", root="/r")).release()
    run = RunDir.open(out, RunSettings(model="b", root="/r"))
    run.close({"exit": "done"})
    kept = load_run(out)
    assert kept is not None and kept["frozen"]["model"] == "b"


@pytest.mark.parametrize("text", ["[" * 100_000, '{"vidact": "0", "schema": 1, "frozen": {"command": "x/../.."}}'])
def test_a_tampered_run_json_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError):
        RunDir.open(str(tmp_path), RunSettings())
