"""Make camera-motion clips from any directory of pictures and videos, and train the bundled model on them: one command.

    python examples/camera_motion/train.py --sources DIR --output DIR --minutes 100

Processes of their own draw clips without end; the newest few thousand stay in memory, and trainers draw batches from
them, each clip mirrored, turned over, played backwards or transposed at random with its label changed to match (a pan
to the left played backwards is a pan to the right). Every few minutes the averaged weights are tried on clips made
from sources held out of the training.
"""

from __future__ import annotations

import argparse
import mmap
import multiprocessing
import os
import random
import shutil
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent))

from generate import LABELS, GeneratedClips
from sources import PICTURES, VIDEOS, Sources

from vidact.models.recognition.attention_r3d import AttentionR3D
from vidact.records import Geometry, Sampling, Spec
from vidact.training.classifier import Batch, Trainer
from vidact.training.loop import Recipe, Round
from vidact.training.peers import Peers

NETWORK: dict[str, Any] = {
    "depth": 10,
    "width": 16,
    "attention": True,
    "reduction": 8,
    "stem": [5, 7, 7],
    "stem_stride": [1, 4, 4],
    "stem_pool": False,
}
NAME = "attention-r3d-10.camera-motion-1"
SPEC = Spec(
    name=NAME,
    architecture="attention-r3d-10",
    sampling=Sampling(frames=16, stride=1, fps=12.0),
    geometry=Geometry(size=(96, 96), resize="squash", short_side=96),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    labels=tuple(LABELS),
    classes=len(LABELS),
    feature_dimension=128,
    licence="Apache-2.0",
    network=NETWORK,
    notes="camera motion and shot transitions; knows no human actions",
)

SWAPS: dict[str, tuple[tuple[str, str], ...]] = {
    "mirror": (("pan-left", "pan-right"), ("roll-clockwise", "roll-counterclockwise")),
    "upside-down": (("tilt-up", "tilt-down"), ("roll-clockwise", "roll-counterclockwise")),
    "backwards": (
        ("pan-left", "pan-right"),
        ("tilt-up", "tilt-down"),
        ("zoom-in", "zoom-out"),
        ("roll-clockwise", "roll-counterclockwise"),
    ),
    "transpose": (
        ("pan-left", "tilt-up"),
        ("pan-right", "tilt-down"),
        ("roll-clockwise", "roll-counterclockwise"),
    ),
}


def swap_table(kind: str) -> list[int]:
    """The label number a clip has after the change ``kind``, by its label number before."""
    table = list(range(len(LABELS)))
    for one, other in SWAPS[kind]:
        a, b = LABELS.index(one), LABELS.index(other)
        table[a], table[b] = b, a
    return table


TABLES = {kind: swap_table(kind) for kind in SWAPS}


def change(clip: np.ndarray, label: int, kinds: Iterable[str]) -> tuple[np.ndarray, int]:
    """A clip (T, H, W, 3) mirrored, turned over, reversed or transposed, and the label it has then."""
    for kind in kinds:
        if kind == "mirror":
            clip = clip[:, :, ::-1]
        elif kind == "upside-down":
            clip = clip[:, ::-1]
        elif kind == "backwards":
            clip = clip[::-1]
        else:
            clip = clip.swapaxes(1, 2)
        label = TABLES[kind][label]
    return clip, label


def draw_for_ever(sources: Sources, seed: int, ring: Ring, part: int) -> None:
    """Body of a generating process: keep its part of the ring fresh, no faster than clips are used up."""
    # The trainer goes first: its threads wait for one another, and a late one costs both.
    os.nice(10)
    clips, epoch = GeneratedClips(sources, seed=seed, epoch_size=10_000), 0
    while True:
        clips.set_epoch(epoch)
        for index in range(len(clips)):
            while ring.enough(part):
                time.sleep(0.05)
            ring.write(part, *clips[index])
        epoch += 1


def split(directory: str, output: Path, held_out: float) -> tuple[Path, Path]:
    """Two folders of links under ``output``, for training and for validation: the same split every time."""
    files = sorted(
        p for p in Path(directory).resolve().rglob("*") if p.is_file() and p.suffix.lower() in PICTURES | VIDEOS
    )
    if not files:
        raise SystemExit(f"no picture or video in {directory!r}: name another directory with --sources")
    chosen = set(random.Random(0).sample(range(len(files)), round(held_out * len(files))))
    sides = output / "sources" / "train", output / "sources" / "validation"
    for side, folder in enumerate(sides):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for index, file in enumerate(files):
            if (index in chosen) == bool(side):
                (folder / f"{index:06d}{file.suffix}").symlink_to(file)
    return sides


class Ring:
    """The newest clips in memory shared by all processes; each generator writes its own part, oldest place first."""

    def __init__(self, size: int, parts: int, repeat: float) -> None:
        self.size, self.parts, self.repeat = size // parts, parts, repeat
        self.ahead = min(2000, size // 4)  # clips made before the first batch and kept ahead
        self.clips = _shared((parts, self.size, 16, 96, 96, 3), np.uint8)
        self.labels = _shared((parts, self.size), np.int64)
        self.made = _shared((parts,), np.int64)
        self.drawn = _shared((8,), np.int64)  # one count for each trainer

    def enough(self, part: int) -> bool:
        """Whether the clips of this part have not been drawn ``repeat`` times yet, the first ones aside."""
        return bool((self.made[part] - self.ahead // self.parts) * self.parts * self.repeat > self.drawn.sum())

    def write(self, part: int, clip: np.ndarray, label: int) -> None:
        """Replace the oldest clip of the part; only then count it."""
        place = self.made[part] % self.size
        self.clips[part, place], self.labels[part, place] = clip, label
        self.made[part] += 1

    def ready(self) -> bool:
        """Whether a batch may be drawn: at the start, and when the generators cannot keep up, it is better to wait."""
        enough = int(self.made.min()) * self.parts >= self.ahead // 2
        return enough and self.drawn.sum() < 2 * self.repeat * self.made.sum()

    def draw(self, rng: np.random.Generator, rank: int) -> tuple[np.ndarray, int]:
        """Any clip but those about to be overwritten, for trainer number ``rank``."""
        part = int(rng.integers(self.parts))
        made = int(self.made[part])
        back = int(rng.integers(1, min(made, self.size - 16) + 1))
        place = (made - back) % self.size
        self.drawn[rank] += 1
        return self.clips[part, place], int(self.labels[part, place])


def _shared(shape: tuple[int, ...], kind: Any) -> np.ndarray:
    """An array of zeros that forked processes share."""
    count = int(np.prod(shape))
    return np.frombuffer(mmap.mmap(-1, count * np.dtype(kind).itemsize), dtype=kind, count=count).reshape(shape)


class Clips:
    """The ``Data`` of the trainers: starts the generators, draws batches from the ring, keeps the validation clips."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.rank = args, 0
        self.rng = np.random.default_rng(args.seed)
        train, self.validation = split(args.sources, Path(args.output), args.held_out)
        self.ring = Ring(args.reservoir, args.generators, args.repeat)
        # Forked, so that the processes share the loaded sources; no thread may have started before, OpenCV's included.
        cv2.setNumThreads(1)
        context = multiprocessing.get_context("fork")
        sources = Sources.load(train, budget_mb=args.budget_mb)
        jobs = [(sources, args.seed * 1000 + part, self.ring, part) for part in range(args.generators)]
        self.generators = [context.Process(target=draw_for_ever, args=job, daemon=True) for job in jobs]
        for generator in self.generators:
            generator.start()
        self._validation: list[Batch] = []

    def serve(self, rank: int) -> None:
        """Be the data of trainer number ``rank``, in its own process; the first one makes the validation clips."""
        self.rank, self.rng = rank, np.random.default_rng((self.args.seed, rank))
        if rank == 0:
            self._validation = self._draw_validation()

    def _draw_validation(self) -> list[Batch]:
        sources = Sources.load(self.validation, budget_mb=self.args.budget_mb // 4)
        made = GeneratedClips(sources, seed=10_000 + self.args.seed, epoch_size=self.args.validation)
        rows = [made[index] for index in range(len(made))]
        return [
            (torch.from_numpy(np.stack([c for c, _ in part])), torch.tensor([int(k) for _, k in part]))
            for part in (rows[i : i + 64] for i in range(0, len(rows), 64))
        ]

    def steps(self) -> int:
        """Batches in a round."""
        return int(self.args.round_steps)

    def held_out(self) -> list[Batch]:
        """The validation clips."""
        return self._validation

    def batches(self, number: int, skip: int) -> Iterator[Batch]:
        """One round; ``number`` does not matter, clips are never made twice."""
        for _ in range(skip, self.steps()):
            while not self.ring.ready():
                if self.rank == 0 and not all(generator.is_alive() for generator in self.generators):
                    raise SystemExit("a process that makes clips has died; its message stands above")
                time.sleep(0.05)
            yield self._batch(self.args.batch_size // self.args.trainers)

    def _batch(self, size: int) -> Batch:
        clips, labels = np.empty((size, 16, 96, 96, 3), np.uint8), np.empty(size, np.int64)
        for position in range(size):
            kinds = [k for k in SWAPS if self.rng.random() < (0.25 if k == "transpose" else 0.5)]
            clips[position], labels[position] = change(*self.ring.draw(self.rng, self.rank), kinds)
        return torch.from_numpy(clips), torch.from_numpy(labels)


def report(trainer: Trainer, data: Clips, row: Round) -> None:
    """One line a round, and the labels that are still hard."""
    recall = (trainer.confusion.diagonal() / trainer.confusion.sum(1).clamp(min=1)).tolist()
    hard = ", ".join(f"{LABELS[i]} {recall[i]:.2f}" for i in sorted(range(len(LABELS)), key=recall.__getitem__)[:5])
    print(
        f"{time.strftime('%H:%M:%S')} round {row.round} step {row.step} lr {row.lr:.5f} loss {row.loss:.3f} "
        f"train {row.train['train_top1']:.3f} val {row.val_score:.3f} ({row.val_loss:.3f}) {row.speed} clips/s, "
        f"each drawn {data.ring.drawn.sum() / data.ring.made.sum():.1f} times; weakest: {hard}",
        flush=True,
    )


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", required=True, help="directory of pictures and videos, searched recursively")
    parser.add_argument("--output", required=True, help="folder for the weights, the log and the state")
    parser.add_argument("--minutes", type=float, default=100.0, help="length of the training")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.02)
    parser.add_argument("--smoothing", type=float, default=0.05)
    parser.add_argument("--ema", type=float, default=0.998)
    parser.add_argument("--trainers", type=int, default=2, help="processes that train, averaging their gradients")
    parser.add_argument("--threads", type=int, default=1, help="threads of each trainer")
    parser.add_argument("--generators", type=int, default=2, help="processes that make clips")
    parser.add_argument("--reservoir", type=int, default=12_000, help="clips kept in memory (442 kB each)")
    parser.add_argument("--repeat", type=float, default=3.0, help="how often a clip may be drawn, on average")
    parser.add_argument("--round-steps", type=int, default=500, help="batches between two validations")
    parser.add_argument("--validation", type=int, default=960, help="validation clips")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the sources for validation")
    parser.add_argument("--budget-mb", type=int, default=1500, help="memory for the sources")
    parser.add_argument("--resume", action="store_true", help="go on from OUTPUT/last.pt")
    parser.add_argument("--float32", action="store_true", help="no bfloat16 (for processors without it)")
    return parser.parse_args()


def train(args: argparse.Namespace, data: Clips, rank: int) -> None:
    """Body of one trainer; all of them hold the same weights."""
    data.serve(rank)
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    recipe = Recipe(
        rounds=None, minutes=args.minutes, lr=args.lr, weight_decay=args.weight_decay, smoothing=args.smoothing,
        ema=args.ema, warmup=0.03, amp=not args.float32, seed=args.seed,
    )  # fmt: skip
    network = AttentionR3D(classes=SPEC.classes, **NETWORK)
    peers = Peers(rank, args.trainers, str(Path(args.output).resolve() / "meeting"))
    trainer = Trainer(network, SPEC, data, recipe, args.output, peers=peers)
    if args.resume:
        trainer.resume()
    trainer.run(lambda row: report(trainer, data, row))


def main() -> None:
    """Train to the end of the time, or go on with ``--resume``."""
    args = arguments()
    output = Path(args.output)
    (output / "meeting").unlink(missing_ok=True)
    data = Clips(args)
    context = multiprocessing.get_context("fork")
    for rank in range(1, args.trainers):
        context.Process(target=train, args=(args, data, rank), daemon=True).start()
    train(args, data, 0)
    shutil.copy(output / "best.safetensors", output / f"{NAME}.safetensors")


if __name__ == "__main__":
    main()
