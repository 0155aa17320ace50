"""``vidact evaluate localization RUN --truth FILE``: how good segments are, a run's or anybody's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidact.cli import _options as options
from vidact.cli._evaluation import Subset, percent
from vidact.cli._output import Output, counted

if TYPE_CHECKING:
    from vidact.evaluation.benchmarks import Benchmark
    from vidact.evaluation.detection import Detection
    from vidact.evaluation.diagnosis import Diagnosis
    from vidact.evaluation.localization import Frames, Report
    from vidact.evaluation.segments import Sides

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN",
        help="A folder `vidact localize` wrote, or a JSON file with ActivityNet's table 'results', "
        "with labels or (proposals: AR@AN, AUC and recall, no mAP) without.",
        show_default=False,
    ),
]
Truth = Annotated[
    str,
    options.option(
        "--truth",
        metavar="FILE",
        help="Annotations: ActivityNet's JSON (a table 'database'), or CSV with video,start,end,label in seconds.",
        show_default=False,
    ),
]
Protocol = Annotated[
    Literal["thumos14", "thumos14-kit", "anet", "hacs", "fineaction", "epic", "multithumos", "charades"],
    options.option(
        "--protocol",
        metavar="NAME",
        help="Whose overlaps and rules count: thumos14, thumos14-kit, anet, hacs, fineaction, epic, multithumos or "
        "charades.",
    ),
]


def localization(
    run: Run, truth: Truth, protocol: Protocol = "anet", subset: Subset = None, json: options.Json = False
) -> None:
    """Judge segments: mAP by overlap and class, recall, proposals, and what kind of errors there are.

    Videos match by their path, else by their name without folder and ending.
    """
    from vidact.evaluation.benchmarks import BENCHMARKS
    from vidact.evaluation.localization import judge, judge_proposals
    from vidact.evaluation.segments import read_sides

    benchmark = BENCHMARKS[protocol]
    sides = read_sides(run, truth, benchmark, subset)
    if sides.labelled:
        report = judge(sides.truth, sides.found, benchmark, sides.durations)
    else:
        report = judge_proposals(sides.truth, sides.found, benchmark)
    out = Output()
    if json:
        out.json([_facts(protocol, sides, report)])
    else:
        _print(out, protocol, benchmark, sides, report)
    _tell(out, sides, report)


def _print(out: Output, protocol: str, benchmark: Benchmark, sides: Sides, report: Report) -> None:
    from vidact.evaluation.localization import TIMES

    part = f" of the subset {sides.subset}" if sides.subset else ""
    out.heading(
        f"{protocol}: {counted(len(sides.videos), 'video')}{part}, {counted(report.events, 'event')}, "
        f"{counted(len(sides.found.start), 'segment')}"
    )
    detection = report.detection
    columns = {"tIoU": [f"{tiou:.2f}" for tiou in report.tious]}
    if detection is not None:
        out.text(f"average mAP {percent(detection.average)} ({benchmark.notes})")
        columns["mAP"] = [percent(score) for score in detection.map]
    columns |= {f"recall {k}x": [percent(one) for one in report.recall[:, at]] for at, k in enumerate(TIMES)}
    out.table(tuple(columns), list(zip(*columns.values(), strict=True)), right=tuple(columns))
    if detection is not None:
        out.text()
        _print_classes(out, sides, detection, report.frames)
    if report.proposals is not None:
        out.text()
        out.heading("recall of segments as proposals, whatever their label")
        rows = [(f"AR@{number}", percent(value)) for number, value in _proposals(report).items()]
        out.table(("", "value"), [*rows, ("AUC", f"{report.proposals.auc:.2f} %")], right=("value",))
    if report.frames is not None:
        out.text()
        out.heading(f"frame mAP {percent(report.frames.map)} ({report.frames.frames} frames)")
    if report.diagnosis is not None:
        out.text()
        _print_errors(out, report.diagnosis)


def _print_classes(out: Output, sides: Sides, detection: Detection, by_frame: Frames | None) -> None:
    labels = sides.truth.label.tolist()
    frames = by_frame.ap if by_frame is not None else {}
    rows = [
        (name, labels.count(name), percent(float(ap.mean())), percent(frames[name]) if name in frames else "")
        for name, ap in zip(detection.classes, detection.ap.T, strict=True)
    ]
    out.table(("label", "events", "AP", "frame AP"), rows, right=("events", "AP", "frame AP"), fold=("label",))


def _print_errors(out: Output, found: Diagnosis) -> None:
    from vidact.evaluation.diagnosis import MISSED

    total = sum(found.counts.values()) or 1
    out.heading(
        f"errors at tIoU {found.tiou:g}, among the best {found.best} segments an event; "
        "mAP would rise by as much without them"
    )
    rows = [
        (name, count, percent(count / total), _signed(found.gains[name]) if name in found.gains else "")
        for name, count in found.counts.items()
    ]
    missed = (MISSED, f"{found.missed} of {found.events}", "", _signed(found.gains[MISSED]))
    out.table(("kind", "segments", "share", "mAP"), [*rows, missed], right=("segments", "share", "mAP"))


def _tell(out: Output, sides: Sides, report: Report) -> None:
    """What was not counted, or counts as nothing found."""
    for note in sides.notes:
        out.note(note)
    if sides.failed:
        out.note(f"{counted(len(sides.failed), 'video')} failed in the run; what happens there counts as missed.")
    if sides.absent:
        out.note(
            f"Videos of the truth that are not in the run: {len(sides.absent)} (first: {sides.absent[0]}); what "
            "happens there counts as missed."
        )
    if sides.strangers:
        out.note(
            f"Videos of the run that are not in this part of the truth: {len(sides.strangers)} (first: "
            f"{sides.strangers[0]}); what was found there ({counted(sides.dropped, 'segment')}) is left out."
        )
    if report.unknown:
        names = sorted(report.unknown)
        out.note(
            f"Segments with labels the truth does not have, not counted in mAP: {sum(report.unknown.values())} ("
            + ", ".join(names[:5])
            + (", …)" if len(names) > 5 else ")")
        )


def _proposals(report: Report) -> dict[int, float]:
    """Average recall by the number of proposals a video."""
    from vidact.evaluation.localization import PROPOSALS

    assert report.proposals is not None
    return {number: float(report.proposals.average[number - 1]) for number in PROPOSALS}


def _facts(protocol: str, sides: Sides, report: Report) -> dict[str, Any]:
    """All of it for programs; shares from 0 to 1. What needs labels is None where there are none."""
    from vidact.evaluation.localization import TIMES

    detection, frames, errors = report.detection, report.frames, report.diagnosis
    grid = [f"{tiou:.2f}" for tiou in report.tious]
    recall = {
        f"{times}x": dict(zip(grid, report.recall[:, place].tolist(), strict=True)) for place, times in enumerate(TIMES)
    }
    return {
        "protocol": protocol,
        "subset": sides.subset,
        "videos": len(sides.videos),
        "events": report.events,
        "segments": len(sides.found.start),
        "average_mAP": detection and detection.average,
        "mAP": detection and dict(zip(grid, detection.map.tolist(), strict=True)),
        "AP": detection
        and {
            name: dict(zip(grid, ap.tolist(), strict=True))
            for name, ap in zip(detection.classes, detection.ap.T, strict=True)
        },
        "recall": recall,
        "AR": _proposals(report) if report.proposals is not None else None,
        "AUC": report.proposals.auc / 100 if report.proposals is not None else None,
        "frame_mAP": frames.map if frames is not None else None,
        "frame_AP": frames.ap if frames is not None else None,
        "errors": errors
        and {
            "tiou": errors.tiou,
            "counts": errors.counts,
            "missed": errors.missed,
            "mAP": errors.ap,
            "gains": errors.gains,
        },
        "failed": list(sides.failed),
        "absent": list(sides.absent),
        "strangers": list(sides.strangers),
        "dropped_segments": sides.dropped,
        "unknown_labels": report.unknown,
        "notes": list(sides.notes),
    }


def _signed(share: float) -> str:
    """A difference of shares."""
    return f"{100 * share:+.2f} %"
