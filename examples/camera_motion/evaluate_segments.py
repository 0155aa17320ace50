"""How well moves, cuts and fades are found in untrimmed video made of real footage, beside PySceneDetect's detectors.

    python examples/camera_motion/evaluate_segments.py --videos DIR --output DIR [--checkpoint FILE]

Composes sequences from real videos no training has seen (composed.py), writes them as video files with their truth,
runs ``vidact localize`` on the files, and prints mean average precision over the moves, average precision of every
label, and precision, recall and F1 of cuts within two frames of the file. Intervals are bootstraps over sequences.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from composed import compose, gather, write_video
from numpy.typing import NDArray

MOVES = (
    "pan-left", "pan-right", "tilt-up", "tilt-down", "zoom-in", "zoom-out", "roll-clockwise", "roll-counterclockwise",
    "shake",
)  # fmt: skip
TIOUS = (0.3, 0.4, 0.5, 0.6, 0.7)
SHOTS = "shots-r3d-10.camera-motion-1"
CUT_FRAMES = 2.0
CUT_HALF_WIDTH = 0.5
Segment = dict[str, Any]
Cuts = dict[str, NDArray[np.float64]]


def make_set(videos: Path, output: Path, count: int, seed: int, say: Callable[[str], None]) -> None:
    """``count`` sequences of 30 to 50 s as ``output``/videos/*.mp4 and their truth in ``output``/truth.json."""
    pool = gather(videos, say)
    folder = output / "videos"
    folder.mkdir(parents=True, exist_ok=True)
    database: dict[str, Any] = {}
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        made = compose(rng, pool, rng.uniform(30, 50))
        write_video(folder / f"{number:03d}.mp4", made, int(rng.integers(18, 33)))
        database[f"{number:03d}"] = {
            "duration": len(made.frames) / made.fps,
            "fps": made.fps,
            "subset": "test",
            "sources": made.sources,
            "annotations": [{"label": label, "segment": [start, end]} for label, start, end in made.events],
        }
        say(f"{number:03d}.mp4: {len(made.frames)} frames at {made.fps:g}, {len(made.events)} events")
    (output / "truth.json").write_text(json.dumps({"database": database, "pool": {k: len(v) for k, v in pool.items()}}))


def by_vidact(folder: Path, checkpoint: Path | None, shots: Path | None) -> list[Segment]:
    """What ``vidact localize`` finds in the files of a folder."""
    command = [sys.executable, "-m", "vidact", "localize", str(folder), "--min-score", "0", "-o", "-", "--quiet"]
    command += ["--checkpoint", str(checkpoint)] if checkpoint else ["--model", "actionformer"]
    command += ["--backbone-checkpoint", f"{SHOTS}={shots}"] if shots else []
    told = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    rows = [json.loads(line) for line in told.splitlines()]
    return [{**row, "video": Path(row["video"]).stem} for row in rows if row["table"] == "segments"]


DETECTORS = {
    "ContentDetector": "ContentDetector()",
    "AdaptiveDetector": "AdaptiveDetector()",
    "HistogramDetector": "HistogramDetector()",
    "HashDetector": "HashDetector()",
}
SCENES = """
import json, sys, scenedetect
from scenedetect.detectors import *
found = {}
for path in sys.argv[2:]:
    scenes = scenedetect.detect(path, eval(sys.argv[1]))
    found[path] = [scene[0].seconds if hasattr(scene[0], "seconds") else scene[0].get_seconds() for scene in scenes[1:]]
print(json.dumps({"version": scenedetect.__version__, "cuts": found}))
"""


def by_scenedetect(files: Sequence[Path], detector: str, python: str) -> Cuts:
    """Where one of PySceneDetect's detectors, with its defaults, sees a new scene begin."""
    command = [python, "-c", SCENES, detector, *map(str, files)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {Path(path).stem: np.array(times, float) for path, times in json.loads(told)["cuts"].items()}


def matched(truth: NDArray[np.float64], found: NDArray[np.float64], within: float) -> int:
    """How many true instants have a found one of their own within so many seconds, the nearest pairs first."""
    pairs = sorted((abs(t - f), i, j) for i, t in enumerate(truth) for j, f in enumerate(found) if abs(t - f) <= within)
    left, right = set(), set()
    for _, i, j in pairs:
        if i not in left and j not in right:
            left.add(i)
            right.add(j)
    return len(left)


def cut_counts(database: dict[str, Any], found: Cuts) -> NDArray[np.int64]:
    """(sequences, 3): cuts told right, found and true. A found one inside a true fade is not counted against anyone."""
    rows = []
    for name, facts in database.items():
        truth = np.array([a["segment"][0] for a in facts["annotations"] if a["label"] == "cut"])
        within = CUT_FRAMES / facts["fps"] + 1e-6
        cuts = found.get(name, np.zeros(0))
        fades = [a["segment"] for a in facts["annotations"] if a["label"] == "fade"]
        inside = np.array([any(s - within <= c <= e + within for s, e in fades) for c in cuts], bool)
        near = np.array([bool(len(truth)) and np.abs(truth - c).min() <= within for c in cuts], bool)
        rows.append((matched(truth, cuts, within), int((~inside | near).sum()), len(truth)))
    return np.array(rows)


def f1(counts: NDArray[np.int64]) -> float:
    right, found, true = counts.sum(0)
    return 2 * right / max(found + true, 1)


def cut_table(database: dict[str, Any], methods: dict[str, Cuts]) -> list[str]:
    """A line for each method: precision, recall, F1 and its interval."""
    lines = []
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(database), (2000, len(database)))
    for name, cuts in methods.items():
        counts = cut_counts(database, cuts)
        right, found, true = counts.sum(0)
        low, high = np.quantile([f1(counts[rows]) for rows in drawn], (0.025, 0.975))
        lines.append(
            f"| {name} | {right / max(found, 1):.3f} | {right / max(true, 1):.3f} | {f1(counts):.3f} "
            f"| {low:.3f} to {high:.3f} | {true - right} missed, {found - right} false of {true} |"
        )
    return lines


def as_events(rows: Sequence[Segment], number: dict[str, int]) -> Any:
    from vidact.evaluation.detection import Events

    return Events(
        np.array([number[row["video"]] for row in rows], np.int64),
        np.array([row["start"] for row in rows], float),
        np.array([row["end"] for row in rows], float),
        np.array([row["label"] for row in rows]),
        np.array([row["score"] for row in rows], float) if rows and "score" in rows[0] else None,
    )


def true_rows(database: dict[str, Any]) -> list[Segment]:
    """The truth as rows; a cut becomes its instant ± half a second."""
    rows = []
    for name, facts in database.items():
        for a in facts["annotations"]:
            half = CUT_HALF_WIDTH if a["label"] == "cut" else 0.0
            start, end = max(0.0, a["segment"][0] - half), min(facts["duration"], a["segment"][1] + half)
            rows.append({"video": name, "start": start, "end": end, "label": a["label"]})
    return rows


def precision_by_label(names: Sequence[str], truth: list[Segment], found: list[Segment]) -> NDArray[np.float64]:
    """(tIoUs, labels): average precision of the moves and of fades; NaN where a label does not occur."""
    from vidact.evaluation.detection import Rules, average_precision

    number = {name: i for i, name in enumerate(names)}
    labels = (*MOVES, "fade", "cut")
    table = np.full((len(TIOUS), len(labels)), np.nan)
    for column, label in enumerate(labels):
        own = [row for row in truth if row["label"] == label]
        seen = [row for row in found if row["label"] == label]
        if own and seen:
            events = as_events(own, number), as_events(seen, number)
            table[:, column] = average_precision(*events, TIOUS, Rules()).ap[:, 0]
        elif own:
            table[:, column] = 0.0
    return table


def mean_precision(database: dict[str, Any], truth: list[Segment], found: list[Segment]) -> list[str]:
    """The lines of both tables of segments: mean average precision over the moves, and that of each label."""
    names = list(database)
    table = precision_by_label(names, truth, found)
    low, high = interval(names, truth, found)
    lines = ["| tIoU | " + " | ".join(f"{t:g}" for t in TIOUS) + " | events |"]
    means = np.nanmean(table[:, : len(MOVES)], axis=1)
    moves = sum(row["label"] in MOVES for row in truth)
    lines.append("| mAP of the moves | " + " | ".join(f"{v:.3f}" for v in means) + f" | {moves} |")
    for label, column in zip((*MOVES, "fade", "cut"), table.T, strict=True):
        count = sum(row["label"] == label for row in truth)
        lines.append(f"| {label} | " + " | ".join(f"{v:.3f}" for v in column) + f" | {count} |")
    return [*lines, f"95 % interval of mAP@0.5 over the moves: {low:.3f} to {high:.3f}"]


def interval(
    names: Sequence[str], truth: list[Segment], found: list[Segment], rounds: int = 200
) -> tuple[float, float]:
    """95 % interval of mAP@0.5 over the moves when the sequences are drawn again with replacement."""
    rng = np.random.default_rng(0)
    values = []
    for _ in range(rounds):
        copies = [(str(i), names[j]) for i, j in enumerate(rng.integers(0, len(names), len(names)))]
        own, seen = (
            [{**row, "video": copy} for copy, name in copies for row in by_name.get(name, ())]
            for by_name in (_by_video(truth), _by_video(found))
        )
        values.append(np.nanmean(precision_by_label([c for c, _ in copies], own, seen)[TIOUS.index(0.5), : len(MOVES)]))
    low, high = np.quantile(values, (0.025, 0.975))
    return float(low), float(high)


def _by_video(rows: Sequence[Segment]) -> dict[str, list[Segment]]:
    found: dict[str, list[Segment]] = {}
    for row in rows:
        found.setdefault(row["video"], []).append(row)
    return found


def instants(database: dict[str, Any], found: Sequence[Segment], least: float) -> Cuts:
    """The instants of the segments called cut whose score is at least so much.

    That is the middle, or half a second from the inner end of a segment that begins or ends with the video.
    """
    cuts: dict[str, list[float]] = {}
    for row in found:
        if row["label"] == "cut" and row["score"] >= least:
            first, last = row["start"], row["end"]
            if first <= 0.02:
                first = last - 2 * CUT_HALF_WIDTH
            elif last >= database[row["video"]]["duration"] - 0.02:
                last = first + 2 * CUT_HALF_WIDTH
            cuts.setdefault(row["video"], []).append((first + last) / 2)
    return {name: np.array(times) for name, times in cuts.items()}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=Path, required=True, help="directory of real videos no training has seen")
    parser.add_argument("--output", type=Path, required=True, help="folder of the sequences; used again if it exists")
    parser.add_argument("--checkpoint", type=Path, help="localizer to test instead of the bundled one")
    parser.add_argument("--shots", type=Path, help="weights of its features, where they are not the bundled ones")
    parser.add_argument("--sequences", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cut-score", type=float, default=0.3, help="least score of a cut that counts")
    parser.add_argument("--scenedetect", default=sys.executable, help="a Python that has PySceneDetect; '' for none")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    if not (args.output / "truth.json").exists():
        make_set(args.videos, args.output, args.sequences, args.seed, lambda line: print(line, file=sys.stderr))
    database = json.loads((args.output / "truth.json").read_text())["database"]
    sources = {name for facts in database.values() for name in facts["sources"]}
    minutes = sum(facts["duration"] for facts in database.values()) / 60
    print(f"{len(database)} sequences of {len(sources)} source videos, {minutes:.0f} minutes")
    found = by_vidact(args.output / "videos", args.checkpoint, args.shots)
    (args.output / "found.json").write_text(json.dumps(found))
    print("\n".join(mean_precision(database, true_rows(database), found)))
    methods = {"vidact": instants(database, found, args.cut_score)}
    files = sorted((args.output / "videos").glob("*.mp4"))
    for name, detector in DETECTORS.items() if args.scenedetect else ():
        methods[name] = by_scenedetect(files, detector, args.scenedetect)
    print("\n".join(cut_table(database, methods)))


if __name__ == "__main__":
    main()
