"""Runs that are killed at any moment, and go on: no row lost, none doubled, nobody left behind."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from engine.fakes import videos

from vidact.store.reader import Reader

SCRIPT = str(Path(__file__).with_name("nightly.py"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """150 videos, one of them long, one that is broken."""
    made = tmp_path / "in"
    made.mkdir()
    names = [f"{n:03}.rows{n % 5 + 1}.mp4" for n in range(148)]
    videos(made, [*names, "long.rows900.mp4", "bad.broken.mp4"])
    return made


def start(folder: Path, out: Path, workers: int) -> subprocess.Popen[str]:
    """In a working directory where modules of the standard library seem to lie."""
    trap = folder.parent / "trap"
    trap.mkdir(exist_ok=True)
    for name in ("random", "timeit", "queue", "numpy", "vidact"):
        (trap / f"{name}.py").write_text(f"open({str(trap / 'sprung')!r}, 'w')\nraise ImportError('trapped')\n")
    command = [sys.executable, SCRIPT, str(folder), str(out), str(workers)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=trap)


def state(out: Path) -> set[tuple[str, int]]:
    """Changes with every commit, also when the store lets a small part grow."""
    found = set()
    for path in (out / "videos").glob("part-*"):
        with contextlib.suppress(FileNotFoundError):
            found.add((path.name, path.stat().st_mtime_ns))
    return found


def check(out: Path) -> None:
    """Every video exactly once, with exactly its rows."""
    found = Reader(str(out))
    table = found.videos().to_pydict()
    assert len(table["video"]) == len(set(table["video"])) == 150
    counts = dict(zip(table["video"], table["clips"], strict=True))
    detail = found.detail().to_pydict()
    keys = list(zip(detail["video"], detail["clip"], strict=True))
    assert len(keys) == len(set(keys))
    for name, clips in counts.items():
        wanted = 0 if "bad" in name else int(name.split("rows")[1].split(".")[0])
        assert clips == wanted == sum(video == name for video, _ in keys), name
    assert [name for name, status in zip(table["video"], table["status"], strict=True) if status != "ok"] == [
        "bad.broken.mp4"
    ]


def test_killed_at_random_moments_it_loses_and_doubles_nothing(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    dice = random.Random(7)
    killed = 0
    for turn in range(12):
        before = state(out)
        process = start(folder, out, 0)
        if turn % 3:  # two of three kills come around a commit
            wait_for_commit(process, out, before)
        time.sleep(dice.uniform(0.0, 0.1))
        process.kill()
        assert process.communicate()[1] == ""
        killed += process.returncode == -signal.SIGKILL
        if process.returncode == 0:
            break
    process = start(folder, out, 0)
    assert (process.communicate(timeout=200)[1], process.returncode) == ("", 0)
    assert killed >= 3
    check(out)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def wait_for_commit(process: subprocess.Popen[str], out: Path, before: set[tuple[str, int]]) -> None:
    """Until the run has committed something, or is over."""
    end = time.monotonic() + 200
    while time.monotonic() < end and process.poll() is None and state(out) <= before:
        time.sleep(0.005)


def test_with_ray_killed_terminated_and_run_again(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    process = start(folder, out, 1)
    wait_for_commit(process, out, set())
    left_behind = descendants(process)
    names = {child.pid: child.name() for child in left_behind}
    assert {"raylet", "gcs_server", "ray::Decoder"} <= set(names.values())
    process.kill()
    process.communicate()
    committed = len(Reader(str(out)).committed())
    assert 0 < committed < 150

    before = state(out)
    process = start(folder, out, 1)
    wait_for_commit(process, out, before)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=100)
    assert (process.returncode, *told) == (143, "", "")
    assert time.monotonic() - asked < 60
    assert len(Reader(str(out)).committed()) > committed

    (folder / "zzz.segfault.mp4").write_bytes(b"x")
    process = start(folder, out, 1)
    told = process.communicate(timeout=250)
    # A decoder died and was replaced: not a word of it on the terminal.
    assert (process.returncode, *told) == (0, "", "")
    died = Reader(str(out)).videos(["video", "error"]).to_pydict()
    assert dict(zip(died["video"], died["error"], strict=True))["zzz.segfault.mp4"] == "DecoderDied"
    os.unlink(folder / "zzz.segfault.mp4")
    assert not (tmp_path / "trap" / "sprung").exists(), "a worker imported from the working directory"
    mine = f"va-{os.getuid()}-"
    owners = [path for path in Path("/tmp").glob(mine + "*") if str(process.pid) in str(list(path.glob("session_*")))]
    assert not owners, "the folder of a finished run was left behind"
    # The servers and workers of the killed run died with it; only Ray's agents need up to a minute to notice.
    _, alive = psutil.wait_procs([child for child in left_behind if "Agent" not in names[child.pid]], timeout=120)
    assert not alive, alive
