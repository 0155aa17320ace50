"""How published benchmarks of temporal localization are counted: their overlaps, their subset, their rules. Data only.

The 20 classes of THUMOS-14 are judged from IoU 0.3 on, those of ActivityNet at ten overlaps up to 0.95; sets in which
actions lie densely are also judged frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vidact.evaluation.detection import Rules

RULES: dict[str, Rules] = {
    "activitynet": Rules(unknown="refuse"),
    "actionformer": Rules(duplicate=1e-3, shortest=1e-3, unknown="collide"),
    "tridet": Rules(duplicate=1e-3, shortest=0.0, short_count=True, unknown="collide"),
    "opentad": Rules(duplicate=1e-3, shortest=0.0),
    "thumos14-kit": Rules(match="events", ambiguous="Ambiguous", points=11),
}
"""By the evaluation code that counts so. Benchmarks count by one of these, only that labels without events are left
out: whoever judges a run names them."""

_FIELD = replace(RULES["actionformer"], unknown="ignore")


@dataclass(frozen=True, slots=True)
class Benchmark:
    """``tious`` are the overlaps of mAP; ``subset`` is judged where the truth has several; ``errors`` is the overlap of
    the error analysis. ``frames``: also judged by frames, ``sampled``: 25 of each video."""

    tious: tuple[float, ...]
    rules: Rules
    subset: str
    errors: float = 0.5
    frames: bool = False
    sampled: bool = False
    notes: str = ""


def _grid(first: int, last: int, step: int) -> tuple[float, ...]:
    """Overlaps from ``first`` to ``last`` percent, free of what adding up 0.05 leaves behind."""
    return tuple(percent / 100 for percent in range(first, last + 1, step))


_ACTIVITYNET = Benchmark(
    _grid(50, 95, 5),
    replace(RULES["activitynet"], unknown="ignore"),
    "validation",
    notes="counted as ActivityNet's own code does",
)

BENCHMARKS: dict[str, Benchmark] = {
    "thumos14": Benchmark(
        _grid(30, 70, 10),
        replace(_FIELD, ambiguous="Ambiguous"),
        "test",
        notes="repeated events count once, as in the field's common evaluation code",
    ),
    "thumos14-kit": Benchmark(
        _grid(10, 50, 10), RULES["thumos14-kit"], "test", notes="the challenge's own rule: 11 points"
    ),
    "anet": _ACTIVITYNET,
    "hacs": _ACTIVITYNET,
    "fineaction": _ACTIVITYNET,
    "epic": Benchmark(_grid(10, 50, 10), _FIELD, "validation", errors=0.3, notes="verbs or nouns, each by itself"),
    "multithumos": Benchmark(_grid(10, 90, 10), _FIELD, "test", frames=True, notes="dense labels"),
    "charades": Benchmark(_grid(10, 90, 10), _FIELD, "test", frames=True, sampled=True, notes="dense labels"),
}
