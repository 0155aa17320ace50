"""What this process may really use: CPU cores, GPUs, and how the stages share them.

Reads cgroups, the affinity mask and /proc; imports neither torch nor Ray, so that a dry run can say what it would use.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vidact.errors import UsageError

SCORE_THREADS = 4  # batches one model scores at once: each holds its own maps, all share one interpreter


@dataclass(frozen=True, slots=True)
class Split:
    """Processes of each stage and the threads of each process.

    The product of a stage never exceeds the cores; both stages together may, because whichever waits uses none.
    """

    decoders: int
    decode_threads: int
    scorers: int
    score_threads: int
    device: str


def cpus(root: str = "/") -> int:
    """CPU cores this process may use: the affinity mask, cut by the CPU quota of its cgroups (v1 and v2)."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        cores = os.cpu_count() or 1
    for folder in _cgroups(root):
        old = f"{_first(folder / 'cpu.cfs_quota_us')} {_first(folder / 'cpu.cfs_period_us')}"
        quota = _first(folder / "cpu.max") or old
        limit = re.fullmatch(r"(\d+) (\d+)", quota)
        if limit and int(limit[2]) > 0:
            cores = min(cores, max(1, int(limit[1]) // int(limit[2])))
    return max(1, cores)


def _cgroups(root: str) -> Iterator[Path]:
    """The folders of this process's cgroups of CPU time, innermost first; a limit may stand at any height."""
    base = Path(root, "sys/fs/cgroup")
    try:
        lines = Path(root, "proc/self/cgroup").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, inside = line.split(":", 2)
        top = base if not controllers else base / "cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Inside a container the path may be the host's, which does not exist here; its parents up to the top do.
        path = top / inside.strip("/")
        while path != top:
            yield path
            path = path.parent
        yield top


def _first(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def gpus() -> int:
    """CUDA devices this process may use, without importing torch: CUDA_VISIBLE_DEVICES, else the driver's own list."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    try:
        present = len(os.listdir("/proc/driver/nvidia/gpus"))
    except OSError:
        present = len([name for name in _devices() if re.fullmatch(r"nvidia\d+", name)])
    if visible is None:
        return present
    named = [name for name in visible.split(",") if name.strip() and name.strip() != "-1"]
    return min(present, len(named))


def _devices() -> list[str]:
    try:
        return os.listdir("/dev")
    except OSError:
        return []


def device(requested: str) -> str:
    """``auto`` → ``cuda`` where there is a GPU, else ``cpu``. UsageError when cuda is asked for and there is none."""
    if requested == "auto":
        return "cuda" if gpus() else "cpu"
    if requested.startswith("cuda") and not gpus():
        raise UsageError("--device cuda: no GPU is visible here", hint="use --device cpu, or check `nvidia-smi`")
    if requested not in ("cpu", "cuda"):
        raise UsageError(f"--device {requested}: not a device", hint="use auto, cpu or cuda")
    return requested


def split(device: str, *, workers: int | None = None, decoders: int | None = None, cores: int | None = None) -> Split:
    """Share the cores between decode and model processes; a given number is kept (0 workers: one, in process).

    On a CPU every stage may use every core: the system gives it to whichever has work, and a full pipeline stops the
    decoders. With a GPU the decoders get every core but one for each model process.
    """
    cores = cores or cpus()
    if workers == 0:
        # One decoding thread, as everywhere: how FFmpeg patches a damaged picture depends on their number.
        return Split(1, 1, 1, cores, device)
    if device == "cpu":
        scorers = workers or max(1, cores // SCORE_THREADS)
        return Split(decoders or cores, 1, scorers, max(1, cores // scorers), device)
    scorers = workers or max(1, gpus())
    if scorers > gpus():
        raise UsageError(f"--workers {scorers}: there are {gpus()} GPUs", hint="give at most one worker to each GPU")
    return Split(decoders or max(1, cores - scorers), 1, scorers, 1, device)


def batch_size(item_bytes: int, device: str) -> int:
    """Clips in one model call: what fits well into a CPU's caches, or keeps a GPU busy.

    ``item_bytes`` is one clip as uint8 pictures.
    """
    budget = (128 << 20) if device != "cpu" else (2 << 20)
    fitting = max(1, min(128 if device != "cpu" else 8, budget // max(1, item_bytes)))
    return 1 << (fitting.bit_length() - 1)
