"""Speed of recognition networks beside their original implementations, run by hand.

    python tests/benchmarks/bench_recognition.py [NETWORK ...] [--pytorchvideo FOLDER] [--i3d FOLDER] [--others FILE]

Clips a second of processor time and peak memory (weights and what a forward adds to the process), for several batch
sizes, in float32 and bfloat16, on one thread.
The originals come from the installed transformers, from checkouts of facebookresearch/pytorchvideo and
piergiaj/pytorch-i3d, and from FILE: Python whose functions, named like the networks with underscores, return an
original that takes (B, C, T, H, W). Ours is built from the original's own random tensors, so that both compute the
same, which is checked; one that cannot compute in bfloat16 is timed in float32, with --exact any is. Both run in turn
and the ratio is the median over the turns: other load on the machine moves both alike. Needs no network.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import importlib.util
import multiprocessing
import os
import resource
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidact.engine.worker import _keep_freed_memory
from vidact.models.build import fold_norms, load_strictly
from vidact.models.networks import NETWORKS
from vidact.models.recognizer import DTYPES, Recognizer
from vidact.models.zoo import spec_of

Shape = tuple[int, int, int]
CLIPS: dict[str, Shape] = {
    "i3d": (32, 224, 224),
    "slowfast-r50-8x8": (32, 224, 224),
    "slow-r50-8x8": (8, 224, 224),
    "x3d-m": (16, 224, 224),
    "mvitv2-s-16x4": (16, 224, 224),
    "videomae-b16": (16, 224, 224),
    "swin3d-t": (32, 224, 224),
    "timesformer-b16": (8, 224, 224),
    "r2plus1d-r50": (16, 224, 224),
    "csn-r101": (32, 224, 224),
    "tsm-r50": (8, 224, 224),
    "c3d": (16, 112, 112),
}
"""Frames, height and width of the clips of each network."""
HUB = {
    "slowfast-r50-8x8": "slowfast_r50",
    "slow-r50-8x8": "slow_r50",
    "x3d-m": "x3d_m",
    "r2plus1d-r50": "r2plus1d_r50",
    "csn-r101": "csn_r101",
}
ALPHA = 4
"""Fast frames for each slow one of SlowFast 8x8."""


class Pathways(nn.Module):
    """An original SlowFast that picks its slow frames itself, as ours does."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Any:
        """(B, C, T, H, W) → what the original gives."""
        frames = clips.shape[2]
        slow = torch.linspace(0, frames - 1, frames // ALPHA).long()
        return self.network([clips[:, :, slow], clips])


class TimeFirst(nn.Module):
    """A network of transformers, fed (B, C, T, H, W)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) → logits."""
        logits: Tensor = self.network(clips.transpose(1, 2)).logits
        return logits


def from_transformers(name: str) -> nn.Module:
    """VideoMAE and TimeSformer as the installed transformers make them, with their default (fused) attention."""
    transformers = importlib.import_module("transformers")
    if name == "videomae-b16":
        config = transformers.VideoMAEConfig(num_labels=400)
        return TimeFirst(transformers.VideoMAEForVideoClassification(config))
    return TimeFirst(transformers.TimesformerForVideoClassification(transformers.TimesformerConfig(num_labels=400)))


def original(name: str, options: argparse.Namespace) -> nn.Module | None:
    """The original network with random weights, or None where it is not at hand."""
    if name in ("videomae-b16", "timesformer-b16"):
        return from_transformers(name)
    if name in HUB and options.pytorchvideo:
        network: nn.Module = getattr(importlib.import_module("pytorchvideo.models.hub"), HUB[name])(False)
        return Pathways(network) if name.startswith("slowfast") else network
    if name == "i3d" and options.i3d:
        made: nn.Module = importlib.import_module("pytorch_i3d").InceptionI3d(400)
        return made
    function = getattr(options.others, name.replace("-", "_"), None)
    found: nn.Module | None = None if function is None else function()
    return found


def same_network(name: str, made: nn.Module, dtype: str) -> Recognizer:
    """Ours, of the original's tensors."""
    inner = made.network if isinstance(made, Pathways | TimeFirst) else made
    state = {key: value.clone() for key, value in inner.state_dict().items()}  # type: ignore[union-attr]
    network, own = importlib.import_module(NETWORKS[name]).from_state(name, state, {})
    load_strictly(network, own, name)
    fold_norms(network)  # as `vidact classify` does
    spec = spec_of(name, state)
    assert spec is not None
    return Recognizer(network, spec, dtype=dtype)


def settled(made: nn.Module) -> nn.Module:
    """Norms that have seen something, so that differences between two networks would show."""
    torch.manual_seed(0)
    for key, value in made.state_dict().items():
        if key.endswith("running_var"):
            value.uniform_(0.5, 1.5)
        elif key.endswith("running_mean"):
            value.normal_(0, 0.1)
    return made.eval().requires_grad_(False)


def seconds(run: Callable[[], Any]) -> float:
    """Processor time of one call."""
    begin = time.process_time()
    run()
    return time.process_time() - begin


def pairs(ours: Callable[[], Any], theirs: Callable[[], Any], options: argparse.Namespace) -> list[tuple[float, float]]:
    """Seconds of both, in turn, each as often first as second: as often as --repeat and --seconds allow."""
    found: list[tuple[float, float]] = []
    end = time.monotonic() + options.seconds
    while len(found) < options.repeat and (not found or time.monotonic() < end):
        if len(found) % 2:
            their_time, our_time = seconds(theirs), seconds(ours)
        else:
            our_time, their_time = seconds(ours), seconds(theirs)
        found.append((our_time, their_time))
    return found


def peak(network: Recognizer | nn.Module, clips: Tensor) -> float:
    """MiB of the weights, and by which one call raises the peak of a fresh copy of this process."""
    inner = network.network if isinstance(network, Recognizer) else network
    first = next(inner.parameters())
    clips = clips.to(first.dtype)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        network(clips)
        os.write(writer, str(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        rise = int(answer.read())
    os.waitpid(child, 0)
    return sum(value.nbytes for value in inner.state_dict().values()) / (1 << 20) + rise / 1024


@torch.inference_mode()
def compare(name: str, options: argparse.Namespace) -> None:
    """Print the rows of one network: memory first, while the heap is untouched, then time."""
    made = original(name, options)
    if made is None:
        print(f"| {name} | original not at hand |", flush=True)
        return
    settled(made)
    ours = {dtype: same_network(name, made, dtype) for dtype in options.dtypes}
    theirs = {dtype: made if options.exact else in_numbers(name, made, dtype) for dtype in options.dtypes}
    rows = [(dtype, batch) for dtype in options.dtypes for batch in options.batches]
    peaks = {row: [peak(network[row[0]], noise(name, row[1])) for network in (ours, theirs)] for row in rows}
    _keep_freed_memory()  # as the processes do in which vidact runs models
    for dtype, batch in rows:
        speed = timed(name, ours[dtype], theirs[dtype], noise(name, batch), options)
        memory = " | ".join(f"{value:.0f}" for value in peaks[dtype, batch])
        print(f"| {name} | {dtype} | {batch} | {speed} | {memory} |", flush=True)


def in_numbers(name: str, made: nn.Module, dtype: str) -> nn.Module:
    """The original in ``dtype``, or as it is where it cannot compute in that."""
    if dtype == "float32":
        return made
    short = copy.deepcopy(made).to(DTYPES[dtype])
    try:
        short(noise(name, 1).to(DTYPES[dtype]))
    except (NotImplementedError, RuntimeError):
        return made
    return short


def noise(name: str, batch: int) -> Tensor:
    """Clips (B, C, T, H, W) for a network."""
    return torch.randn(batch, 3, *CLIPS[name], generator=torch.Generator().manual_seed(1))


def timed(name: str, ours: Recognizer, theirs: nn.Module, clips: Tensor, options: argparse.Namespace) -> str:
    """Clips a second of processor time, ours and the original's, and their ratio: medians."""
    their_dtype = next(theirs.parameters()).dtype
    own, given = clips.to(ours.dtype), clips.to(their_dtype)
    mine, answer = ours(own), theirs(given)
    answer = answer.float() if answer.ndim == 2 else answer.float().mean(dim=2)
    if ours.dtype == torch.float32 and name != "r2plus1d-r50":  # pytorchvideo's gives probabilities
        apart = ((mine - answer).abs().max() / answer.std()).item()
        assert apart < 1e-3, f"{name} differs from its original by {apart:.1e}"
    found = pairs(lambda: ours(own), lambda: theirs(given), options)
    rates = [len(clips) / statistics.median(times) for times in zip(*found, strict=True)]
    ratio = statistics.median(their_time / our_time for our_time, their_time in found)
    mark = "" if ours.dtype == their_dtype else " (float32)"
    return f"{rates[0]:.2f} | {rates[1]:.2f}{mark} | {ratio:.2f}"


HEADER = """\
| network | numbers | batch | clips/s | original | ratio | peak MiB | original |
|---|---|---|---|---|---|---|---|"""


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(CLIPS), metavar="NETWORK")
    parser.add_argument("--pytorchvideo", metavar="FOLDER")
    parser.add_argument("--i3d", metavar="FOLDER")
    parser.add_argument("--others", metavar="FILE")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=("float32", "bfloat16"))
    parser.add_argument("--exact", action="store_true", help="time originals in float32, also beside ours in bfloat16")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60, help="begin no further repeat of a row after so long")
    options = parser.parse_args()
    sys.path += [folder for folder in (options.pytorchvideo, options.i3d) if folder]
    warnings.simplefilter("ignore")
    if options.others:
        spec = importlib.util.spec_from_file_location("others", Path(options.others))
        assert spec is not None and spec.loader is not None
        options.others = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(options.others)
    torch.set_num_threads(1)
    print(HEADER, flush=True)
    for name in options.networks:  # each in a process of its own: what one leaves on the heap would change the next
        child = multiprocessing.get_context("fork").Process(target=compare, args=(name, options))
        child.start()
        child.join()
        if child.exitcode:
            sys.exit(f"{name} failed")


if __name__ == "__main__":
    main()
