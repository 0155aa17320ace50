"""One real Ray, and everything that can go wrong with a decoder, a model or a machine."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from engine.fakes import FakeTask, videos

from vidact.engine import faults, ledger
from vidact.engine.driver import drive
from vidact.engine.local import Load, LocalPool
from vidact.engine.machine import Split
from vidact.engine.pool import RayPool, _end_stragglers
from vidact.errors import ModelError, RunError
from vidact.records import Outcome, Video

SPLIT = Split(decoders=1, decode_threads=1, scorers=1, score_threads=1, device="cpu")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayPool]:
    """One private Ray for this file; its workers are new in every run."""
    os.environ["FAKE_MARKS"] = str(tmp_path_factory.mktemp("marks"))
    with RayPool(Load(FakeTask(), SPLIT, 8), store_bytes=80 << 20) as pool:
        yield pool


def give(pool: RayPool, load: Load) -> RayPool:
    """The same Ray for another task."""
    ray = pool._ready()
    pool.load, pool._task = load, ray.put(load.task)
    return pool


def named(outcomes: Iterator[Outcome]) -> dict[str, Outcome]:
    found: dict[str, Outcome] = {}
    for outcome in outcomes:
        assert outcome.video.video not in found, "two rows for one video"
        found[outcome.video.video] = outcome
    return found


def plain(outcomes: dict[str, Outcome]) -> dict[str, Any]:
    """What must be equal in two runs: everything but the seconds."""
    return {
        name: (
            {key: value for key, value in one.row.items() if not key.startswith("seconds_")},
            {key: np.asarray(value).tolist() for key, value in one.details.items()},
        )
        for name, one in outcomes.items()
    }


def workers(kind: str) -> list[psutil.Process]:
    children = psutil.Process().children(recursive=True)
    return [child for child in children if child.name().startswith(f"ray::{kind}")]


def test_a_video_that_kills_the_model_when_it_is_finished_fails_alone(shared: RayPool, tmp_path: Path) -> None:
    files = videos(tmp_path, [f"{n}.rows2.txt" for n in range(12)] + ["x.rows2.deadly.txt", "y.stored.txt"])
    pool = give(shared, Load(FakeTask(finisher="scorer"), SPLIT, 8))
    found = named(drive(pool, files))
    failed = {name: one.row["error"] for name, one in found.items() if one.status == "failed"}
    assert failed == {"x.rows2.deadly.txt": "FinishDied"} and len(found) == 14


def test_both_pools_and_every_cut_give_the_same_bits(shared: RayPool, tmp_path: Path) -> None:
    files = videos(tmp_path, [f"{n:03}.rows{n % 9 + 1}.txt" for n in range(120)] + ["long.rows800.txt"])
    task = FakeTask(views=3)
    whole = named(drive(LocalPool(Load(task, SPLIT, 8)), files))
    assert len(whole) == 121 and all(one.status == "ok" for one in whole.values())
    cut = Load(replace(task, chunk_rows=7), SPLIT, 8)
    two = Load(cut.task, replace(SPLIT, decoders=2, scorers=2), 8)
    assert plain(named(drive(give(shared, two), files))) == plain(whole)
    assert plain(named(drive(LocalPool(cut), files))) == plain(whole)


def test_a_bad_video_is_a_row_and_the_others_are_fine(shared: RayPool, tmp_path: Path) -> None:
    bad = ["b.segfault.txt", "c.spin.txt", "d.raise.txt", "e.broken.txt", "f.closed.txt", "h.once.txt"]
    files = videos(tmp_path, [f"{n:02}.rows3.txt" for n in range(20)] + bad + ["g.rows4.hole.txt", "i.scratched.txt"])
    files.append(Video("gone.mp4", str(tmp_path / "gone.mp4"), None, None, ("NotFound", "there is no such file")))
    done = named(drive(give(shared, Load(FakeTask(), SPLIT, 8)), files, attempts={"e.broken.txt": 4}, deadline=8.0))
    assert len(done) == len(files)
    errors = {name: one.row["error"] for name, one in done.items() if one.status == "failed"}
    assert errors == {
        "b.segfault.txt": "DecoderDied",
        "c.spin.txt": "DecoderHung",
        "d.raise.txt": "KeyError",
        "e.broken.txt": "Undecodable",
        "f.closed.txt": "NoVideoStream",
        "gone.mp4": "NotFound",
    }
    stages = {name: done[name].row["stage"] for name in ("d.raise.txt", "f.closed.txt", "gone.mp4")}
    assert stages == {"d.raise.txt": "decode", "f.closed.txt": "index", "gone.mp4": "find"}
    assert done["e.broken.txt"].row["attempts"] == 5
    assert done["h.once.txt"].status == "ok"  # it killed one decoder, then it could be read
    partial = done["g.rows4.hole.txt"]
    assert (partial.status, partial.row["clips"], list(partial.details["clip"])) == ("partial", 3, [0, 2, 3])
    scratched = done["i.scratched.txt"].row
    assert (scratched["status"], scratched["clips"], scratched["error"]) == ("partial", 1, "Damaged")
    assert done["00.rows3.txt"].row["decoder"] == "fake" and done["00.rows3.txt"].row["duration"] == 3.0


def test_an_intruder_without_the_token_is_turned_away(shared: RayPool) -> None:
    ray = shared._ready()
    address = ray.get_runtime_context().gcs_address
    code = f"import ray; ray.init(address={address!r}, log_to_driver=False); print('inside')"
    clean = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    clean |= {"RAY_AUTH_MODE": "disabled"}  # with a wrong token: see test_cluster.py
    tried = subprocess.run([sys.executable, "-c", code], env=clean, capture_output=True, text=True)
    assert tried.returncode != 0 and "inside" not in tried.stdout
    ports = {
        (process.name(), connection.laddr.port)
        for process in (psutil.Process(), *psutil.Process().children(recursive=True))
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    assert len(ports) >= 4
    for name, port in ports:
        services = ("NodeInfoGcsService/GetAllNodeInfo", "NodeManagerService/GetNodeStats", "ObjectManagerService/Pull")
        answers = [knock(port, f"/ray.rpc.{service}") for service in (*services, "CoreWorkerService/Exit")]
        answers.append(knock_http(port))
        assert any(b"InvalidAuthToken" in answer or b" 401 " in answer for answer in answers), (name, port, answers)


def knock(port: int, path: str) -> bytes:
    """What a gRPC server answers to a call without a token: HTTP/2 by hand."""

    def frame(kind: int, flags: int, stream: int, body: bytes = b"") -> bytes:
        return struct.pack(">I", len(body))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + body

    headers = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
    headers |= {"content-type": "application/grpc", "te": "trailers"}
    block = b"".join(
        b"\0" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()
        for name, value in headers.items()
    )
    call = frame(4, 0, 0) + frame(1, 4, 1, block) + frame(0, 1, 1, b"\0" * 5)
    return exchange(port, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + call)


def knock_http(port: int) -> bytes:
    return exchange(port, b"POST /get_or_create_runtime_env HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")


def exchange(port: int, message: bytes) -> bytes:
    for host in ("127.0.0.1", socket.gethostbyname(socket.gethostname()), *addresses()):
        try:
            connection = socket.create_connection((host, port), timeout=5)
        except OSError:
            continue
        answer = b""
        with connection, contextlib.suppress(TimeoutError, ConnectionError):
            connection.sendall(message)
            while more := connection.recv(4096):
                answer += more
                if b"grpc-status" in answer or b" 401 " in answer:
                    break
        return answer
    return b""


def addresses() -> list[str]:
    return [one.address for some in psutil.net_if_addrs().values() for one in some if one.family == socket.AF_INET]


@pytest.mark.parametrize("kind", ["Decoder", "Scorer"])
def test_a_worker_killed_from_outside_costs_nothing(shared: RayPool, tmp_path: Path, kind: str) -> None:
    files = videos(tmp_path, [f"{n:03}.rows2.slow.txt" for n in range(10)])
    before = plain(named(drive(LocalPool(Load(FakeTask(), SPLIT, 8)), files)))
    run = drive(give(shared, Load(FakeTask(), SPLIT, 8)), files)
    first = next(run)
    victims = workers(kind)
    assert victims
    victims[0].send_signal(signal.SIGKILL)
    after = named(iter([first, *run]))
    assert {name: rows for name, (_, rows) in plain(after).items()} == {
        name: rows for name, (_, rows) in before.items()
    }
    assert all(one.status == "ok" for one in after.values())


def test_a_model_that_dies_once_is_started_again(shared: RayPool, tmp_path: Path) -> None:
    files = videos(tmp_path, [f"{n}.rows5.txt" for n in range(12)])
    task = FakeTask(trouble=f"once:{tmp_path / 'mark'}")
    done = named(drive(give(shared, Load(task, SPLIT, 8)), files))
    assert [one.status for one in done.values()] == ["ok"] * 12


def test_a_model_that_always_dies_ends_the_run(shared: RayPool, tmp_path: Path) -> None:
    task = FakeTask(trouble="die")
    with pytest.raises(RunError, match=r"model's process died 3 times in a row"):
        list(drive(give(shared, Load(task, SPLIT, 8)), videos(tmp_path, ["a.txt"])))


def test_killers_without_end_end_the_run(shared: RayPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "FREE", 3)
    files = videos(tmp_path, [f"{n}.segfault.txt" for n in range(30)])
    with pytest.raises(RunError, match=r"decoder processes died, with \d videos done; the last one: Worker"):
        list(drive(give(shared, Load(FakeTask(), SPLIT, 8)), files))


def test_a_small_store_only_slows_down(shared: RayPool, tmp_path: Path) -> None:
    # 200 rows of 600 kB pass through a store of 80 MB while the model is slower than the decoders.
    task = FakeTask(item=(16, 112, 112, 3), model_seconds=0.02)
    files = videos(tmp_path, ["a.rows150.txt", *(f"{n}.rows5.txt" for n in range(10))])
    done = named(drive(give(shared, Load(task, SPLIT, 4)), files))
    assert [one.status for one in done.values()] == ["ok"] * 11


def test_large_scores_go_through_a_file(shared: RayPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = videos(tmp_path, ["a.rows500.txt"])
    load = Load(FakeTask(views=2), SPLIT, 8)
    kept = plain(named(drive(LocalPool(load), files)))
    monkeypatch.setattr(ledger, "IN_MEMORY", 100)
    assert plain(named(drive(give(shared, load), files))) == kept
    assert not list(Path(str(shared.scratch)).glob("*.scores"))


def test_stop_ends_the_run_soon(shared: RayPool, tmp_path: Path) -> None:
    files = videos(tmp_path, [f"{n:03}.rows2.slow.txt" for n in range(200)])
    asked_at: list[float] = []
    done: list[Outcome] = []

    def stop() -> bool:
        if done:
            asked_at.append(time.monotonic())
        return bool(done)

    for outcome in drive(give(shared, Load(FakeTask(), SPLIT, 8)), files, stop=stop):
        done.append(outcome)
    assert 0 < len(done) < 200 and all(one.status == "ok" for one in done)
    assert time.monotonic() - asked_at[0] < 30


@pytest.mark.parametrize(
    ("trouble", "error", "told"),
    [
        ("fail", ModelError, "RuntimeError: shapes do not match"),
        ("memory", RunError, "ran out of memory"),
        ("load", ModelError, "the weights do not fit"),
    ],
)
def test_a_model_that_cannot_score_ends_the_run(
    tmp_path: Path, trouble: str, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told):
        list(drive(LocalPool(Load(FakeTask(trouble=trouble), SPLIT, 8)), videos(tmp_path, ["a.txt"])))


KILLED = """
import psutil, sys
from engine.fakes import FakeTask, videos
from pathlib import Path
from vidact.engine.driver import drive
from vidact.engine.local import Load
from vidact.engine.machine import Split
from vidact.engine.pool import RayPool

files = videos(Path(sys.argv[1]), [f"{n:03}.rows2.slow.txt" for n in range(200)])
with RayPool(Load(FakeTask(), Split(1, 1, 1, 1, "cpu"), 8), store_bytes=80 << 20) as pool:
    run = drive(pool, files)
    next(run)
    next(child for child in psutil.Process().children(recursive=True) if child.name() == "raylet").kill()
    list(run)
"""


def test_a_ray_that_is_killed_ends_the_run_with_a_word(tmp_path: Path) -> None:
    # In a process of its own: Ray ends the process that its server was lost to.
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=100
    )
    assert "RunError: Ray's process raylet has ended (code -9)" in ended.stderr


INTERRUPTED = """
import os, psutil, signal, threading, time
from engine.fakes import FakeTask
from vidact.engine.local import Load
from vidact.engine.machine import Split
from vidact.engine.pool import RayPool

try:
    with RayPool(Load(FakeTask(), Split(1, 1, 1, 1, "cpu"), 8), store_bytes=80 << 20) as pool:
        ray = pool._ready()
        shutdown = ray.shutdown
        ray.shutdown = lambda: (time.sleep(0.5), shutdown())
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
except KeyboardInterrupt:
    left = [child.name() for child in psutil.Process().children() if child.status() != "zombie"]
    print("interrupted", ray.is_initialized(), os.path.exists(pool.scratch), left)
"""


def test_an_interrupt_waits_until_ray_has_ended(tmp_path: Path) -> None:
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    environment = {**os.environ, "PYTHONPATH": paths}
    ended = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True, timeout=100
    )
    assert (ended.returncode, ended.stdout.strip()) == (0, "interrupted False False []"), ended.stderr


def test_workers_that_were_still_coming_up_are_ended(tmp_path: Path) -> None:
    wait = [sys.executable, "-c", "import time; time.sleep(60)"]
    ours, other = (subprocess.Popen([*wait, f"--temp-dir={tmp_path}{end}"]) for end in ("", "-other"))
    try:
        _end_stragglers(str(tmp_path))
        assert ours.wait(10) == -signal.SIGKILL
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
