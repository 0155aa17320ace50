"""The interface of a pool, and the pool for debugging: workers as plain objects of this process (``--workers 0``).

Both pools ``start`` a worker, ``submit`` a call, ``wait``, give a ``result`` and ``kill``. A worker that dies is
``WorkerDied``, a block that is gone ``BlocksLost``; every other error is the worker's own.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from vidact.engine.machine import Split
from vidact.engine.worker import Decoder, Scorer, Task

Kind = Literal["decoder", "scorer"]

BLOCK_BYTES = 16 << 20


class WorkerDied(Exception):
    """The process of a worker is gone."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BlocksLost(Exception):
    """Pictures that were sent to a worker no longer exist (their machine is gone)."""


@dataclass(eq=False, slots=True)
class Worker:
    """One decoder or scorer of a pool."""

    kind: Kind
    handle: Any
    pid: int | None = None


@dataclass(eq=False, slots=True)
class Call:
    """One call that was submitted. ``block`` is the second value of ``next``: passed on, never looked at."""

    worker: Worker
    value: Any
    block: Any = None
    arguments: tuple[str, tuple[Any, ...]] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Load:
    """How a task is spread: processes, the shape of a model call, the bytes of pictures on their way."""

    task: Task
    split: Split
    batch: int

    @property
    def item_bytes(self) -> int:
        """Bytes of one model input as uint8."""
        size = 1
        for side in self.task.item:
            size *= side
        return size

    @property
    def block_rows(self) -> int:
        """Rows in a full block: several batches when they are small."""
        items = max(self.batch, min(8 * self.batch, BLOCK_BYTES // self.item_bytes))
        return max(1, items // self.task.views)

    @property
    def block_bytes(self) -> int:
        return self.block_rows * self.task.views * self.item_bytes

    @property
    def budget(self) -> int:
        """Bytes of pictures decoded and not yet scored, at most: blocks for all, and twice what models work at."""
        split = self.split
        at_work = 2 * split.scorers * split.score_threads * self.batch * self.item_bytes
        return max((2 * split.decoders + 2 * split.scorers + 2) * self.block_bytes, 2 * at_work)


class Pool(Protocol):
    """What the driver needs of a pool. ``kills``: whether a worker that hangs can be ended from outside."""

    kills: bool
    load: Load
    scratch: str | None

    def start(self, kind: Kind) -> Worker: ...
    def submit(self, worker: Worker, method: str, *arguments: Any) -> Call: ...
    def wait(self, calls: Sequence[Call], timeout: float) -> list[Call]: ...
    def result(self, call: Call) -> Any: ...
    def kill(self, worker: Worker) -> None: ...


class LocalPool:
    """Workers as objects of this process (``--workers 0``): for debugging. Nothing can be killed here.

    Between the outcomes of ``classify(workers=0)`` the caller's process has one torch thread; the number it had comes
    back when the generator ends.
    """

    kills = False

    def __init__(self, load: Load) -> None:
        self.load = load
        self.scratch: str | None = None
        self._calls: deque[Call] = deque()

    def __enter__(self) -> LocalPool:
        import torch

        self._threads = torch.get_num_threads()
        return self

    def __exit__(self, *_: object) -> None:
        import torch

        self._calls.clear()
        torch.set_num_threads(self._threads)  # the model changed it, and the process is the caller's

    def start(self, kind: Kind) -> Worker:
        """Make a worker."""
        load = self.load
        if kind == "scorer":
            return Worker(kind, Scorer(load.task, load.batch, load.split.score_threads))
        # Nothing is decoded while the model works: a block feeds all of its lanes.
        rows = max(load.block_rows, load.split.score_threads * load.batch // load.task.views)
        return Worker(kind, Decoder(load.task, rows, load.split.decode_threads, own_process=False))

    def submit(self, worker: Worker, method: str, *arguments: Any) -> Call:
        """Note a call; ``wait`` makes it."""
        call = Call(worker, None, None, (method, arguments))
        self._calls.append(call)
        return call

    def wait(self, calls: Sequence[Call], timeout: float) -> list[Call]:
        """Make the oldest call."""
        call = self._calls.popleft()
        method, arguments = call.arguments or ("", ())
        value = getattr(call.worker.handle, method)(*arguments)
        call.value, call.block = value if method == "next" else (value, None)
        return [call]

    def result(self, call: Call) -> Any:
        """What the call returned."""
        return call.value

    def kill(self, worker: Worker) -> None:
        """Forget a worker and its calls."""
        self._calls = deque(call for call in self._calls if call.worker is not worker)
