"""Runs that end early, by a signal, a limit or an error, or meet another run: what is kept, and how to go on."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Classify, Vidact
from cli.runs import outcome

from vidact.engine import run as engine
from vidact.errors import ModelError, RunError
from vidact.records import Outcome
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir


def test_out_of_time(classify: Classify, scored: list[Any]) -> None:
    done = classify("--max-runtime", "0.000001")
    assert done.code == 6
    assert "Out of time, 3 videos left" in done.err
    assert re.search(r"^Next:  .*vidact classify .* --max-runtime", done.err, re.MULTILINE)
    assert classify().code == 0
    assert classify("--max-runtime", "0.000001").code == 0, "nothing is left: that is done, not late"


def test_limit(classify: Classify, tmp_path: Path, vidact: Vidact) -> None:
    done = classify("--limit", 2)
    assert done.code == 0
    assert "2 to do, 1 left for later" in done.err
    assert "2 done, 0 failed, 1 left" in vidact("status", "vidact-out").out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_keeps_what_is_done_and_says_how_to_go_on(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    steady = engine.execute

    def execute(*arguments: Any, **named: Any) -> Iterator[Outcome]:
        for made in steady(*arguments, **named):
            yield made
            os.kill(os.getpid(), number)

    monkeypatch.setattr(engine, "execute", execute)
    before = signal.getsignal(number)
    done = classify("--overwrite")
    assert done.code == code
    assert "Stopped, 2 videos left" in done.err
    assert "--overwrite" not in done.err
    assert signal.getsignal(number) is before
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows == 1


def test_the_second_signal_does_not_wait(classify: Classify, monkeypatch: pytest.MonkeyPatch) -> None:
    def execute(*_: Any, **__: Any) -> Iterator[Outcome]:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
        yield outcome("never.mp4")

    monkeypatch.setattr(engine, "execute", execute)
    assert classify().code == 130


def test_the_second_signal_keeps_what_is_done(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = engine.execute

    def execute(*arguments: Any, **named: Any) -> Iterator[Outcome]:
        yield next(steady(*arguments, **named))
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)

    monkeypatch.setattr(engine, "execute", execute)
    done = classify()
    assert done.code == 143, "the first signal's"
    assert "Stopped at once; what is done is kept." in done.err
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows == 1
    monkeypatch.setattr(engine, "execute", steady)
    assert classify().code == 0, "and the folder is free again"


def test_a_signal_during_the_last_commit_costs_nothing(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close, heard = RunDir.close, []

    def interrupted(self: RunDir, summary: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGTERM)
        close(self, summary)

    monkeypatch.setattr(RunDir, "close", interrupted)
    before = signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
    try:
        assert classify().code == 0
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not heard, "whoever listened before would have been killed"
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows == 3


def test_what_another_run_did_meanwhile_is_not_left(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = engine.prepare

    def slowly(request: engine.Request) -> engine.Prepared:
        prepared = prepare(request)
        other = RunDir.open(request.out, prepared.settings)
        other.add(outcome(prepared.todo.videos[0]))
        other.close({"exit": "done"})
        return prepared

    monkeypatch.setattr(engine, "prepare", slowly)
    done = classify()
    assert "2 of 2 videos done" in done.out
    assert json.loads((tmp_path / "vidact-out" / "summary.json").read_text())["left"] == 0


def test_status_of_a_killed_run_over_other_videos(
    vidact: Vidact, checkpoint: Path, videos: Path, scored: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ("--root", videos, "--checkpoint", checkpoint)
    (videos / "d.mp4").write_bytes(b"")
    assert vidact("classify", videos / "a.mp4", videos / "b.mkv", *more).code == 0
    steady = engine.execute

    def execute(*arguments: Any, **named: Any) -> Iterator[Outcome]:
        yield next(steady(*arguments, **named))
        raise KeyboardInterrupt

    monkeypatch.setattr(engine, "execute", execute)
    assert vidact("classify", videos / "c.mov", videos / "d.mp4", *more).code == 130
    assert "3 done, 0 failed, 1 left" in vidact("status", "vidact-out").out


@pytest.mark.parametrize(("error", "code"), [(ModelError("weights"), 3), (RunError("cluster"), 4), (KeyError("x"), 1)])
def test_an_error_on_the_way(
    classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int
) -> None:
    steady = engine.execute

    def execute(*arguments: Any, **named: Any) -> Iterator[Outcome]:
        yield next(steady(*arguments, **named))
        raise error

    monkeypatch.setattr(engine, "execute", execute)
    done = classify("--log-file", "log.txt")
    assert (done.code, done.out) == (code, "")
    monkeypatch.setattr(engine, "execute", steady)
    assert "ended by" in (tmp_path / "log.txt").read_text()
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows == 1, "what was done is kept"
    assert classify().code == 0, "and the folder is free again"


def test_another_run_holds_the_folder(classify: Classify) -> None:
    from vidact.store.lock import Lock

    classify()
    lock = Lock("vidact-out")
    try:
        done = classify()
        assert (done.code, done.out) == (75, "")
    finally:
        lock.release()
