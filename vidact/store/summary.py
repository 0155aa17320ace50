"""Counts for ``summary.json``: how many videos of each status, why some failed, which labels were found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

STATUSES = ("ok", "partial", "failed")
_SUMS = (
    ("clips", "clips"),
    ("seconds_video", "duration"),
    ("seconds_decode", "seconds_decode"),
    ("seconds_model", "seconds_model"),
)


class Tally:
    """Sums over parts. Labels are counted where they rank first (per video, per clip), or once a segment."""

    def __init__(self, table: str) -> None:
        self._table = table
        self._statuses: Counter[str] = Counter()
        self._failures: dict[str, dict[str, Any]] = {}
        self._labels: dict[str, Counter[str]] = {}
        self._sums: dict[str, float] = {name: 0 for name, _ in _SUMS}

    def add(self, videos: pa.Table, detail: pa.Table) -> None:
        """Count the rows of one part: its table of videos and its live detail rows."""
        import pyarrow.compute as pc  # here, because an idle run needs no counting

        self._statuses.update(videos.column("status").to_pylist())
        for name, column in _SUMS:
            self._sums[name] += pc.sum(videos.column(column), min_count=0).as_py()
        failed = videos.filter(pc.equal(videos.column("status"), "failed")).select(["video", "error", "error_message"])
        for row in failed.to_pylist():
            cause = self._failures.setdefault(
                row["error"] or "Unknown", {"videos": 0, "example": row["video"], "message": row["error_message"]}
            )
            cause["videos"] += 1
        self._count_labels(detail)

    def include(self, facts: Mapping[str, Any]) -> None:
        """Add the counts of another tally, as its ``facts`` say them. KeyError or TypeError when they are none."""
        for status in STATUSES:
            self._statuses[status] += facts["videos"][status]
        for failure in facts["failures"]:
            example = {"videos": 0, "example": failure["example"], "message": failure["message"]}
            self._failures.setdefault(failure["error"], example)["videos"] += failure["videos"]
        for entry in facts["labels"]:
            counts = {kind: count for kind, count in entry.items() if kind != "label"}
            self._labels.setdefault(entry["label"], Counter()).update(counts)
        for name, _ in _SUMS:
            self._sums[name] += facts[name]

    def _count_labels(self, detail: pa.Table) -> None:
        import pyarrow.compute as pc

        if self._table == "features":  # they have no labels
            return
        if self._table == "segments":
            self._count("segments", detail.column("label"))
            return
        best = detail.filter(pc.equal(detail.column("rank"), 1))
        whole = pc.is_null(best.column("clip"))
        self._count("videos", best.filter(whole).column("label"))
        self._count("clips", best.filter(pc.invert(whole)).column("label"))

    def _count(self, kind: str, labels: pa.ChunkedArray) -> None:
        for entry in labels.value_counts().to_pylist():
            if entry["values"] is not None:
                self._labels.setdefault(entry["values"], Counter())[kind] += entry["counts"]

    def facts(self) -> dict[str, Any]:
        """The counts as they stand in summary.json; labels and failures from the most frequent to the rarest."""
        statuses = {status: self._statuses.get(status, 0) for status in STATUSES}
        labels = sorted(self._labels.items(), key=lambda item: (-item[1].total(), item[0]))
        failures = sorted(self._failures.items(), key=lambda item: (-item[1]["videos"], item[0]))
        return {
            "videos": {"total": sum(statuses.values()), **statuses},
            "failures": [{"error": error, **facts} for error, facts in failures],
            "labels": [{"label": label, **dict(counts)} for label, counts in labels],
            **{name: round(value, 6) for name, value in self._sums.items()},
        }
