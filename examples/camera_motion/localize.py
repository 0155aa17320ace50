"""Make untrimmed sequences from any directory of pictures and videos and train the bundled localizer: one command.

    python examples/camera_motion/localize.py --sources DIR --output DIR

In four steps, each of which is left out where its files exist already:

1. ``sequences``: processes draw sequences (sequences.py), keep them at 48 x 48 and store the features of the frozen
   trunk, the bundled recogniser.
2. ``branch``: the per-frame branch learns to tell cuts and fades (branch.py).
3. ``features``: trunk and branch together give the features of every sequence, as a folder ``vidact train`` reads.
4. ``localizer``: ActionFormer is trained on them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

from branch import frame_logits, quality, train_branch
from sequences import FPS, LABELS, as_segments, draw_sequence
from sources import Sources
from tours import Event
from train import SPEC as TRUNK
from train import split

from vidact import load_model
from vidact.models.build import describe
from vidact.models.localization.settings import from_json
from vidact.models.recognition.shots_r3d import FrameBranch, arranged
from vidact.models.weights import file_hash, read_localizer_spec, read_tensors, write_checkpoint
from vidact.models.zoo.camera_motion import CUTS
from vidact.records import Sampling
from vidact.tasks.features import contract_of

WINDOW, STRIDE = 32, 8
BATCH = 16
SHOTS = replace(
    TRUNK,
    name="shots-r3d-10.camera-motion-1",
    architecture="shots-r3d-10",
    sampling=Sampling(frames=WINDOW, stride=1, fps=FPS),
    feature_dimension=TRUNK.feature_dimension + 2 * WINDOW + 6,
    network={"trunk": TRUNK.network, "frames": WINDOW},
    notes="Scores are those of attention-r3d-10.camera-motion-1; its features also tell cuts and fades frame by frame.",
)
LOCALIZER = "actionformer.camera-motion-1"
LEAST_SCORE, NOISE = 0.05, 0.3
NOTES = "Moves of the camera, cuts and fades; a cut is the middle of its segment. It knows no human actions."
TRAINING = (
    "--width", "96", "--levels", "6", "--window", "9", "--length", "384", "--batch-size", "8", "--lr", "0.001",
    "--drop-path", "0.1", "--ema", "0.998", "--crop-ratio", "0.5",
)  # fmt: skip


def rows_of(frames: int) -> int:
    """How many windows fit."""
    return (frames - WINDOW) // STRIDE + 1


def trunk_features(model: Any, frames: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the bundled recogniser's head sees of every second frame of each window: (rows, 128).

    In bfloat16, which is half the work; what is lost is less than the noise of the sequences.
    """
    found = []
    for first in range(0, rows_of(len(frames)), BATCH):
        rows = range(first, min(first + BATCH, rows_of(len(frames))))
        clips = np.stack([frames[STRIDE * i : STRIDE * i + WINDOW : 2] for i in rows])
        with torch.autocast("cpu", torch.bfloat16):
            found.append(model.features(model.prepare(clips)).float().numpy())
    return np.concatenate(found).astype(np.float32)


def halved(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Frames (T, 96, 96, 3) averaged down to 48 x 48."""
    return np.stack([cv2.resize(frame, (48, 48), interpolation=cv2.INTER_AREA) for frame in frames])


def make_sequences(sources: Sources, folder: Path, numbers: range, seed: int, deadline: float) -> None:
    """Body of one process: sequences ``numbers``, every third of them brisk, until the time is up."""
    torch.set_num_threads(1)
    model = load_model(TRUNK.name)
    for number in numbers:
        if time.monotonic() > deadline:
            break
        target = folder / f"{number:05d}.json"
        if target.exists():
            continue
        sequence = draw_sequence(np.random.default_rng((seed, number)), sources, brisk=number % 3 == 2)
        np.save(folder / f"{number:05d}.frames.npy", halved(sequence.frames))
        np.save(folder / f"{number:05d}.trunk.npy", trunk_features(model, sequence.frames))
        events = [[event.label, event.start, event.end] for event in sequence.events]
        temporary = target.with_suffix(".tmp")
        temporary.write_text(json.dumps({"seconds": len(sequence.frames) / FPS, "events": events}))
        os.replace(temporary, target)


def sequences_step(args: argparse.Namespace, output: Path) -> None:
    """Sequences of the training's sources and, numbered apart, of those held out."""
    sides = split(args.sources, output, args.held_out)
    deadline = time.monotonic() + 60 * args.minutes
    context = multiprocessing.get_context("fork")
    for name, source, count, seed in (
        ("validation", sides[1], args.validation, args.seed + 1000),
        ("train", sides[0], args.sequences, args.seed),
    ):
        folder = output / "sequences" / name
        folder.mkdir(parents=True, exist_ok=True)
        cv2.setNumThreads(1)
        sources = Sources.load(source, budget_mb=args.budget_mb if name == "train" else args.budget_mb // 4)
        jobs = [(sources, folder, range(part, count, args.processes), seed, deadline) for part in range(args.processes)]
        workers = [context.Process(target=make_sequences, args=job) for job in jobs]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            if worker.exitcode:
                raise SystemExit("a process that makes sequences has died; its message stands above")


def branch_step(args: argparse.Namespace, output: Path) -> Path:
    """The feature network's weights: the trunk as it is bundled, and a branch trained on the sequences."""
    file = output / f"{SHOTS.name}.safetensors"
    if not file.exists():
        torch.set_num_threads(args.processes)
        branch = train_branch(output / "sequences" / "train", minutes=args.branch_minutes, seed=args.seed)
        print("branch on the validation sequences:", quality(branch, output / "sequences" / "validation"))
        trunk = read_tensors(describe(TRUNK.name).file)
        tensors = {f"trunk.{key}": value for key, value in trunk.items()}
        tensors |= {f"branch.{key}": value for key, value in branch.state_dict().items()}
        write_checkpoint(file, tensors, SHOTS)
    return file


def features_step(output: Path, shots: Path) -> None:
    """Features and annotations of all sequences, as ``vidact train localizer`` reads them."""
    branch: FrameBranch = load_model(checkpoint=shots).network.branch
    folder = output / "features"
    folder.mkdir(exist_ok=True)
    database: dict[str, Any] = {}
    for subset in ("train", "validation"):
        for path in sorted((output / "sequences" / subset).glob("*.json")):
            facts, name = json.loads(path.read_text()), f"{subset}-{path.stem}"
            events = [Event(label, start, end) for label, start, end in facts["events"]]
            database[name] = {
                "duration": facts["seconds"],
                "subset": subset,
                "annotations": [
                    {"label": e.label, "segment": [e.start, e.end]} for e in as_segments(events, facts["seconds"])
                ],
            }
            target = folder / f"{name}.npy"
            if not target.exists():
                frames = np.load(path.with_suffix(".frames.npy"), mmap_mode="r")
                told = arranged(torch.from_numpy(frame_logits(branch, frames, STRIDE))).numpy()
                np.save(target, np.concatenate([np.load(path.with_suffix(".trunk.npy")), told], axis=1))
    contract = contract_of(SHOTS, file_hash(shots), fps=FPS, stride=STRIDE)
    (folder / "manifest.json").write_text(json.dumps(asdict(contract)))
    (output / "annotations.json").write_text(json.dumps({"database": database}))
    (output / "labels.txt").write_text("\n".join(LABELS) + "\n")


def localizer_step(args: argparse.Namespace, output: Path) -> None:
    """``vidact train localizer`` on the features; the checkpoint gets its bundled name."""
    command = [sys.executable, "-m", "vidact", "train", "localizer", "--model", "actionformer"]
    command += ["--features", str(output / "features"), "--annotations", str(output / "annotations.json")]
    command += ["--labels", str(output / "labels.txt"), "--output", str(output / "localizer"), *TRAINING]
    command += ["--epochs", str(args.epochs), "--seed", str(args.seed), "--device", "cpu"]
    subprocess.run(command, check=True)
    bundle(output / "localizer" / "best.safetensors", output / f"{LOCALIZER}.safetensors")


def bundle(trained: Path, target: Path) -> None:
    """The trained weights under the name they are bundled by, told to leave out what is hardly likely."""
    spec = read_localizer_spec(trained)
    assert spec is not None
    settings = from_json(dict(spec.settings["vidact"]))
    nms = replace(settings.nms, min_score=LEAST_SCORE)
    settings = replace(settings, threshold=LEAST_SCORE, nms=nms, instants=CUTS)
    own = {"name": LOCALIZER, "licence": "Apache-2.0", "notes": NOTES, "settings": {"vidact": settings.to_json()}}
    own["min_score"] = NOISE
    write_checkpoint(target, read_tensors(trained), replace(spec, **own))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--sources", required=True, help="directory of pictures and videos, searched recursively")
    parser.add_argument("--output", required=True, help="folder for sequences, features and weights")
    parser.add_argument("--sequences", type=int, default=640, help="training sequences of 20 to 60 s")
    parser.add_argument("--validation", type=int, default=36, help="validation sequences")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop making training sequences after this time")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of the sources for validation")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--budget-mb", type=int, default=1200, help="memory for the sources")
    parser.add_argument("--branch-minutes", type=float, default=20.0, help="length of the branch's training")
    parser.add_argument("--epochs", type=int, default=30, help="rounds of the localizer's training")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    args = arguments()
    output = Path(args.output)
    sequences_step(args, output)
    features_step(output, branch_step(args, output))
    localizer_step(args, output)


if __name__ == "__main__":
    main()
