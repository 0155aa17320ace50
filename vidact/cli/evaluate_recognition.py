"""``vidact evaluate recognition RUN --truth FILE``: how good the labels of whole videos are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidact.cli import _options as options
from vidact.cli._evaluation import Part, percent
from vidact.cli._output import Output, counted

if TYPE_CHECKING:
    from vidact.evaluation.recognition import Report

SMALL = 12
"""So many classes are shown as a matrix; of more, the confusions that happen most."""

Run = Annotated[str, typer.Argument(metavar="RUN", help="A folder `vidact classify` wrote.", show_default=False)]
Truth = Annotated[
    str,
    options.option(
        "--truth",
        metavar="FILE",
        help="Labels of videos: Kinetics' CSV or JSON, `path label` lists, Something-Something's JSON, "
        "testlist01.txt of UCF-101, any *_test_split1.txt of HMDB-51, or CSV with path,label.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    options.option(
        "--labels",
        metavar="FILE",
        help="Names of the classes by number, where the truth or the run has numbers only: one a line, or JSON.",
        show_default=False,
    ),
]


def recognition(run: Run, truth: Truth, labels: Labels = None, subset: Part = None, json: options.Json = False) -> None:
    """Judge the labels of whole videos: top-1, top-5, accuracy by class, and which classes are taken for which.

    Videos match by their path, else by their name without folder and ending. One the run failed on counts as wrong.
    """
    from vidact.evaluation.recognition import judge, read_answers
    from vidact.models.labels import read_labels
    from vidact.store.labelled import read_labelled

    listed = read_labelled(truth, subset)
    report = judge(read_answers(run), listed, read_labels(labels) if labels else None)
    out = Output()
    if json:
        out.json([facts(report)])
    else:
        show(out, report)
    for note in listed.notes:
        out.note(note)
    tell(out, report)


def show(out: Output, report: Report) -> None:
    """The report for people."""
    settings = report.settings
    views = f", views {settings['views']}" if settings.get("views") else ""
    out.heading(
        f"{settings['model']}: {counted(int(report.videos.sum()), 'video')}, protocol {settings['protocol']}{views}"
    )
    out.table(
        ("", "value"),
        [
            ("top-1", percent(report.top1)),
            ("top-5", "cannot be told" if report.top5 is None else percent(report.top5)),
            ("mean class accuracy", percent(report.mean_class)),
        ],
        right=("value",),
    )
    out.text()
    out.table(
        ("label", "videos", "right", "accuracy"),
        [
            (name, videos, right, percent(right / videos))
            for name, videos, right in zip(report.labels, report.videos, report.right, strict=True)
            if videos
        ],
        right=("videos", "right", "accuracy"),
        fold=("label",),
    )
    out.text()
    _show_confusion(out, report)


def _show_confusion(out: Output, report: Report) -> None:
    import numpy as np

    names = report.labels
    if len(names) <= SMALL:
        out.heading("videos by true label (lines) and predicted label (columns, numbered like the lines)")
        columns = [f"as {number}" for number in range(1, len(names) + 1)]
        rows = [
            (f"{number} {name}", *counts)
            for number, (name, counts) in enumerate(zip(names, report.confusion.tolist(), strict=True), 1)
        ]
        out.table(("true label", *columns), rows, right=columns)
        return
    wrong = report.confusion - np.diag(report.confusion.diagonal())
    order = np.argsort(-wrong, axis=None, kind="stable")[:10]
    pairs = [divmod(int(one), len(names)) for one in order if wrong.flat[one] > 0]
    out.heading("most frequent confusions (--json has the whole matrix)")
    out.table(
        ("label", "taken for", "videos"),
        [(names[row], names[column], int(wrong[row, column])) for row, column in pairs],
        right=("videos",),
    )


def tell(out: Output, report: Report) -> None:
    """What was not counted, or counts as wrong."""
    if report.failed.sum():
        out.note(f"Videos that failed in the run and count as wrong: {report.failed.sum()}.")
    if report.matching.absent:
        out.note(
            f"Videos of the truth that are not in the run, not counted: {len(report.matching.absent)} (first: "
            f"{report.matching.absent[0]})."
        )
    if report.matching.strangers:
        out.note(
            f"Videos of the run without a label in the truth, not counted: {len(report.matching.strangers)} (first: "
            f"{report.matching.strangers[0]})."
        )
    if report.top5 is None:
        top, threshold = report.settings["top_k"], report.settings["threshold"]
        kept = f"labels from a score of {threshold:g} on" if threshold else f"the {top} best labels"
        out.note(f"Top-5 cannot be told: the run kept {kept} only. Classify with --top-k 5 (or more), no --threshold.")


def facts(report: Report) -> dict[str, Any]:
    """The report for programs; shares from 0 to 1."""
    return {
        "model": report.settings["model"],
        "protocol": report.settings["protocol"],
        "views": report.settings.get("views"),
        "videos": int(report.videos.sum()),
        "failed": int(report.failed.sum()),
        "absent": list(report.matching.absent),
        "strangers": list(report.matching.strangers),
        "top1": report.top1,
        "top5": report.top5,
        "mean_class_accuracy": report.mean_class,
        "classes": {
            name: {"videos": int(videos), "right": int(right), "failed": int(failed)}
            for name, videos, right, failed in zip(
                report.labels, report.videos, report.right, report.failed, strict=True
            )
        },
        "confusion": {"labels": list(report.labels), "counts": report.confusion.tolist()},
    }
