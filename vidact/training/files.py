"""The folder of a training: held by one process at a time; ``best.safetensors``, ``last.pt``, from which it goes on,
and ``log.csv``, each whole or as it was."""

from __future__ import annotations

import csv
import io
import math
import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vidact.errors import ModelError, RunError
from vidact.models.weights import State, read_tensors, write_checkpoint
from vidact.records import LocalizerSpec, Spec
from vidact.store.atomic import disk_errors, make_folder, remove, remove_stale, replacing
from vidact.store.lock import Lock

STATE_FORMAT = 1
_TEMPORARY = re.compile(r"\.(?:last\.pt|best\.safetensors|log\.csv|classes\.txt)\.[0-9a-f]+\.tmp")
"""The temporary names of these files."""


@contextmanager
def held(folder: str) -> Iterator[None]:
    """Keep other trainings out of ``folder``, which is made, and remove what killed ones left half written.

    RunError with ``busy`` when one is at work there. Where the file system has no locks nothing is kept out, and
    nothing removed.
    """
    make_folder(folder)
    lock = None
    try:
        lock = Lock(folder)
    except RunError as error:
        if error.busy:
            raise
    try:
        if lock is not None:
            remove_stale(folder, _TEMPORARY, -math.inf)
        yield
    finally:
        if lock is not None:
            lock.release()


def weights_name(architecture: str, name: str) -> str:
    """``architecture.name``, with hyphens in the place of all that is neither letter nor digit."""
    return f"{architecture}.{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-') or 'trained'}"


def write_best(path: Path, state: State, spec: Spec | LocalizerSpec) -> None:
    """Save the best weights with their spec. RunError when the disk refuses."""
    try:
        write_checkpoint(path, state, spec)
    except ModelError as error:
        raise RunError(error.message, hint=error.hint) from error


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Save with torch: ``path`` is always whole. Raises RunError when the disk refuses."""
    with replacing(str(path)) as file:
        torch.save(dict(state), file)


def read_state(path: Path) -> dict[str, Any]:
    """What ``write_state`` wrote. Raises RunError for a damaged file or one of something else."""
    best = str(path.with_name("best.safetensors"))
    advice = f"begin anew with another --output; the best weights so far are in {best!r}"
    try:
        saved = read_tensors(path)
    except ModelError as error:
        raise RunError(f"the training cannot go on from {str(path)!r}: {error.message}", hint=advice) from error
    if not isinstance(saved, dict) or saved.get("format") != STATE_FORMAT or not isinstance(saved.get("state"), dict):
        raise RunError(f"{str(path)!r} is not a state this version can go on from", hint=advice)
    if damaged := _damaged(path):
        raise RunError(f"{str(path)!r} is damaged: the checksum of {damaged} is wrong", hint=advice)
    if "right" in saved["state"]:  # as version 0.1 wrote it
        saved["state"]["sums"] = {"train_top1": saved["state"].pop("right")}
    return saved


def _damaged(path: Path) -> str | None:
    """The part of an archive whose bytes are not those that were written; torch does not look at its checksums."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        return str(error)


def append_row(path: Path, values: Mapping[str, Any]) -> None:
    """Add a row to a CSV; the first one also writes the header. RunError when the disk refuses."""
    fresh = not path.exists()
    with disk_errors(str(path)), open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(values))
        if fresh:
            writer.writeheader()
        writer.writerow(values)


def cut_log(path: Path, rounds: int) -> None:
    """Drop the rows of rounds the saved state does not know: they will be trained again. What is no whole row goes,
    too; without a row to keep, so does the file, if it is one of ours."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file)
        columns: Sequence[str] = reader.fieldnames or ()
        known = {str(number + 1) for number in range(rounds)}
        rows = [row for row in reader if row.get("round") in known and None not in (*row, *row.values())]
    if not rows:
        if "round" in columns:
            remove(str(path))
        return
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    with replacing(str(path)) as file:
        file.write(text.getvalue().encode())
