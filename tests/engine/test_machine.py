"""How many cores this process may really use, and who gets them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vidact.engine import machine
from vidact.errors import UsageError


def write(root: Path, files: dict[str, str]) -> str:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return str(root)


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, 16),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "50000 100000"}, 1),
        # The limit of a parent counts, also when the own path is the host's and not to be seen here.
        ({"proc/self/cgroup": "0::/jobs/mine", "sys/fs/cgroup/jobs/cpu.max": "400000 100000"}, 4),
        ({"proc/self/cgroup": "0::/docker/abc", "sys/fs/cgroup/cpu.max": "300000 100000"}, 3),
        (
            {
                "proc/self/cgroup": "4:memory:/x\n3:cpu,cpuacct:/x",
                "sys/fs/cgroup/cpu/x/cpu.cfs_quota_us": "600000",
                "sys/fs/cgroup/cpu/x/cpu.cfs_period_us": "100000",
            },
            6,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            16,
        ),
    ],
)
def test_cpus(tmp_path: Path, files: dict[str, str], cores: int) -> None:
    assert machine.cpus(write(tmp_path, files)) == cores


@pytest.mark.parametrize("cores", [1, 2, 3, 4, 7, 8, 16, 64])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_no_stage_has_more_threads_than_there_are_cores(
    cores: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    split = machine.split(device, cores=cores)
    assert min(split.decoders, split.decode_threads, split.scorers, split.score_threads) >= 1
    assert split.decoders * split.decode_threads <= cores
    assert split.scorers * split.score_threads <= max(cores, 2)
    assert split.scorers == 2 or device == "cpu"


def test_what_the_user_says_is_kept() -> None:
    split = machine.split("cpu", workers=3, decoders=5, cores=4)
    assert (split.scorers, split.decoders, split.score_threads) == (3, 5, 1)


def test_a_gpu_has_one_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 2)
    assert machine.split("cuda", workers=1, cores=8).scorers == 1
    with pytest.raises(UsageError, match="--workers 3: there are 2 GPUs"):
        machine.split("cuda", workers=3, cores=8)


def test_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "gpus", lambda: 0)
    assert machine.device("auto") == machine.device("cpu") == "cpu"
    with pytest.raises(UsageError, match="no GPU"):
        machine.device("cuda")
    monkeypatch.setattr(machine, "gpus", lambda: 1)
    assert machine.device("auto") == "cuda"
    with pytest.raises(UsageError, match="--device tpu"):
        machine.device("tpu")


def test_hidden_gpus_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_devices", lambda: ["nvidia0", "nvidia1", "nvidiactl", "null"])
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert machine.gpus() >= 2
    for visible, count in (("", 0), ("-1", 0), ("1", 1)):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        assert machine.gpus() == count


@pytest.mark.parametrize("item_bytes", [1, 400_000, 2_400_000, 50_000_000])
def test_batches_are_small_on_a_cpu_and_larger_on_a_gpu(item_bytes: int) -> None:
    small, large = machine.batch_size(item_bytes, "cpu"), machine.batch_size(item_bytes, "cuda")
    assert 1 <= small <= large <= 128 and small & (small - 1) == 0
