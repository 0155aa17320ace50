"""What the engine costs, apart from decoding and models. Run by hand on a quiet machine; prints one table.

    python tests/benchmarks/bench_engine.py driver   driver CPU per video: a null model, 100,000 tiny entries
    python tests/benchmarks/bench_engine.py short    200 short videos: wall against decode-only + model-only CPU
    python tests/benchmarks/bench_engine.py memory   peak memory above the model: videos of 10 minutes and 2 hours
    python tests/benchmarks/bench_engine.py first    from start to the first result of one file, and where it goes
    python tests/benchmarks/bench_engine.py idle     a rerun over 40,000 videos that are all done
    python tests/benchmarks/bench_engine.py localize segments of videos of 10 and 60 minutes, from raw video
    python tests/benchmarks/bench_engine.py all

Nothing is written outside a temporary folder. Needs the packages of the extra ``test``. ``--model`` and
``--checkpoint`` as in ``vidact classify``.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.fakes import FakeTask, videos
from media import make

from vidact.engine import machine, run
from vidact.engine.driver import drive
from vidact.engine.local import Load
from vidact.engine.pool import RayPool
from vidact.engine.worker import Scorer
from vidact.records import Outcome, Video
from vidact.store.rundir import RunDir
from vidact.tasks.classify import Classify

Result = Mapping[str, Any]


def driver(folder: Path, request: run.Request, count: int = 100_000) -> Iterator[Result]:
    """CPU of the driver's process alone, Ray's start excluded; every entry is the same file of one byte."""
    file = videos(folder, ["tiny.rows1.mp4"])[0]
    entries = [Video(f"{n:06}.mp4", file.path, file.size, file.mtime_ns) for n in range(count)]
    split = machine.split("cpu", workers=1, decoders=1)
    with RayPool(Load(FakeTask(), split, 16)) as pool:
        kept = pool.start("decoder")  # waits for Ray
        cpu, wall = time.process_time(), time.monotonic()
        done = sum(1 for _ in drive(pool, entries))
        cpu, wall = time.process_time() - cpu, time.monotonic() - wall
        pool.kill(kept)
    yield {"videos": done, "driver CPU ms/video": cpu / done * 1e3, "wall ms/video": wall / done * 1e3}


def short(folder: Path, request: run.Request, count: int = 200, times: int = 5) -> Iterator[Result]:
    """The same clips decoded alone and scored alone, one process and one thread; then through the engine.

    Start-up is a run of one video for each decoder, so that every process it pays for comes up; what those videos cost
    is taken off the rest. All of it is done ``times`` times in turn: a start alone varies by a second.
    """
    kinds = [make(folder / f"{n}.mp4", frames=75 + 7 * n, fps=25, size=(480, 360)) for n in range(8)]
    for n in range(len(kinds), count):
        shutil.copy(kinds[n % len(kinds)], folder / f"{n}.mp4")
    prepared = run.prepare(replace(request, inputs=(str(folder),)))
    cores = machine.cpus()
    rows = []
    for _ in range(times):
        alone = _children_cpu("_alone", str(folder), request)
        start = _timed(prepared, prepared.found.videos[: prepared.split.decoders])
        whole = _timed(prepared, prepared.found.videos)
        cpu = (alone["decode"] + alone["model"]) * (1 - start["clips"] / whole["clips"])
        rows.append(
            {
                **{f"{name}-only CPU s": value for name, value in alone.items()},
                "start-up s": start["wall"],
                "wall s": whole["wall"],
                "(wall - start-up) / (CPU / cores)": (whole["wall"] - start["wall"]) / (cpu / cores),
                "engine CPU / CPU": (whole["cpu"] - start["cpu"]) / cpu,
            }
        )
        yield rows[-1]
    median = {name: statistics.median(row[name] for row in rows) for name in rows[0]}
    yield {"split": str(prepared.split), "clips": whole["clips"], "median of": times, **median}


def _timed(prepared: run.Prepared, chosen: Sequence[Video]) -> dict[str, float]:
    """Wall and CPU seconds from nothing to the last outcome; with one video, that is what start-up takes."""
    load = Load(Classify(prepared.settings, prepared.choice.spec), prepared.split, prepared.settings.batch_size)
    begun = time.monotonic()
    with RayPool(load) as pool:
        clips = 0
        for outcome in drive(pool, chosen):
            clips += outcome.row["clips"]
            wall, cpu = time.monotonic() - begun, _tree_cpu()
    return {"wall": wall, "cpu": cpu, "clips": clips}


class Null(Classify):
    """The whole task but for the model: what is left is what the engine itself takes."""

    def load(self) -> Any:
        return None

    def score(self, model: Any, frames: Any) -> Any:
        import numpy as np

        return np.full((len(frames), self.spec.classes), 1 / self.spec.classes, np.float32)


def memory(folder: Path, request: run.Request) -> Iterator[Result]:
    """Peak PSS of the process tree, the object store's shared memory in it, sampled ten times a second."""
    run.Classify = Null  # type: ignore[misc]
    yield from _by_length(folder, request, {"10min": 10, "2h": 120})


def localize(folder: Path, request: run.Request) -> Iterator[Result]:
    """Wall time and peak memory as above, of the whole way from a raw video to its segments; nothing is cached."""
    yield from _by_length(folder, replace(request, command="localize"), {"10min": 10, "60min": 60})


def _by_length(folder: Path, request: run.Request, lengths: Mapping[str, int]) -> Iterator[Result]:
    for name, minutes in lengths.items():
        home = folder / name
        home.mkdir()
        _long(home / f"{name}.mp4", minutes)
        with _peak() as peak:
            begun = time.monotonic()
            done = list(run.execute(run.prepare(replace(request, inputs=(str(home),))), run.Nowhere()))
            wall = time.monotonic() - begun
        row = done[0].row
        yield {
            "video": name,
            "status": row["status"],
            "clips": row["clips"],
            "wall s": wall,
            "x real time": row["duration"] / wall,
            "decode CPU s": row["seconds_decode"],
            "model s": row["seconds_model"],
            **{f"peak {what} MB": size / 2**20 for what, size in peak.items()},
        }


def first(folder: Path, request: run.Request, times: int = 5) -> Iterator[Result]:
    """``vidact classify one.mp4``: a new process each time, from its start to the first line of its output."""
    path = make(folder / "one.mp4", frames=125, fps=25, size=(480, 360))
    command = [sys.executable, "-m", "vidact", "classify", str(path), "-o", "-", "-q"]
    command += ["--model", request.model] if request.model else []
    command += ["--checkpoint", request.checkpoint] if request.checkpoint else []
    seconds = []
    for _ in range(times):
        begun = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds.append(time.monotonic() - begun)
            process.stdout.read()
        json.loads(line)
    yield {"runs": times, "median s": sorted(seconds)[times // 2], "best s": min(seconds), "worst s": max(seconds)}
    yield _phases(replace(request, inputs=(str(path),)))


def _phases(request: run.Request) -> Result:
    """What the seconds are spent on, inside one process that has imported nothing yet but this file."""
    begun = time.monotonic()
    prepared = run.prepare(request)
    found = {"prepare s": time.monotonic() - begun}
    load = Load(Classify(prepared.settings, prepared.choice.spec), prepared.split, prepared.settings.batch_size)
    begun = time.monotonic()
    with RayPool(load) as pool:
        decoder = pool.start("decoder")
        found["Ray s"] = time.monotonic() - begun
        for name, worker, method in (("decoder", decoder, "hello"), ("model", pool.start("scorer"), "load")):
            begun = time.monotonic()
            call = pool.submit(worker, method)
            while not pool.wait([call], 60.0):
                pass
            found[f"{name} up s"] = time.monotonic() - begun
        begun = time.monotonic()
        _first(drive(pool, prepared.found.videos))
        found["second workers and first video s"] = time.monotonic() - begun
    return found


def idle(folder: Path, request: run.Request, count: int = 40_000) -> Iterator[Result]:
    """A cron job with nothing to do, as a process: start, find, compare, close."""
    home, out = folder / "in", str(folder / "out")
    home.mkdir()
    for n in range(count):
        (home / f"{n:06}.mp4").touch()
    prepared = run.prepare(replace(request, inputs=(str(home),), out=out))
    store = RunDir.open(out, prepared.settings)
    for video in prepared.found.videos:
        row = {"video": video.video, "size": video.size, "mtime_ns": video.mtime_ns, "status": "ok", "attempts": 1}
        store.add(Outcome(video, row, {}))
    store.close({})
    command = [sys.executable, "-m", "vidact", "classify", str(home), "-o", out, "-q"]
    command += ["--model", request.model] if request.model else []
    command += ["--checkpoint", request.checkpoint] if request.checkpoint else []
    seconds = []
    for _ in range(5):
        begun = time.monotonic()
        subprocess.run(command, check=True)
        seconds.append(time.monotonic() - begun)
    yield {"videos": count, "median s": sorted(seconds)[2], "worst s": max(seconds)}


def alone(folder: Path, request: run.Request) -> dict[str, float]:
    """CPU seconds of this process for decoding every clip, and for scoring as many, with one thread.

    The model runs as it does in the engine: its threads and its memory are set up by the same lines.
    """
    prepared = run.prepare(replace(request, inputs=(str(folder),)))
    task, batch = Classify(prepared.settings, prepared.choice.spec), prepared.settings.batch_size
    import numpy as np

    clips, begun = [], time.process_time()
    for video in prepared.found.videos:
        opened = task.open(video)
        with task.read(opened, opened.chunks[0], 1) as reader:
            clips += [row.frames for row in reader if row is not None]
    decode = time.process_time() - begun
    model = Scorer(task, batch, 1)
    model.load()
    frames = np.concatenate(clips)
    model.score([(0, 0, batch)], frames)
    begun = time.process_time()
    model.score([(0, 0, len(frames))], frames)
    return {"decode": decode, "model": time.process_time() - begun}


def _children_cpu(what: str, folder: str, request: run.Request) -> dict[str, float]:
    command = [sys.executable, __file__, what, "--folder", folder]
    command += ["--model", request.model] if request.model else []
    command += ["--checkpoint", request.checkpoint] if request.checkpoint else []
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _tree_cpu() -> float:
    """CPU seconds of this process and of those below it that live."""
    me = psutil.Process()
    return sum(sum(process.cpu_times()[:2]) for process in (me, *me.children(recursive=True)))


def _first(outcomes: Iterator[Outcome]) -> float:
    for _ in outcomes:
        return time.monotonic()
    raise ValueError("no outcome")


def _long(path: Path, minutes: int) -> None:
    """A video of this length made of one minute, over and over: packets are copied, not encoded again."""
    import av

    minute = make(path.with_name("minute.mp4"), frames=60 * 25, fps=25, size=(480, 360))
    with av.open(str(path), "w") as out:
        stream, shift = None, 0
        for _ in range(minutes):
            with av.open(str(minute)) as source:
                packets = [packet for packet in source.demux(video=0) if packet.size]
                if stream is None:
                    stream = out.add_stream_from_template(source.streams.video[0])
                length = sum(packet.duration for packet in packets)
                for packet in packets:
                    packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                    out.mux(packet)
                shift += length
    minute.unlink()


@contextmanager
def _peak() -> Iterator[dict[str, int]]:
    """Watches this process tree: total PSS, the part of it that is the model's process, and the store."""
    peak = {"PSS": 0, "model process": 0, "store": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.1):
            sizes: dict[str, int] = {"PSS": 0, "model process": 0, "store": 0}
            me = psutil.Process()
            for process in (me, *me.children(recursive=True)):
                try:
                    size = process.memory_full_info().pss
                    name = process.name()
                    shared = process.memory_info().shared
                except (psutil.Error, OSError):
                    continue
                sizes["PSS"] += size
                sizes["model process"] += size if name.startswith("ray::Scorer") else 0
                sizes["store"] += shared if name == "raylet" else 0
            for what, size in sizes.items():
                peak[what] = max(peak[what], size)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield peak
    finally:
        ended.set()
        watcher.join()


BENCHMARKS = {"driver": driver, "short": short, "memory": memory, "first": first, "idle": idle, "localize": localize}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=[*BENCHMARKS, "all", "_alone"])
    parser.add_argument("--model")
    parser.add_argument("--checkpoint")
    parser.add_argument("--decoders", type=int)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--count", type=int, help="videos, instead of the number named above")
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    given = parser.parse_args()
    request = run.Request(
        model=given.model, checkpoint=given.checkpoint, decoders=given.decoders, workers=given.workers
    )
    if given.what == "_alone":
        print(json.dumps(alone(Path(given.folder), request)))
        return
    print(f"{machine.cpus()} cores, load {os.getloadavg()[0]:.1f} at the start")
    for name in BENCHMARKS if given.what == "all" else [given.what]:
        with tempfile.TemporaryDirectory() as folder:
            options = {"count": given.count} if given.count else {}
            for result in BENCHMARKS[name](Path(folder), request, **options):  # type: ignore[operator]
                shown = (
                    f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
                    for key, value in result.items()
                )
                print(f"{name}: " + ", ".join(shown), flush=True)


if __name__ == "__main__":
    main()
