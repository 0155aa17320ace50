"""How well camera motion is told on real footage, beside a classical baseline on the very same clips.

    python examples/camera_motion/evaluate.py --videos DIR --checkpoint FILE [--json OUT]
    python examples/camera_motion/evaluate.py --videos DIR --baseline-only --train-sources DIR

Prints top-1 with a 95 % interval (bootstrap over source videos), recall of every label, the confusion
matrix, results on hard cases, and what is said of the same videos left as they are. The baseline's
thresholds are tuned on generated clips (``--train-sources``), never on this footage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from baseline import Thresholds, decide, measure, tune
from generate import GeneratedClips, Sources
from heldout import HeldOut, build
from numpy.typing import NDArray
from paths import LABELS

Clips = NDArray[np.uint8]
Classify = Callable[[Clips], NDArray[np.int64]]
HARD = ("flash", "fast", "strong shake", "same video")


def predict(model: Any, clips: Clips) -> NDArray[np.float32]:
    """Probabilities (n, 12) of clips (n, 16, 96, 96, 3) by a loaded vidact model; the only place that knows it."""
    batches = [model.scores(model.prepare(clips[i : i + 32])).cpu().numpy() for i in range(0, len(clips), 32)]
    return np.concatenate(batches)


def by_model(checkpoint: Path, device: str = "cpu") -> Classify:
    """A classifier of clips from a checkpoint of vidact's own."""
    from vidact import load_model

    model = load_model(checkpoint=checkpoint, device=device)
    order = np.array([LABELS.index(name) for name in model.spec.labels])
    return lambda clips: order[predict(model, clips).argmax(1)]


def by_baseline(limits: Thresholds) -> Classify:
    """The classical method as a classifier of clips."""
    return lambda clips: np.array([LABELS.index(decide(measure(clip), limits)) for clip in clips])


def interval(right: NDArray[np.bool_], sources: NDArray[np.str_], rounds: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean of ``right`` when the source videos are drawn again with replacement."""
    rng = np.random.default_rng(0)
    names, index = np.unique(sources, return_inverse=True)
    hits, counts = np.bincount(index, right), np.bincount(index)
    drawn = rng.integers(0, len(names), (rounds, len(names)))
    low, high = np.quantile(hits[drawn].sum(1) / counts[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)


def judge(test: HeldOut, classify: Classify) -> dict[str, Any]:
    """All numbers of one method on the test set."""
    said = classify(test.clips)
    right = said == test.labels
    confusion = np.zeros((len(LABELS), len(LABELS)), int)
    np.add.at(confusion, (test.labels, said), 1)
    hard = {kind: (int(right[test.kinds == kind].sum()), int((test.kinds == kind).sum())) for kind in HARD}
    by_source = {name: round(float(right[test.sources == name].mean()), 3) for name in np.unique(test.sources)}
    return {
        "top1": float(right.mean()),
        "interval": interval(right, test.sources),
        "clips": len(right),
        "sources": len(by_source),
        "recall": {name: float(confusion[i, i] / max(1, confusion[i].sum())) for i, name in enumerate(LABELS)},
        "confusion": confusion.tolist(),
        "hard": hard,
        "by_source": by_source,
    }


def unwarped(test: HeldOut, classify: Classify) -> dict[str, Any]:
    """What is said of the videos as they are: label counts, and agreement where the camera could be measured."""
    said = [LABELS[i] for i in classify(test.natural)]
    truth = test.measured.tolist()
    calm = [s for s, t in zip(said, truth, strict=True) if t == "static"]
    moves = [(s, t) for s, t in zip(said, truth, strict=True) if t not in ("static", "unclear")]
    return {
        "clips": len(said),
        "measured": _count(truth),
        "said": _count(said),
        "said where the camera stands still": _count(calm),
        "agreement on clear moves": [sum(s == t for s, t in moves), len(moves)],
    }


def _count(labels: Sequence[str]) -> dict[str, int]:
    return {name: labels.count(name) for name in (*LABELS, "unclear") if name in labels}


def report(name: str, found: dict[str, Any]) -> str:
    """The numbers of one method as text."""
    low, high = found["interval"]
    size = f"{found['clips']} clips of {found['sources']} videos"
    lines = [
        f"{name}: top-1 {found['top1']:.3f} [{low:.3f}, {high:.3f}] on {size}",
        "  recall: " + ", ".join(f"{label} {value:.2f}" for label, value in found["recall"].items()),
        "  hard: " + ", ".join(f"{kind} {right}/{count}" for kind, (right, count) in found["hard"].items()),
        "  confusion (row: true, column: said)",
    ]
    width = max(len(label) for label in LABELS)
    for label, row in zip(LABELS, found["confusion"], strict=True):
        lines.append("  " + label.rjust(width) + " " + " ".join(f"{value:4d}" for value in row))
    return "\n".join(lines)


def tuned_baseline(options: argparse.Namespace) -> Classify:
    """The baseline with thresholds from generated clips, or with its stored ones where no sources are given."""
    if options.train_sources is None:
        return by_baseline(Thresholds())
    made = GeneratedClips(Sources.load(options.train_sources, budget_mb=600), seed=77, epoch_size=options.tuning_clips)
    limits, reached = tune(made[i] for i in range(len(made)))
    print(f"baseline tuned to {reached:.3f} on {len(made)} generated clips: {limits}", file=sys.stderr)
    return by_baseline(limits)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--videos", type=Path, required=True, help="directory of real videos no training has seen")
    parser.add_argument("--checkpoint", type=Path, help="weights to test")
    parser.add_argument("--baseline-only", action="store_true", help="test the classical method alone")
    parser.add_argument("--train-sources", type=Path, help="training media, to tune the baseline's thresholds on")
    parser.add_argument("--tuning-clips", type=int, default=1200)
    parser.add_argument("--clips-per-class", type=int, default=60)
    parser.add_argument("--cache", type=Path, help="keep the test clips in this file (.npz) and use it if it exists")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    if options.checkpoint is None and not options.baseline_only:
        parser.error("give --checkpoint FILE, or --baseline-only")
    return options


def main() -> None:
    options = arguments()
    if options.cache and options.cache.exists():
        test = HeldOut.read(options.cache)
    else:
        test = build(options.videos, options.clips_per_class, options.seed, lambda line: print(line, file=sys.stderr))
        if options.cache:
            test.save(options.cache)
    classifiers: dict[str, Classify] = {"baseline": tuned_baseline(options)}
    if options.checkpoint is not None:
        classifiers["model"] = by_model(options.checkpoint, options.device)
    results: dict[str, Any] = {name: judge(test, classify) for name, classify in classifiers.items()}
    for name, found in results.items():
        print(report(name, found))
        found["unwarped"] = unwarped(test, classifiers[name])
        print("  the videos as they are: " + json.dumps(found["unwarped"]))
    if options.json:
        options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
