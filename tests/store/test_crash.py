"""kill -9 between any two steps: at most the work in flight is lost, nothing is doubled, nothing is half.

A child process does the work and kills itself just before its k-th step on the disk, for every k; the parent then looks
at the folder as it stands, opens it again and finishes the work. Steps are all calls that change a name or the lock
file: what is written to a temporary file, and when it is flushed, makes no difference to a killed process. That it is
flushed before it gets its name, for the sake of a power cut, is a test of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from store.made import SETTINGS, check_rows, files, outcome, rows_of

from vidact.store import rundir
from vidact.store.parts import read_part
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir
from vidact.store.schemas import PREDICTIONS, VIDEOS

FORMATS = ("parquet", "jsonl")
STEPS = ("replace", "unlink", "mkdir", "ftruncate", "pwrite")


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    if "flushed" not in request.node.name:
        monkeypatch.setattr(os, "fsync", lambda handle: None)


def killed_before(step: int, work: Callable[[], None]) -> bool:
    """Do ``work`` in a child that is killed before its ``step``-th step; False when it ended before that step."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            _arm(step)
            work()
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the work failed by itself"
    return False


def _arm(step: int) -> None:
    done = [0]

    def armed(real: Callable[..., object]) -> Callable[..., object]:
        def call(*args: object) -> object:
            done[0] += 1
            if done[0] == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args)

        return call

    for name in STEPS:
        setattr(os, name, armed(getattr(os, name)))


def each_step(tmp_path: Path, prepare: Callable[[Path], None], work: Callable[[Path], None]) -> list[Path]:
    """One folder for each step ``work`` has, prepared and then left by a killed ``work``."""
    folders: list[Path] = []
    while True:
        folder = tmp_path / str(len(folders) + 1)
        prepare(folder)
        if not killed_before(len(folders) + 1, lambda folder=folder: work(folder)):  # type: ignore[misc]
            assert len(folders) >= 5, "the steps are not counted any more"
            return folders
        folders.append(folder)


def raw(out: Path) -> tuple[list[str], list[str]]:
    """The videos of the plain files and those of all detail rows, dead ones too. Every file is readable."""
    videos, rows = [], []
    for path in sorted((out / "videos").glob("part-*")):
        videos += read_part(str(path), VIDEOS)[0].column("video").to_pylist()
    for path in sorted((out / "predictions").glob("part-*")):
        rows += read_part(str(path), PREDICTIONS)[0].column("video").to_pylist()
    return videos, rows


def check_folder(out: Path, form: str, allowed: list[dict[str, int]]) -> dict[str, int]:
    """What a killed run left is one of the states ``allowed``; nothing dead or temporary survives the next start."""
    reader = Reader(str(out))
    state = dict(zip(*reader.videos(["video", "attempts"]).to_pydict().values(), strict=True))
    assert state in allowed
    check_rows(reader.detail().to_pylist(), state)
    videos, _ = raw(out)
    assert len(videos) == len(set(videos)), "a plain reader never sees a video twice"

    run = RunDir.open(str(out), replace(SETTINGS, format=form))
    assert {video: done.attempts for video, done in run.committed().items()} == state
    run.release()
    videos, rows = raw(out)
    assert sorted(videos) == sorted(state)
    assert Counter(rows) == dict.fromkeys(state, rows_of()), "there are dead rows"
    assert not [name for name in files(out) if name.endswith(".tmp")]
    assert sorted(os.listdir(out / "videos")) == sorted(os.listdir(out / "predictions"))
    return state


WAYS = pytest.mark.parametrize(("form", "part_videos"), [("parquet", 1), ("parquet", 100), ("jsonl", 100)])
"""Each commit a part of its own, or all in a growing one."""


@WAYS
def test_killed_while_committing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, part_videos: int) -> None:
    monkeypatch.setattr(rundir, "PART_VIDEOS", part_videos)
    settings = replace(SETTINGS, format=form)

    def prepare(out: Path) -> None:
        run = RunDir.open(str(out), settings)
        run.add(outcome("a"))
        run.add(outcome("b"))
        run.close({})

    def work(out: Path) -> None:
        run = RunDir.open(str(out), settings)
        run.add(outcome("c"))
        run.commit()
        run.add(outcome("d"))
        run.close({})

    states = []
    for out in each_step(tmp_path, prepare, work):
        one, two, three = {"a": 1, "b": 1}, {"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 1, "d": 1}
        state = check_folder(out, form, [one, two, three])
        assert not states or len(state) >= len(states[-1]), "what was committed a step earlier is lost a step later"
        states.append(state)
        run = RunDir.open(str(out), settings)
        for name in {"a", "b", "c", "d"} - set(run.committed()):
            run.add(outcome(name))
        run.close({})
        check_folder(out, form, [three])
        assert json.loads((out / "summary.json").read_text())["run"]["videos"]["total"] == 4
    assert {len(state) for state in states} == {2, 3, 4}


@WAYS
def test_killed_while_withdrawing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, part_videos: int) -> None:
    monkeypatch.setattr(rundir, "PART_VIDEOS", part_videos)
    settings = replace(SETTINGS, format=form)
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 2)

    def prepare(out: Path) -> None:
        run = RunDir.open(str(out), settings)
        for name in "abcde":
            run.add(outcome(name))
        run.close({})

    def work(out: Path) -> None:
        run = RunDir.open(str(out), settings)
        run.withdraw(["a", "c", "d"])  # with small parts: one of two, and both of two
        run.add(outcome("a", attempt=2))
        run.add(outcome("c", attempt=2))
        run.close({})

    states = []
    for out in each_step(tmp_path, prepare, work):
        videos = Reader(str(out)).videos(["video", "attempts"]).to_pydict()
        state = dict(zip(videos["video"], videos["attempts"], strict=True))
        assert {"b": 1, "e": 1}.items() <= state.items(), "a video that was not withdrawn is lost"
        states.append(check_folder(out, form, [state]))
        run = RunDir.open(str(out), settings)
        for name in "acd":
            if run.committed().get(name) is None or run.committed()[name].attempts == 1:
                run.withdraw([name])
                run.add(outcome(name, attempt=2))
        run.close({})
        check_folder(out, form, [{"a": 2, "b": 1, "c": 2, "d": 2, "e": 1}])
    assert states[0] == dict.fromkeys("abcde", 1)
    assert {"b": 1, "e": 1} in states
    assert states[-1] == {"a": 2, "b": 1, "c": 2, "e": 1}


def test_killed_while_beginning(tmp_path: Path) -> None:
    def work(out: Path) -> None:
        run = RunDir.open(str(out), SETTINGS)
        run.add(outcome("a"))
        run.close({})

    for out in each_step(tmp_path, lambda out: None, work):
        run = RunDir.open(str(out), SETTINGS)
        assert set(run.committed()) <= {"a"}
        if not run.committed():
            run.add(outcome("a"))
        run.close({})
        check_folder(out, "parquet", [{"a": 1}])


def test_killed_while_overwriting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 1)
    monkeypatch.setattr(rundir, "PART_VIDEOS", 1)
    other = replace(SETTINGS, top_k=1)

    def prepare(out: Path) -> None:
        run = RunDir.open(str(out), SETTINGS)
        for name in "abc":
            run.add(outcome(name))
        run.close({})

    def work(out: Path) -> None:
        run = RunDir.open(str(out), other, overwrite=True)
        run.add(outcome("a", attempt=2))
        run.close({})

    seen = set()
    for out in each_step(tmp_path, prepare, work):
        begun_again = Reader(str(out)).settings["top_k"] == 1
        state = {video: done.attempts for video, done in Reader(str(out)).committed().items()}
        seen.add((begun_again, len(state)))
        if begun_again:
            assert state in ({}, {"a": 2}), "rows of the old settings in a run with new ones"
        else:
            assert state.items() <= {"a": 1, "b": 1, "c": 1}.items()
        RunDir.open(str(out), other if begun_again else SETTINGS).close({})
        check_rows(Reader(str(out)).detail().to_pylist(), state)
        total = json.loads((out / "summary.json").read_text())["run"]["videos"]["total"]
        assert total == len(state)
    assert seen == {(False, 3), (False, 2), (False, 1), (False, 0), (True, 0), (True, 1)}


@pytest.mark.parametrize("form", FORMATS)
def test_killed_while_repairing(tmp_path: Path, form: str) -> None:
    settings = replace(SETTINGS, format=form)

    def prepare(out: Path) -> None:
        run = RunDir.open(str(out), settings)
        run.add(outcome("a"))
        run.add(outcome("b"))
        run.close({})
        (out / ".lock").write_text('{"pid": 1}')  # its last holder was killed …
        detail = out / "predictions" / f"part-000001.{form}"
        table = read_part(str(detail), PREDICTIONS)[0]
        dead = table.slice(0, 8).set_column(0, PREDICTIONS.field("video"), pa.array(["dead"] * 8, pa.string()))
        rundir.write_part(str(detail), pa.concat_tables([table, dead]), {})  # … before the videos part was written
        rundir.write_part(str(detail).replace("000001", "000002"), dead, {})
        (out / "videos" / f".part-000002.{form}.0123456789abcdef.tmp").write_bytes(b"PAR1")

    def work(out: Path) -> None:
        RunDir.open(str(out), settings).close({})

    for out in each_step(tmp_path, prepare, work):
        check_folder(out, form, [{"a": 1, "b": 1}])


def test_a_folder_copied_without_its_lock_is_repaired(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    run.add(outcome("a"))
    run.close({})
    detail = str(tmp_path / "predictions" / "part-000001.parquet")
    table = read_part(detail, PREDICTIONS)[0]
    dead = table.set_column(0, PREDICTIONS.field("video"), pa.array(["dead"] * 8, pa.string()))
    rundir.write_part(detail, pa.concat_tables([table, dead]), {})
    (tmp_path / ".lock").unlink()
    check_folder(tmp_path, "parquet", [{"a": 1}])


def test_a_file_is_flushed_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that makes a rename safe from a power cut: file flushed, renamed, folder flushed; details first."""
    log: list[str] = []
    fsync, rename = os.fsync, os.replace

    def flushing(handle: int) -> None:
        log.append("flush " + os.path.basename(os.readlink(f"/proc/self/fd/{handle}")).split(".")[-1])
        fsync(handle)

    def renaming(source: str, target: str) -> None:
        log.append("name " + os.path.relpath(target, tmp_path))
        rename(source, target)

    run = RunDir.open(str(tmp_path), SETTINGS)
    run.add(outcome("a"))
    monkeypatch.setattr(os, "fsync", flushing)
    monkeypatch.setattr(os, "replace", renaming)
    run.commit()
    run.release()
    assert log == [
        "flush tmp", "name predictions/part-000001.parquet", "flush predictions",
        "flush tmp", "name videos/part-000001.parquet", "flush videos",
    ]  # fmt: skip


WRITE = """
import random, sys
from dataclasses import replace
from store.made import SETTINGS, outcome
from vidact.store import rundir
from vidact.store.rundir import RunDir
out, form, seed = sys.argv[1], sys.argv[2], int(sys.argv[3])
rundir.COMMIT_VIDEOS, rundir.PART_VIDEOS = 3, 7
chance = random.Random(seed)
run = RunDir.open(out, replace(SETTINGS, format=form))
print("held", flush=True)
while True:
    committed = run.committed()
    known = sorted(committed)
    if known and chance.random() < 0.3:
        name = chance.choice(known)
        attempt = committed[name].attempts + 1
        print("withdrawing", name, attempt, flush=True)
        run.withdraw([name])
    else:
        name, attempt = f"{len(known)}-{chance.random()}", 1
    run.add(outcome(name, attempt=attempt))
    run.commit()
    print("done", name, attempt, flush=True)
"""


@pytest.mark.parametrize("form", FORMATS)
def test_killed_at_random_moments(tmp_path: Path, form: str) -> None:
    """What a run said was committed is there after kill -9, except the one video it was doing again."""
    chance = random.Random(form)
    known: dict[str, int] = {}
    paths = os.pathsep.join([str(Path(rundir.__file__).parents[2]), str(Path(__file__).parents[1])])
    for seed in range(4):
        command = [sys.executable, "-c", WRITE, str(tmp_path / "out"), form, str(seed)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}) as writer:
            assert writer.stdout is not None and writer.stdout.readline() == b"held\n"
            lines = [writer.stdout.readline() for _ in range(chance.randint(3, 15))]
            time.sleep(chance.uniform(0, 0.03))
            writer.kill()
            lines += writer.stdout.readlines()
        in_flight = None
        for line in lines:
            word, name, attempt = line.decode().split()
            in_flight = (name, int(attempt)) if word == "withdrawing" else None
            if word == "done":
                known[name] = int(attempt)
        state = {video: done.attempts for video, done in Reader(str(tmp_path / "out")).committed().items()}
        if in_flight is not None:
            again, attempt = in_flight
            assert state.get(again) in (attempt - 1, attempt, None)
            known.pop(again)
            known |= {again: state[again]} if again in state else {}
        fresh = state.keys() - known.keys()  # committed, killed before it said so
        assert len(fresh) <= 1
        known |= dict.fromkeys(fresh, 1)
        check_folder(tmp_path / "out", form, [known])
    assert known
