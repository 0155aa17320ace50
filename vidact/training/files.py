"""The files a training leaves beside its checkpoint: ``last.pt``, from which it goes on, and ``log.csv``."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vidact.errors import ModelError, RunError
from vidact.models.weights import read_tensors
from vidact.store.atomic import replacing

STATE_FORMAT = 1


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
    if not isinstance(saved, dict) or saved.get("format") != STATE_FORMAT:
        raise RunError(f"{str(path)!r} is not a state this version can go on from", hint=advice)
    if "right" in saved["state"]:  # as version 0.1 wrote it
        saved["state"]["sums"] = {"train_top1": saved["state"].pop("right")}
    return saved


def append_row(path: Path, values: Mapping[str, Any]) -> None:
    """Add a row to a CSV; the first one also writes the header."""
    fresh = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(values))
        if fresh:
            writer.writeheader()
        writer.writerow(values)


def cut_log(path: Path, rounds: int) -> None:
    """Drop the rows of rounds the saved state does not know: they will be trained again."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        columns: Sequence[str] = reader.fieldnames or ()
        rows = [row for row in reader if int(row["round"]) <= rounds]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)
