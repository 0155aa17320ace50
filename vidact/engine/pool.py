"""Workers as Ray actors: of a private Ray on this machine, or of a cluster. The only file that knows Ray.

A private Ray is invisible: it has its own random token, its own temporary folder, no dashboard, and none of what its
servers print reaches the user.
"""

from __future__ import annotations

import logging
import os
import platform
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vidact import __version__
from vidact.engine.local import BlocksLost, Call, Kind, Load, Worker, WorkerDied
from vidact.engine.scratch import Scratch
from vidact.engine.worker import Decoder, Scorer
from vidact.errors import RunError

STARTS = 3
"""Times a private Ray is started before the run is given up."""
REACH_SECONDS = 15.0
"""Seconds the address of a cluster may take to answer."""
NODE_SECONDS = 180.0
"""Seconds a node of a cluster may take to say what it runs."""
SHUTDOWN_SECONDS = 30.0
"""Seconds Ray may take to end."""


class RayPool:
    """Workers as Ray actors. A private Ray is started in the background when the pool is made.

    ``address`` joins a running cluster instead; its token is the user's (RAY_AUTH_MODE, RAY_AUTH_TOKEN).
    """

    kills = True

    def __init__(self, load: Load, *, address: str | None = None, store_bytes: int | None = None) -> None:
        self.load, self._address = load, address
        self._store_bytes = store_bytes or max(128 << 20, int(1.5 * load.budget))
        self._scratch = Scratch() if address is None else None
        self.scratch = self._scratch.path if self._scratch else None
        self._task: Any = None
        self._actors: dict[str, Any] = {}
        self._error: Exception | None = None
        self._servers: dict[str, Any] = {}
        self._begun, self._ended, self._gone = threading.Event(), threading.Event(), threading.Event()
        self._spawn(STARTS)

    def __enter__(self) -> RayPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _spawn(self, tries: int) -> None:
        threading.Thread(target=self._begin, args=(tries,), name="vidact-ray", daemon=True).start()

    def _begin(self, tries: int) -> None:
        """Start or join Ray, then live as long as it does: Ray's servers die with the thread that started them.

        This thread also ends it, since no signal interrupts it: half shut down, Ray ends the process with code 1.
        """
        try:
            ray = _import_ray(private=self._address is None)
            if ray.is_initialized():
                raise RunError("Ray is already running in this process", hint="use workers=0, or a process of its own")
            if self._address is None:
                self._start_private(ray)
            else:
                self._join(ray, self._address)
            self._task = ray.put(self.load.task)
            self._actors = {"decoder": ray.remote(Decoder), "scorer": ray.remote(Scorer)}
        except Exception as error:  # carried over to the thread that waits in _ready
            if tries > 1 and self._address is None and not isinstance(error, RunError):
                self._spawn(tries - 1)  # on a busy machine Ray may need longer than the 30 s it allows itself
            else:
                self._error = error
                self._begun.set()
        else:
            self._begun.set()
        # A failed start waits too: what it left running must not die under this process while it lives.
        self._ended.wait()
        if self._actors:
            try:
                ray.shutdown()
            finally:
                self._gone.set()

    def _start_private(self, ray: Any) -> None:
        split = self.load.split
        with _same_modules(), _bare():
            ray.init(
                address="local",
                num_cpus=max(1, min(split.decoders + split.scorers, 4)),  # workers Ray starts in advance, not a limit
                num_gpus=split.scorers if split.device == "cuda" else 0,
                object_store_memory=self._store_bytes,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                job_config=_job(ray),
                _temp_dir=self.scratch,
                _node_ip_address="127.0.0.1",
            )
        self._servers = _servers()

    def _join(self, ray: Any, address: str) -> None:
        try:
            _reach(address)
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, job_config=_job(ray))
        except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
            raise RunError(
                f"cannot join the Ray cluster at {address}: {_first_line(error)}",
                hint="check --address, and that RAY_AUTH_MODE and RAY_AUTH_TOKEN are those of the cluster",
            ) from error
        here = {"Python": platform.python_version(), "ray": ray.__version__, "vidact": __version__}
        strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
        asked = {
            node["NodeManagerAddress"]: ray.remote(_versions)
            .options(num_cpus=0, scheduling_strategy=strategy(node["NodeID"], soft=False))
            .remote()
            for node in ray.nodes()
            if node["Alive"]
        }
        for node, answer in asked.items():
            try:
                there = ray.get(answer, timeout=NODE_SECONDS)
            except ray.exceptions.RayError as error:
                raise RunError(
                    f"the node {node} cannot run vidact: {_first_line(error)}",
                    hint="install the same vidact on every node",
                ) from error
            for name, version in here.items():
                if there[name] != version:
                    raise RunError(
                        f"the node {node} has {name} {there[name]}, this machine has {version}",
                        hint="install the same versions on every node",
                    )

    def _ready(self) -> Any:
        self._begun.wait()
        if self._error is not None:
            raise self._error if isinstance(self._error, RunError) else _not_started(self._error)
        import ray

        return ray

    def start(self, kind: Kind) -> Worker:
        """Start an actor. Its process comes up while the driver goes on; ask ``hello`` to know when."""
        self._ready()
        load, split = self.load, self.load.split
        threads = split.score_threads if kind == "scorer" else split.decode_threads
        size = load.batch if kind == "scorer" else load.block_rows
        # On this machine the split is the plan and Ray only starts processes; a cluster places them by what they need.
        needs: dict[str, Any] = {"num_cpus": 0, "max_restarts": 0, "max_task_retries": 0}
        if self._address is not None:
            needs |= {"num_cpus": threads, "scheduling_strategy": "SPREAD"}
        if kind == "scorer" and split.device == "cuda":
            needs["num_gpus"] = 1
        return Worker(kind, self._actors[kind].options(**needs).remote(self._task, size, threads))

    def submit(self, worker: Worker, method: str, *arguments: Any) -> Call:
        """Send a call. Blocks among the arguments are references: the pictures go from worker to worker."""
        function = getattr(worker.handle, method)
        if method == "next":
            return Call(worker, *function.options(num_returns=2).remote(*arguments))
        return Call(worker, function.remote(*arguments))

    def wait(self, calls: Sequence[Call], timeout: float) -> list[Call]:
        """Calls that have an answer, those of one worker in the order they were submitted (as in ``calls``).

        At least one, unless the time (seconds) runs out first. RunError when Ray itself has died: it would end this
        process, too, without a word.
        """
        import ray

        self._alive()

        # Ray may announce a small answer before a large one that was given earlier: a worker's oldest call comes first.
        oldest = list({call.worker: call.value for call in reversed(calls)}.values())
        if not ray.wait(oldest, num_returns=1, timeout=timeout)[0]:
            return []
        ready = set(ray.wait([call.value for call in calls], num_returns=len(calls), timeout=0)[0])
        blocked: set[Worker] = set()
        answered = []
        for call in calls:
            if call.value in ready and call.worker not in blocked:
                answered.append(call)
            else:
                blocked.add(call.worker)
        return answered

    def result(self, call: Call) -> Any:
        """What the call returned. WorkerDied, BlocksLost, or the worker's own exception."""
        import ray
        from ray import exceptions

        try:
            return ray.get(call.value)
        except exceptions.OutOfMemoryError as error:
            raise WorkerDied("the machine ran out of memory and Ray ended it") from error
        except (exceptions.RayActorError, exceptions.WorkerCrashedError, exceptions.NodeDiedError) as error:
            self._alive()
            raise WorkerDied(_cause(str(error))) from error
        except exceptions.RayTaskError as error:
            raise _foreign(error.cause or error, exceptions) from error
        except exceptions.RayError as error:
            raise _foreign(error, exceptions) from error

    def _alive(self) -> None:
        """RunError when a server of the private Ray has ended: then all workers are lost, and none can be started."""
        for name, process in self._servers.items():
            if process.poll() is not None:
                raise RunError(
                    f"Ray's process {name} has ended (code {process.returncode}): it was killed, or memory ran out",
                    hint="run the same command again: what is committed is kept; `dmesg` tells if memory ran out",
                )

    def kill(self, worker: Worker) -> None:
        """End a worker from outside, whatever it is doing. It is not restarted."""
        import ray

        ray.kill(worker.handle, no_restart=True)
        if worker.pid is not None and self._address is None and _is_worker(worker.pid):
            with suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGKILL)

    def close(self) -> None:
        """End every worker and the private Ray, and remove its temporary folder."""
        try:
            self._begun.wait()
        finally:
            self._ended.set()
            try:
                if self._actors:
                    _wait_whatever_comes(self._gone)
            finally:
                if self._scratch is not None:
                    _end_stragglers(self._scratch.path)
                    self._scratch.close()


_TOKEN = secrets.token_hex(32)
"""One token for this process; Ray reads it once, when it is imported."""


def _import_ray(*, private: bool) -> Any:
    """Import Ray with the environment it needs to be quiet, private and out of the way."""
    os.environ["RAY_ENABLE_UV_RUN_RUNTIME_ENV"] = "0"  # under `uv run` it would install an environment for each worker
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_IGNORE_UNHANDLED_ERRORS"] = "1"  # answers of a worker that was killed are never asked for
    os.environ["RAY_DISABLE_FAILURE_SIGNAL_HANDLER"] = "1"  # it prints a stack on SIGTERM
    if private:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = _TOKEN
        os.environ.pop("RAY_ADDRESS", None)
    import ray
    from ray._private import worker

    # Ray prints a paragraph on stdout for every worker that dies, whatever log_to_driver says. A death is a row here.
    worker._worker_logs_enabled = False
    return ray


def _job(ray: Any) -> Any:
    """A job that does not add the working directory to what workers import from: among the videos may lie a random.py.

    Ray adds it for every job that does not say it came from afar.
    """
    return ray.job_config.JobConfig(_client_job=True)


@contextmanager
def _same_modules() -> Iterator[None]:
    """Processes started meanwhile find modules where this one does, except in the working directory."""
    before = os.environ.get("PYTHONPATH")
    here = os.path.realpath(os.getcwd())
    paths = [path for path in sys.path if path and os.path.realpath(path) != here]
    own = str(Path(__file__).resolve().parents[2])
    if own not in paths:  # last, where it shadows nothing, but before any other vidact
        others = (place for place, path in enumerate(paths) if os.path.isdir(os.path.join(path, "vidact")))
        paths.insert(next(others, len(paths)), own)
    os.environ["PYTHONPATH"] = os.pathsep.join(paths)
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before


@contextmanager
def _bare() -> Iterator[None]:
    """Start Ray without the servers nothing here asks: autoscaler, log collector, dashboard.

    Ray has no setting for it, and they would take a third of its start-up time and 150 MB.
    """
    from ray._private.node import Node

    unneeded = {
        "start_monitor": lambda node: None,
        "start_log_monitor": lambda node: None,
        "start_api_server": lambda node, **options: setattr(node, "_webui_url", None),
    }
    kept = {name: vars(Node)[name] for name in unneeded if name in vars(Node)}
    for name in kept:
        setattr(Node, name, unneeded[name])
    try:
        yield
    finally:
        for name, method in kept.items():
            setattr(Node, name, method)


def _servers() -> dict[str, Any]:
    """The process without which the private Ray cannot go on, by its name.

    Nothing public tells it. A Ray that keeps it elsewhere runs as well; its death is only told later, by Ray.
    """
    from ray._private import worker

    started = getattr(getattr(worker, "_global_node", None), "all_processes", {})
    return {name: begun[0].process for name, begun in started.items() if name == "raylet"}


def _versions() -> dict[str, str]:
    """What runs on a node of a cluster."""
    import ray

    return {"Python": platform.python_version(), "ray": str(ray.__version__), "vidact": __version__}


def _foreign(error: BaseException, exceptions: Any) -> BaseException:
    """Ray's own troubles in our words; a worker's exception as it is."""
    if isinstance(error, exceptions.ObjectLostError):
        return BlocksLost(_first_line(error))
    if isinstance(error, exceptions.ObjectStoreFullError | exceptions.OutOfDiskError):
        return RunError(
            f"there is no room for decoded pictures: {_first_line(error)}",
            hint="free some of /dev/shm or /tmp, or use fewer --decoders",
        )
    return error


def _is_worker(pid: int) -> bool:
    """Whether this is still the process it was: a number may have gone to another by now."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::")
    except OSError:
        return False


def _wait_whatever_comes(event: threading.Event) -> None:
    """Wait (SHUTDOWN_SECONDS at most) also when somebody wants to stop at once; the interrupt is raised afterwards."""
    ends = time.monotonic() + SHUTDOWN_SECONDS
    interrupt: KeyboardInterrupt | None = None
    while not event.is_set() and time.monotonic() < ends:
        try:
            event.wait(max(0.0, ends - time.monotonic()))
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt


def _end_stragglers(scratch: str) -> None:
    """End workers of the Ray in ``scratch`` that were coming up when it ended: they would look for it on and on."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if f"--temp-dir={scratch}".encode() in entry.read_bytes().split(b"\0"):
                os.kill(int(entry.parent.name), signal.SIGKILL)


def _not_started(error: BaseException) -> RunError:
    return RunError(
        f"Ray could not be started: {type(error).__name__}: {_first_line(error)}",
        hint="--workers 0 runs in one process without Ray; VIDACT_DEBUG=1 shows where it failed",
    )


def _reach(address: str) -> None:
    """OSError when nobody listens at HOST:PORT: Ray itself would wait for minutes, deaf to signals."""
    host, _, port = address.rpartition(":")
    if port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()


def _first_line(error: BaseException) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _cause(text: str) -> str:
    """The telling sentence of Ray's page about a death."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "creation task" in text:
        return lines[-1][:300]
    for mark in ("Worker exit detail:", "error_message:", "The actor is dead because"):
        if mark in text:
            return text.split(mark, 1)[1].strip().split(". Some common causes")[0].split("\n")[0][:300]
    return lines[0][:300] if lines else "its process ended"
