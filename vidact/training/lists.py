"""What to learn from: labelled stretches of videos, read from class folders, a CSV, or published split files.

UCF-101 (``trainlist01.txt``, ``testlist01.txt``, ``classInd.txt``) and HMDB-51 (``*_test_split1.txt``) are read as they
are published. Nothing here opens a video, and torch is not imported: errors in a list come before anything slow.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from vidact.errors import UsageError
from vidact.records import VIDEO_SUFFIXES
from vidact.store.splits import HMDB, UCF, hmdb_videos, lines, ucf_videos
from vidact.store.tables import read_rows

TRAIN_NAMES = frozenset({"train", "training"})
HELD_OUT_NAMES = ("val", "valid", "validation", "test", "testing")  # of several folders the first
UNUSED_NAMES = frozenset({"", "unused", "none", "ignore"})
_FIRST_LINE = "path,label or path,label,start,end or path,label,split"


@dataclass(frozen=True, slots=True)
class Example:
    """A stretch of a video, seconds from its first frame (None: its beginning, its end), and its label."""

    path: str
    label: str
    start: float | None = None
    end: float | None = None


@dataclass(frozen=True)
class Examples:
    """What is trained on, what is validated on, and the labels in the order of the network's outputs."""

    train: tuple[Example, ...]
    held_out: tuple[Example, ...]
    labels: tuple[str, ...]


def read_examples(
    data: str, *, split: str | None = None, labels: Sequence[str] | None = None, share: float = 0.1, seed: int = 0
) -> Examples:
    """Everything there is to learn from ``data``, a directory of class folders or a CSV.

    ``split`` is a file that says which part is which: one of UCF-101's lists, one of HMDB-51's, or a CSV with the
    columns path and split. Without it, folders called train and val (or a column ``split``) decide, else ``share`` of
    every class, drawn by ``seed``, is held out. Raises UsageError, naming file and line, for what makes no sense.
    """
    source = Path(data)
    if source.is_dir():
        found = _by_split(source, Path(split), labels) if split else _by_folder(source)
    elif source.is_file():
        if split and not split.endswith(".csv"):
            raise UsageError(
                f"{split!r} splits a directory, but {data!r} is a file", hint="give the directory of videos"
            )
        found = _by_csv(source, Path(split) if split else None)
    else:
        raise UsageError(f"there is no {data!r} to train on", hint="give a directory of class folders or a CSV")
    if not found.held_out:
        found = _hold_out(found, share, seed)
    return _checked(_labelled(found, labels), data)


def _labelled(found: Examples, labels: Sequence[str] | None) -> Examples:
    used = {example.label for example in (*found.train, *found.held_out)}
    names = tuple(labels) if labels is not None else found.labels or tuple(sorted(used))
    if strange := sorted(used - set(names)):
        raise UsageError(
            f"{len(strange)} labels of the data are not in the list of labels, such as {strange[0]!r}",
            hint="add them to the file given to --labels, or leave --labels out",
        )
    return replace(found, labels=names)


def _checked(found: Examples, data: str) -> Examples:
    for part, name in ((found.train, "train"), (found.held_out, "validate")):
        if not part:
            raise UsageError(f"{data!r} has no videos to {name} on", hint=f"give at least two videos a class, {SHAPES}")
    if len(found.labels) < 2:
        raise UsageError(f"{data!r} has one label, {found.labels[0]!r}: there is nothing to tell apart", hint=SHAPES)
    return found


SHAPES = "as DIR/class/video.mp4, DIR/train/class/video.mp4 with DIR/val/class/video.mp4, or a CSV with path,label"


def _hold_out(found: Examples, share: float, seed: int) -> Examples:
    """A part of every class, the same for the same seed; of classes with one video nothing."""
    train: list[Example] = []
    held: list[Example] = []
    for label in sorted({example.label for example in found.train}):
        rows = [example for example in found.train if example.label == label]
        # Stretches of one video stay together: the network would be asked what it has seen.
        paths = sorted({example.path for example in rows})
        random.Random(f"{seed}/{label}").shuffle(paths)
        count = min(max(1, round(share * len(paths))), len(paths) - 1)
        chosen = set(paths[:count])
        held += [example for example in rows if example.path in chosen]
        train += [example for example in rows if example.path not in chosen]
    also_held = {example.path for example in held}
    return replace(found, train=tuple(e for e in train if e.path not in also_held), held_out=tuple(held))


# Class folders


def _by_folder(root: Path) -> Examples:
    names = {path.name.lower(): path for path in sorted(root.iterdir()) if path.is_dir()}
    train = next((names[name] for name in sorted(TRAIN_NAMES & names.keys())), None)
    held = next((names[name] for name in HELD_OUT_NAMES if name in names), None)
    if train is not None:
        return Examples(tuple(_folder(train)), tuple(_folder(held)) if held else (), ())
    return Examples(tuple(_folder(root)), (), ())


def _folder(root: Path) -> Iterator[Example]:
    for path in _videos(root):
        relative = path.relative_to(root)
        if len(relative.parts) > 1:
            yield Example(str(path), relative.parts[0])


def _videos(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES and path.is_file())


# CSV


def _by_csv(path: Path, split: Path | None) -> Examples:
    rows = list(read_rows(path, ("path", "label"), _FIRST_LINE))
    parts = {row["path"]: (row["split"], line) for line, row in _split_rows(split)} if split else {}
    train: list[Example] = []
    held: list[Example] = []
    for line, row in rows:
        example = _example(path, line, row)
        name, where = row.get("split", TRAIN), f"{path}, line {line}"
        if split:
            if row["path"] not in parts:
                continue
            name, where = parts[row["path"]][0], f"{split}, line {parts[row['path']][1]}"
        part = _part(name, where)
        if part is not None:
            (train if part else held).append(example)
    return Examples(tuple(train), tuple(held), ())


TRAIN = "train"


def _part(name: str, where: str) -> bool | None:
    """True for the part to train on, False for the one held out, None for neither."""
    word = name.strip().lower()
    if word in TRAIN_NAMES:
        return True
    if word in HELD_OUT_NAMES:
        return False
    if word in UNUSED_NAMES:
        return None
    raise UsageError(f"{where}: there is no split {name!r}", hint="write train, val or test, or leave it empty")


def _split_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    return read_rows(path, ("path", "split"), "path,split")


def _example(path: Path, line: int, row: dict[str, str]) -> Example:
    where = f"{path}, line {line}"
    for name in ("path", "label"):
        if not row[name]:
            raise UsageError(f"{where}: the {name} is empty", hint="every line needs a path and a label")
    start, end = (_seconds(row.get(name, ""), f"{where}: {name}") for name in ("start", "end"))
    if end is not None and end <= (start or 0.0):
        raise UsageError(f"{where}: the end {end:g} is not after the start {start or 0.0:g}", hint="give seconds")
    video = Path(row["path"])
    return Example(str(video if video.is_absolute() else path.parent / video), row["label"], start, end)


def _seconds(text: str, where: str) -> float | None:
    if not text:
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(
            f"{where} is {text!r}, not a number of seconds", hint="write seconds from the first frame: 12.5"
        )
    return value


# Published splits of a directory


def _by_split(root: Path, split: Path, labels: Sequence[str] | None) -> Examples:
    if not split.is_file():
        raise UsageError(f"there is no split file {str(split)!r}", hint="give trainlist01.txt or *_test_split1.txt")
    if match := UCF.fullmatch(split.name):
        return _ucf(root, split.parent, match[2], labels)
    if match := HMDB.fullmatch(split.name):
        return _hmdb(root, split.parent, match[2])
    if split.suffix == ".csv":
        parts = {Path(row["path"]): _part(row["split"], f"{split}, line {n}") for n, row in _split_rows(split)}
        rows = [(example, parts.get(Path(example.path).relative_to(root))) for example in _folder(root)]
        train, held = (tuple(e for e, part in rows if part is wanted) for wanted in (True, False))
        return Examples(train, held, ())
    raise UsageError(
        f"{split.name!r} is no split file vidact knows",
        hint="give trainlist01.txt (UCF-101), any *_test_split1.txt (HMDB-51), or a CSV with path,split",
    )


def _ucf(root: Path, folder: Path, number: str, labels: Sequence[str] | None) -> Examples:
    names = tuple(line.split(maxsplit=1)[1] for _, line in lines(folder / "classInd.txt")) if labels is None else ()
    train, held = (
        tuple(Example(str(root / name), label) for name, label in ucf_videos(folder / f"{part}list{number}.txt"))
        for part in ("train", "test")
    )
    return Examples(train, held, names)


def _hmdb(root: Path, folder: Path, number: str) -> Examples:
    rows = [(Example(str(root / name), label), part) for name, label, part in hmdb_videos(folder, number)]
    train, held = (tuple(example for example, part in rows if part == wanted) for wanted in ("1", "2"))
    return Examples(train, held, ())
