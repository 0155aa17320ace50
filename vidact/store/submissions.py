"""Segments somebody found, as ActivityNet's evaluation server takes them: JSON with a table ``results``.

``{"results": {video: [{"label": "jump", "score": 0.9, "segment": [1.5, 4.0]}]}}``; what else the file holds is left
alone. Proposals have no labels: then no segment of the file has one. What cannot be meant is an error that names the
place; a segment that does not end after it starts is kept, since published evaluations count it as wrong, and told.
Opens no video.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from vidact.errors import UsageError
from vidact.store.annotations import load_json

_SHAPE = '{"results": {"video_1": [{"label": "jump", "score": 0.9, "segment": [1.5, 4.0]}]}}'


@dataclass(frozen=True, slots=True)
class Submission:
    """Segments by row: ``video``, ``start`` and ``end`` in seconds, ``label``, ``score``.

    ``videos`` names all there are, also those without a segment; ``notes`` say what is odd, a line a reason.
    ``labelled`` is False for proposals, whose labels are all empty.
    """

    videos: tuple[str, ...]
    video: list[str]
    start: list[float]
    end: list[float]
    label: list[str]
    score: list[float]
    notes: tuple[str, ...] = ()
    labelled: bool = True


def read_submission(path: str) -> Submission:
    """Read a JSON file. UsageError when it cannot be read, names a video twice or holds what is no segment."""
    content = load_json(path)
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise UsageError(f"{path!r} holds no table 'results'", hint=f"write it like {_SHAPE}")
    found = Submission(tuple(results), [], [], [], [], [])
    odd: list[str] = []
    for video, rows in results.items():
        if not isinstance(rows, list):
            raise UsageError(f"{path}: {video!r} has no list of segments", hint=f"write it like {_SHAPE}")
        for place, row in enumerate(rows):
            where = f"{path}: {video!r}, segment {place}"
            start, end, score = _numbers(row, where)
            label = str(row.get("label", ""))
            if found.label and bool(label) != bool(found.label[0]):
                has, first = ("a", "none") if label else ("no", "one")
                raise UsageError(
                    f"{where} has {has} label, and segments before it have {first}",
                    hint="give all of them a label, or none where they are proposals",
                )
            if end <= start:
                odd.append(f"{where}: {start:g} to {end:g} s")
            found.video.append(video)
            found.start.append(start)
            found.end.append(end)
            found.label.append(label)
            found.score.append(score)
    found = replace(found, labelled=not found.label or bool(found.label[0]))
    if not odd:
        return found
    note = f"predicted segments that do not end after they start and count as wrong: {len(odd)} (first: {odd[0]})"
    return replace(found, notes=(note,))


def _numbers(row: Any, where: str) -> tuple[float, float, float]:
    """Start, end and score of one entry."""
    segment = row.get("segment") if isinstance(row, dict) else None
    if not isinstance(segment, list) or len(segment) != 2 or row.get("label", "-") in (None, "") or "score" not in row:
        raise UsageError(f"{where} is {row!r:.80}, not a segment with label and score", hint=f"write it like {_SHAPE}")
    values = []
    for value in (*segment, row["score"]):
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise UsageError(f"{where}: {value!r:.80} is not a number", hint="write seconds, and scores such as 0.9")
        values.append(number)
    return values[0], values[1], values[2]
