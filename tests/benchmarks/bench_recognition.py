"""Speed of recognition networks beside their original implementations, run by hand.

    python tests/benchmarks/bench_recognition.py [NETWORK ...] [--pytorchvideo FOLDER] [--i3d FOLDER] [--others FILE]

Clips a second and the memory a forward adds, at batch 1 and at the best batch, in float32 and bfloat16, on one thread.
The originals come from the installed transformers, from checkouts of facebookresearch/pytorchvideo and
piergiaj/pytorch-i3d, and from FILE: Python whose functions, named like the networks with underscores, return an
original that takes (B, C, T, H, W). Ours is built from the original's own random tensors, so that both compute the
same, which is checked. Both run in turn, and the ratio is of the processor time of this process: other load on the
machine moves both alike. Needs no network.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import importlib.util
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vidact.models.build import load_strictly
from vidact.models.networks import NETWORKS
from vidact.models.recognizer import Recognizer
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


def same_network(name: str, made: nn.Module | None, dtype: str) -> Recognizer | None:
    """Ours, of the original's tensors."""
    if made is None:
        return None
    inner = made.network if isinstance(made, Pathways | TimeFirst) else made
    state = {key: value.clone() for key, value in inner.state_dict().items()}  # type: ignore[union-attr]
    network, own = importlib.import_module(NETWORKS[name]).from_state(name, state, {})
    load_strictly(network, own, name)
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


@contextmanager
def added_memory(found: list[float]) -> Iterator[None]:
    """Appends the MiB by which the peak of this process rose; 0 when an earlier peak was higher."""
    gc.collect()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    found.append((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def compare(name: str, options: argparse.Namespace) -> None:
    """Print the rows of one network."""
    made = original(name, options)
    if made is None:
        print(f"{name:18s} original not at hand", flush=True)
        return
    settled(made)
    for dtype in ("float32", "bfloat16"):
        ours = same_network(name, made, dtype)
        assert ours is not None
        made.to(ours.dtype)
        batches = options.batches
        rates = {batch: row(name, dtype, batch, ours, made, options.repeat) for batch in batches}
        best = max(rates, key=lambda batch: rates[batch])
        print(f"{name:18s} {dtype:9s} best batch {best}: {rates[best]:.2f} clips/s", flush=True)
    made.float()


def row(name: str, dtype: str, batch: int, ours: Recognizer, made: nn.Module, repeat: int) -> float:
    """One line of the table; returns our clips a second of processor time."""
    clips = torch.randn(batch, len(ours.spec.mean), *CLIPS[name], generator=torch.Generator().manual_seed(1))
    clips = clips.to(ours.dtype)
    peaks: list[float] = []
    with torch.inference_mode():
        with added_memory(peaks):
            mine = ours(clips)
        try:
            with added_memory(peaks):
                theirs = made(clips)
        except NotImplementedError as error:
            fastest = min(seconds(lambda: ours(clips)) for _ in range(repeat))
            why = str(error).splitlines()[0]
            print(
                f"{name:18s} {dtype:9s} batch {batch}  ours {batch / fastest:6.2f} clips/s  original: {why}", flush=True
            )
            return batch / fastest
        pairs = [(seconds(lambda: ours(clips)), seconds(lambda: made(clips))) for _ in range(repeat)]
    theirs = theirs.float() if theirs.ndim == 2 else theirs.float().mean(dim=2)
    if dtype == "float32" and name != "r2plus1d-r50":  # pytorchvideo's gives probabilities
        apart = ((mine - theirs).abs().max() / theirs.std()).item()
        assert apart < 1e-3, f"{name} differs from its original by {apart:.1e}"
    best = [min(times) for times in zip(*pairs, strict=True)]
    print(
        f"{name:18s} {dtype:9s} batch {batch}  ours {batch / best[0]:6.2f} clips/s  original {batch / best[1]:6.2f}  "
        f"ratio {best[1] / best[0]:.2f}  memory added {peaks[0]:.0f} MiB (original, after ours: {peaks[1]:.0f})",
        flush=True,
    )
    return batch / best[0]


def main() -> None:
    """Read the command line and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=list(CLIPS), metavar="NETWORK")
    parser.add_argument("--pytorchvideo", metavar="FOLDER")
    parser.add_argument("--i3d", metavar="FOLDER")
    parser.add_argument("--others", metavar="FILE")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeat", type=int, default=3)
    options = parser.parse_args()
    sys.path += [folder for folder in (options.pytorchvideo, options.i3d) if folder]
    warnings.simplefilter("ignore")
    if options.others:
        spec = importlib.util.spec_from_file_location("others", Path(options.others))
        assert spec is not None and spec.loader is not None
        options.others = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(options.others)
    torch.set_num_threads(1)
    for name in options.networks:
        compare(name, options)
        gc.collect()


if __name__ == "__main__":
    main()
