"""What 16-bit numbers change: logits and top-1 beside float32 on the same clips of real videos, run by hand.

    python tests/benchmarks/bench_precision.py VIDEOS [VIDEOS ...] [--clips 200] [--device cpu] [--network NAME ...]

Videos (folders or files) are decoded as ``vidact classify`` decodes them, into clips that overlap until there are
enough; every clip is given to the network in float32 and in each 16-bit type (bfloat16, on a GPU float16 too;
``--dtypes`` names others). Differences are in units of the standard deviation of the float32 logits.

Only the bundled network is trained. The others have the made-up weights of the records in tests/golden: their
differences tell how rounding travels through a network, but their top-1 tells how often two nearly equal numbers change
places, not what accuracy loses. One class would win every clip there: of each class the mean over the clips is
subtracted, from either kind of numbers its own, before the largest logit is looked for. ``gap`` says how near two
labels that changed places were at most: the difference of their float32 logits. ``labels`` counts the different labels
that float32 ranks first. Needs no network.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vidact.engine import machine
from vidact.engine.run import Prepared, Request, prepare
from vidact.errors import VideoError
from vidact.tasks.classify import Classify, Opened

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from models.golden import Record

RECORDS = {
    "attention-r3d-10.camera-motion-1": None,
    "r3d-18": "kh_r3d_18_k700",
    "x3d-xs": "psf_x3d_xs",
    "tsm-mobilenetv2": "mma_tsm_mobilenetv2",
    "videomae-s16": "videomae_vit_small",
}
"""The record whose rule fills each network; None: bundled weights."""
BATCH = 4
HEADER = """\
| network | weights | numbers | clips | labels | max difference | mean | same top-1 | gap |
|---|---|---|---|---|---|---|---|---|"""
NOTE = """\
Made-up weights are not trained: top-1 is there of logits less their mean over the clips, and tells how often two
nearly equal numbers change places."""


def prepared(name: str, options: argparse.Namespace, folder: str) -> Prepared:
    """The run ``vidact classify`` would make of the videos with this network."""
    record = RECORDS[name]
    checkpoint = None if record is None else str(Record(record).write_checkpoint(Path(folder)))
    model = name if record is None else Record(record).model
    return prepare(Request(tuple(options.videos), model=model, checkpoint=checkpoint, device=options.device, workers=0))


def laid_out(run: Prepared, count: int) -> list[Opened]:
    """The videos that can be opened, with clips begun so often that there are ``count`` and some to spare."""
    spec = run.choice.spec
    assert spec is not None
    stride = spec.sampling.frames * spec.sampling.stride / spec.sampling.fps
    while True:
        task = Classify(replace(run.settings, stride_seconds=stride), spec)
        opened = []
        for video in run.found.videos:
            with suppress(VideoError):
                opened.append(task.open(video))
        clips = sum(one.outline.rows for one in opened)
        if not opened or clips >= 1.06 * count:
            return opened
        stride *= min(0.95, clips / (1.06 * count))


def batches(task: Classify, opened: Sequence[Opened]) -> Iterator[np.ndarray[Any, np.dtype[np.uint8]]]:
    """uint8 (B, T, h, w, 3): every clip of every video, as it is decoded."""
    waiting: list[np.ndarray[Any, np.dtype[np.uint8]]] = []
    for video in opened:
        for chunk in video.chunks:
            with suppress(VideoError), task.read(video, chunk, 1) as reader:
                for decoded in reader:
                    waiting += list(decoded.frames) if decoded else []
                    if len(waiting) >= BATCH:
                        yield np.stack(waiting)
                        waiting = []
    if waiting:
        yield np.stack(waiting)


def logits(run: Prepared, opened: Sequence[Opened], dtypes: Sequence[str]) -> dict[str, Tensor]:
    """The logits (clips, classes) in each kind of numbers, of the same clips."""
    assert run.choice.spec is not None
    tasks = {dtype: Classify(replace(run.settings, dtype=dtype), run.choice.spec) for dtype in dtypes}
    models = {dtype: task.load() for dtype, task in tasks.items()}
    found: dict[str, list[Tensor]] = {dtype: [] for dtype in dtypes}
    for frames in batches(tasks[dtypes[0]], opened):
        for dtype, task in tasks.items():
            model = models[dtype]
            found[dtype].append(model(task.pictures.clips(model, frames)).double().cpu())
    return {dtype: torch.cat(parts) for dtype, parts in found.items()}


def told(exact: Tensor, rounded: Tensor, *, made_up: bool) -> str:
    """The columns of a row: labels, how far ``rounded`` (clips, classes) lies from ``exact``, how often it matters."""
    unit = exact.std()
    apart = (rounded - exact).abs() / unit
    if made_up:
        exact, rounded = exact - exact.mean(dim=0), rounded - rounded.mean(dim=0)
    first, now = exact.argmax(1, keepdim=True), rounded.argmax(1, keepdim=True)
    gaps = ((exact.gather(1, first) - exact.gather(1, now)) / unit).squeeze(1)
    same = (first == now).double().mean().item()
    gap = f"{gaps.max().item():.4f}" if same < 1 else ""
    found = f"{apart.max().item():.4f} | {apart.mean().item():.4f} | {100 * same:.1f} % | {gap}"
    return f"{len(first.unique())} | {found}"


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", nargs="+", metavar="VIDEOS")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--device", default="cpu", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--dtypes", nargs="+", choices=("bfloat16", "float16"))
    parser.add_argument("--network", nargs="+", default=list(RECORDS), choices=list(RECORDS), metavar="NAME")
    options = parser.parse_args()
    on_gpu = machine.device(options.device) == "cuda"
    dtypes = options.dtypes or (["bfloat16", "float16"] if on_gpu else ["bfloat16"])
    print(HEADER, flush=True)
    for name in options.network:
        with tempfile.TemporaryDirectory() as folder:
            run = prepared(name, options, folder)
            found = logits(run, laid_out(run, options.clips), ["float32", *dtypes])
        exact, made_up = found["float32"], RECORDS[name] is not None
        weights = "made up" if made_up else "trained"
        for dtype in dtypes:
            row = told(exact, found[dtype], made_up=made_up)
            print(f"| {name} | {weights} | {dtype} | {len(exact)} | {row} |", flush=True)
    print(f"\n{NOTE}")


if __name__ == "__main__":
    main()
