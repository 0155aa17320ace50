"""``--address``: a cluster somebody else started is joined with its token, if it runs the same versions."""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = str(Path(__file__).resolve().parents[1])
HEAD = """
import logging, sys, ray
ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR,
         object_store_memory=80 << 20, _temp_dir=sys.argv[1])
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
JOIN = """
import sys
from pathlib import Path
from engine.fakes import FakeTask, videos
from vidact.engine import pool
from vidact.engine.driver import drive
from vidact.engine.local import Load
from vidact.engine.machine import Split
from vidact.errors import RunError

address, folder, version = sys.argv[1:]
pool.__version__ = version or pool.__version__
files = videos(Path(folder), [f"{n}.rows3.txt" for n in range(6)])
try:
    with pool.RayPool(Load(FakeTask(chunk_rows=2), Split(1, 1, 1, 1, "cpu"), 4), address=address) as joined:
        print(sorted((one.video.video, one.status, one.row["clips"]) for one in drive(joined, files)))
except RunError as error:
    print(error.message, "|", error.hint)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a cluster of one node, and the environment that may join it."""
    environment = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "PYTHONPATH": TESTS,
    }
    with tempfile.TemporaryDirectory(prefix="vc-", dir="/tmp") as folder:
        command = [sys.executable, "-c", HEAD, folder]
        head = subprocess.Popen(
            command,
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert head.stdout is not None
        yield head.stdout.readline().strip(), environment
        head.communicate("")


def join(address: str, environment: dict[str, str], folder: Path, version: str = "") -> str:
    command = [sys.executable, "-c", JOIN, address, str(folder), version]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_cluster_is_joined_and_left_running(cluster: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environment = cluster
    for _ in range(2):
        assert join(address, environment, tmp_path) == str([(f"{n}.rows3.txt", "ok", 3) for n in range(6)])


def test_another_version_on_a_node_is_named(cluster: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environment = cluster
    told = join(address, environment, tmp_path, "0.0.0")
    assert "has vidact" in told and "this machine has 0.0.0" in told and "install the same versions" in told


def test_the_wrong_token_is_turned_away(cluster: tuple[str, dict[str, str]], tmp_path: Path) -> None:
    address, environment = cluster
    told = join(address, environment | {"RAY_AUTH_TOKEN": "0" * 64}, tmp_path)
    assert told.startswith(f"cannot join the Ray cluster at {address}") and "RAY_AUTH_TOKEN" in told


def test_an_address_nobody_listens_at_is_told_at_once(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listened at
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        told = join(address, dict(os.environ, PYTHONPATH=TESTS), tmp_path)
        assert told.startswith(f"cannot join the Ray cluster at {address}") and "refused" in told
        assert time.monotonic() - began < 30
