"""How good the labels of whole videos are: a run of ``classify`` against a list of labels.

Top-1 and top-5, accuracy by class and its mean, confusions. A video the run failed on counts as wrong; one that is only
on one side is told and not counted. Prints nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vidact.errors import UsageError
from vidact.models import zoo
from vidact.store.labelled import Labelled
from vidact.store.matching import Matching, match
from vidact.store.reader import Reader

_COLUMNS = ("video", "clip", "rank", "label_id", "label")
TOP = 5


@dataclass(frozen=True, slots=True)
class Answers:
    """Video → its labels as (number, name), best first; ``failed`` have none. ``whole``: the five best are all
    there."""

    best: dict[str, list[tuple[int | None, str]]]
    failed: tuple[str, ...]
    whole: bool
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """``top5`` is None where the run kept too few labels to tell. ``confusion`` (truth, predicted) counts videos by
    their best label, in the order of ``labels``; ``videos``, ``right`` and ``failed`` count by class of the truth."""

    top1: float
    top5: float | None
    mean_class: float
    labels: tuple[str, ...]
    confusion: np.ndarray[Any, np.dtype[np.int64]]
    videos: np.ndarray[Any, np.dtype[np.int64]]
    right: np.ndarray[Any, np.dtype[np.int64]]
    failed: np.ndarray[Any, np.dtype[np.int64]]
    matching: Matching
    settings: dict[str, Any]


def read_answers(out: str) -> Answers:
    """What a run says of its videos as wholes. UsageError when it is no run of ``classify``."""
    reader = Reader(out)
    if reader.folder.table != "predictions":
        raise UsageError(
            f"{out!r} is a run of `vidact {reader.settings['command']}`: it has no labels of videos",
            hint="give a folder `vidact classify` wrote",
        )
    best: dict[str, list[tuple[int | None, str]]] = {}
    failed: list[str] = []
    for part in reader.parts(columns=_COLUMNS):
        names, statuses = (part.videos.column(name).to_pylist() for name in ("video", "status"))
        failed += [name for name, status in zip(names, statuses, strict=True) if status == "failed"]
        best |= {name: [] for name in names}
        whole = part.detail.take(np.flatnonzero(np.asarray(part.detail.column("clip").is_null().to_numpy())))
        rows = sorted(whole.to_pylist(), key=lambda row: row["rank"])
        for row in rows:
            best[row["video"]].append((row["label_id"], str(row["label"])))
    top, threshold = reader.settings["top_k"], reader.settings["threshold"] or 0.0
    # A model with fewer classes than the run keeps has all of them in every video.
    enough = top >= TOP or all(len(rows) < top for rows in best.values())
    return Answers(best, tuple(failed), threshold <= 0 and enough, reader.settings)


def judge(answers: Answers, truth: Labelled, names: Sequence[str] | None = None) -> Report:
    """Judge a run. ``names`` are those of the classes in the order of their numbers, for a truth or a run that has only
    numbers.

    UsageError when no video, or no label, is on both sides, or a number has no name.
    """
    matching = match(answers.best, truth.labels)
    if not matching.of:
        raise UsageError(
            f"no video of the run, which has {len(answers.best)}, is among the {len(truth.labels)} of the truth; the "
            f"first are {next(iter(answers.best), '')!r} and {next(iter(truth.labels))!r}",
            hint="their names must agree: as paths, or without folder and ending",
        )
    numbers = truth.numbers and names is None
    wanted = {video: _wanted(truth, truth.labels[name], names) for video, name in matching.of.items()}
    found = {video: [_found(row, names, numbers) for row in answers.best[video]] for video in matching.of}
    shown = {key: truth.labels[matching.of[video]] for video, key in wanted.items()}
    for video, keys in found.items():
        shown |= {key: label for key, (_, label) in zip(keys, answers.best[video], strict=True)}
    shown |= {folded(name): name for name in names or ()}
    _agree(answers, wanted, found, shown, numbers)
    return _count(answers, matching, wanted, found, shown)


def folded(label: str) -> str:
    """A name without what spellings differ in: case, spaces, signs."""
    return "".join(char for char in label.casefold() if char.isalnum()) or label


def _wanted(truth: Labelled, label: str, names: Sequence[str] | None) -> str:
    if not truth.numbers:
        return folded(label)
    if names is None:
        return str(int(label))
    if int(label) >= len(names):
        raise UsageError(
            f"the truth has the class number {label}, the labels end at {len(names) - 1}",
            hint="give the list of labels the truth was numbered with to --labels",
        )
    return folded(names[int(label)])


def _found(row: tuple[int | None, str], names: Sequence[str] | None, numbers: bool) -> str:
    number, label = row
    if numbers:
        return str(number)
    if names is not None and label == f"class {number}" and number is not None and number < len(names):
        return folded(names[number])
    return folded(label)


def _agree(
    answers: Answers, wanted: dict[str, str], found: dict[str, list[str]], shown: dict[str, str], numbers: bool
) -> None:
    """UsageError when no label of the truth is one the model could have given."""
    possible = {key for keys in found.values() for key in keys}
    if not possible or possible.intersection(wanted.values()):
        return
    entry = zoo.ENTRIES.get(answers.settings["model"])
    nameless = all(label == f"class {number}" for rows in answers.best.values() for number, label in rows)
    if numbers:
        possible = {str(number) for number in range(entry.spec.classes)} if entry else possible
    elif entry and not nameless:
        possible = set(map(folded, entry.described().labels)) or possible
    if possible.intersection(wanted.values()):
        return
    mine, theirs = (sorted(shown.get(key, key) for key in keys)[:3] for keys in (possible, set(wanted.values())))
    raise UsageError(
        f"no label of the truth is one of the run's: {', '.join(map(repr, theirs))} and {', '.join(map(repr, mine))}",
        hint="give the names in the order of their numbers with --labels FILE, or the truth of the same classes",
    )


def _count(
    answers: Answers,
    matching: Matching,
    wanted: dict[str, str],
    found: dict[str, list[str]],
    shown: dict[str, str],
) -> Report:
    keys = sorted({*wanted.values(), *(rows[0] for rows in found.values() if rows)}, key=_place)
    place = {key: number for number, key in enumerate(keys)}
    confusion = np.zeros((len(keys), len(keys)), dtype=np.int64)
    videos, failed, hits = np.zeros(len(keys), np.int64), np.zeros(len(keys), np.int64), 0
    lost = set(answers.failed)
    for video, key in wanted.items():
        own, rows = place[key], found[video]
        videos[own] += 1
        failed[own] += video in lost
        hits += key in rows[:TOP]
        if rows:
            confusion[own, place[rows[0]]] += 1
    right = confusion.diagonal().copy()
    asked = videos > 0
    return Report(
        float(right.sum() / len(wanted)),
        hits / len(wanted) if answers.whole else None,
        float((right[asked] / videos[asked]).mean()),
        tuple(shown.get(key, key) for key in keys),
        confusion,
        videos,
        right,
        failed,
        matching,
        answers.settings,
    )


def _place(key: str) -> tuple[int, str]:
    """Numbers in their order, names by the alphabet."""
    return (int(key), "") if key.isdecimal() else (0, key)
