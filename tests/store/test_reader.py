"""Reading a run folder: only rows that count, whatever a writer does meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from store.made import SETTINGS, check_rows, outcome

from vidact.errors import RunError
from vidact.store import reader as reading
from vidact.store import rundir
from vidact.store.manifest import inspect
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir

FORMATS = ("parquet", "jsonl")


@pytest.fixture(params=FORMATS)
def out(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three parts: a b | c (failed) d | e."""
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 2)
    monkeypatch.setattr(rundir, "PART_VIDEOS", 1)
    run = RunDir.open(str(tmp_path / "out"), replace(SETTINGS, format=request.param))
    for name in "abcde":
        run.add(outcome(name, status="failed" if name == "c" else "ok"))
    run.close({})
    return str(tmp_path / "out")


def test_all_rows(out: str) -> None:
    reader = Reader(out)
    assert reader.videos().column("video").to_pylist() == list("abcde")
    check_rows(reader.detail().to_pylist(), dict.fromkeys("abde", 1))
    assert reader.settings["model"] == "tiny.test"
    assert [part.number for part in reader.parts()] == [1, 2, 3]


def test_some_columns(out: str) -> None:
    reader = Reader(out)
    assert reader.videos(["status"]).to_pydict() == {"status": ["ok", "ok", "failed", "ok", "ok"]}
    assert reader.detail(columns=["rank", "label"]).column_names == ["rank", "label"]


def test_some_videos_read_only_their_parts(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    real = reading.read_part

    def watched(path: str, *args: object) -> object:
        read.append(os.path.relpath(path, out).split(".")[0])
        return real(path, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(reading, "read_part", watched)
    reader = Reader(out)
    (part,) = reader.parts(videos={"d", "nobody"})
    assert part.videos.column("video").to_pylist() == ["d"]
    check_rows(part.detail.to_pylist(), {"d": 1})
    assert [path for path in read if path.startswith("predictions")] == ["predictions/part-000002"]
    assert not list(reader.parts(videos={"nobody"}))


@pytest.mark.parametrize("form", FORMATS)
def test_no_parts(tmp_path: Path, form: str) -> None:
    RunDir.open(str(tmp_path), replace(SETTINGS, format=form)).release()
    for folder in ("videos", "predictions"):
        os.rmdir(tmp_path / folder)
    reader = Reader(str(tmp_path))
    assert reader.videos().num_rows == 0 and reader.videos(["status"]).column_names == ["status"]
    assert reader.detail().num_rows == 0 and reader.committed() == {}
    assert reader.detail(columns=["label"]).column_names == ["label"]


def test_no_run(tmp_path: Path) -> None:
    for name in (".", "missing"):
        with pytest.raises(RunError, match="no run in"):
            Reader(str(tmp_path / name))
        assert inspect(str(tmp_path / name)) is None
    (tmp_path / "run.json").write_text(json.dumps({"vidact": "0.1.0"}))
    with pytest.raises(RunError, match="not written by vidact"):
        Reader(str(tmp_path))


def test_rows_whose_video_is_not_listed_do_not_count(out: str) -> None:
    reader = Reader(out)
    path = reader.folder.path("videos", 1)
    videos, _ = reading.read_part(path, reading.VIDEOS)
    rundir.write_part(path, videos.slice(1, 1), {})
    check_rows(reader.detail().to_pylist(), {"b": 1, "d": 1, "e": 1})
    assert "a" not in reader.detail(columns=["video"]).column("video").to_pylist()


def test_a_lost_detail_part_is_no_empty_result(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PAUSE", 0)
    reader = Reader(out)
    os.unlink(reader.folder.path("predictions", 2))
    with pytest.raises(RunError, match=r"predictions/part-000002.*missing"):
        reader.detail()


def test_a_part_that_goes_between_listing_and_reading(out: str, monkeypatch: pytest.MonkeyPatch) -> None:
    real = reading.part_numbers
    calls = [0]

    def late(folder: str, form: str) -> list[int]:
        numbers = real(folder, form)
        calls[0] += 1
        if calls[0] == 1:
            with_lock = RunDir.open(out, SETTINGS_OF[form])
            with_lock.withdraw(["e"])
            with_lock.release()
        return numbers

    monkeypatch.setattr(reading, "part_numbers", late)
    assert Reader(out).videos().column("video").to_pylist() == list("abcd")
    calls[0] = 1
    check_rows(Reader(out).detail().to_pylist(), dict.fromkeys("abd", 1))


SETTINGS_OF = {form: replace(SETTINGS, format=form) for form in FORMATS}

CHURN = """
import random, sys
from dataclasses import replace
from store.made import SETTINGS, outcome
from vidact.store import rundir
from vidact.store.rundir import RunDir
rundir.COMMIT_VIDEOS, rundir.PART_VIDEOS = 4, 6
run = RunDir.open(sys.argv[1], replace(SETTINGS, format=sys.argv[2]))
chance = random.Random(1)
names = [f"v{number}" for number in range(20)]
print("held", flush=True)
attempt = 1
while True:
    attempt += 1
    some = chance.sample(names, 7)
    run.withdraw(some)
    for name in some:
        run.add(outcome(name, attempt=attempt, clips=40))
    run.commit()
"""


@pytest.mark.parametrize("form", FORMATS)
def test_reading_while_a_run_withdraws_and_commits(tmp_path: Path, form: str) -> None:
    paths = os.pathsep.join([str(Path(rundir.__file__).parents[2]), str(Path(__file__).parents[1])])
    command = [sys.executable, "-c", CHURN, str(tmp_path), form]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == b"held\n"
        seen: set[int] = set()
        try:
            end = time.monotonic() + 60
            rounds = 0
            while rounds < 15 or (len(seen) < 5 and time.monotonic() < end):
                rounds += 1
                reader = Reader(str(tmp_path))
                names = []
                for part in reader.parts():
                    attempts = part.videos.select(["video", "attempts"]).to_pydict()
                    expected = dict(zip(attempts["video"], attempts["attempts"], strict=True))
                    check_rows(part.detail.to_pylist(), expected, clips=40)
                    names += attempts["video"]
                    seen.update(expected.values())
                assert len(names) == len(set(names)), "a video that moved to a later part came twice"
                listed = reader.videos(["video"]).column("video").to_pylist()
                assert len(listed) == len(set(listed))
        finally:
            writer.kill()
    assert len(seen) >= 5, "the writer did nothing while we read"
