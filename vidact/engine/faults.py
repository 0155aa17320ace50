"""When a run must end: how many processes may die, and what a failing model means.

Deaths are allowed in proportion to what is achieved, so that a few bad videos in a hundred never stop an archive,
while a machine that kills everything stops soon and says why.
"""

from __future__ import annotations

from vidact.engine.local import BlocksLost, WorkerDied
from vidact.engine.worker import Failure
from vidact.errors import ModelError, RunError, VidactError

FREE = 20
"""Deaths of decoders that are always allowed; every four videos done allow one more."""
IN_A_ROW = 3
"""Deaths that end the run when nothing is achieved between them: of model processes, and of processes not yet up."""


class Deaths:
    """Counts the processes that died, and raises RunError when it is enough."""

    def __init__(self) -> None:
        self._all = self._starting = self._models = 0

    def started(self) -> None:
        """A process came up."""
        self._starting = 0

    def scored(self) -> None:
        """A model process did its work."""
        self._models = 0

    def starting(self, death: WorkerDied) -> None:
        """A process died before it could do anything."""
        self._starting += 1
        if self._starting >= IN_A_ROW:
            raise RunError(
                f"no worker process comes up: {death.reason}",
                hint="--workers 0 runs in one process and shows what happens",
            ) from death

    def model(self, death: WorkerDied) -> None:
        """A model process died."""
        self._models += 1
        if self._models >= IN_A_ROW:
            raise RunError(
                f"the model's process died {IN_A_ROW} times in a row: {death.reason}",
                hint="lower --batch-size or --workers if memory ran out (`dmesg` tells), then run again to go on",
            ) from death

    def decoder(self, death: WorkerDied | BlocksLost, done: int) -> None:
        """A decoder died, or decoded pictures were lost, with so many videos done until now."""
        self._all += 1
        if self._all > FREE + done // 4:
            raise RunError(
                f"{self._all} decoder processes died, with {done} videos done; the last one: {death}",
                hint="look at the machine (`dmesg`: memory? disk?), then run again to go on",
            ) from death


def fatal(error: VidactError | Failure) -> VidactError:
    """What a model process could not do, as the error that ends the run: it would fail for every batch alike."""
    if isinstance(error, VidactError):
        return error
    if "OutOfMemory" in error.kind or "out of memory" in error.message or error.kind == "MemoryError":
        return RunError(f"the model ran out of memory: {error.message}", hint="lower --batch-size, run again to go on")
    fault = ModelError(f"the model failed: {error.kind}: {error.message}", hint="VIDACT_DEBUG=1 shows where")
    fault.__cause__ = RuntimeError(error.trace)  # the only traceback there is: it happened in another process
    return fault
