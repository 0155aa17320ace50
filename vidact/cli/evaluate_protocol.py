"""``vidact evaluate protocol NAME --data VAL_LIST``: a published test on one's own copy of its videos.

A run of ``classify --protocol paper`` over the videos of a list, resumable like any run, then ``evaluate recognition``
of it, with the published score beside it.
"""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from vidact.cli import _options as options
from vidact.cli import evaluate_recognition as judged
from vidact.cli._download import with_weights
from vidact.cli._evaluation import Part
from vidact.cli._output import Output, counted
from vidact.cli._parse import complete_model
from vidact.cli._work import work
from vidact.errors import ModelError, UsageError

if TYPE_CHECKING:
    from vidact.evaluation.recognition import Report
    from vidact.records import Published
    from vidact.store.labelled import Labelled

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        help="A model, as `vidact models list` names it.",
        autocompletion=complete_model,
        show_default=False,
    ),
]
Data = Annotated[
    str,
    options.option(
        "--data",
        metavar="VAL_LIST",
        help="Videos and their labels, in any format `vidact evaluate recognition --truth` takes.",
        show_default=False,
    ),
]
Videos = Annotated[
    str | None,
    options.option(
        "--videos", metavar="DIR", help="Where the videos lie, at any depth.", show_default="the list's folder"
    ),
]
Folder = Annotated[
    str,
    options.option("--output", "-o", metavar="DIR", help="Folder of the run that is judged.", rich_help_panel="Output"),
]


def protocol(
    name: Name,
    data: Data,
    videos: Videos = None,
    subset: Part = None,
    labels: options.Labels = None,
    checkpoint: options.Checkpoint = None,
    backbone_checkpoint: options.BackboneCheckpoint = None,
    output: Folder = "vidact-protocol",
    json: options.Json = False,
    quiet: options.Quiet = False,
    log_file: options.LogFile = None,
    *,
    device: options.Device,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    decoders: options.Decoders = None,
    decoder: options.Decoder,
    address: options.Address,
    retry_failed: options.RetryFailed = False,
    max_runtime: options.MaxRuntime = None,
) -> None:
    """Run the published test of a model on your videos of its data set, and show your score beside the published one.

    The same command goes on where it stopped.
    """
    given = locals()
    from vidact.engine.request import Request, choose
    from vidact.store.labelled import read_labelled

    if output == "-":
        raise UsageError("the test needs a run folder to judge", hint="name one with --output DIR")
    listed = read_labelled(data, subset)
    parts = tuple(backbone_checkpoint or ())
    asked = Request(model=name, checkpoint=checkpoint, backbone_checkpoint=parts, labels=labels, decoder=decoder)
    spec = with_weights(Output(quiet=quiet or json), lambda: choose(asked, {})).spec
    if spec is not None and spec.protocol is None:
        raise ModelError(
            f"no published test of {spec.name} is known",
            hint="run `vidact classify` on the videos, then judge it with `vidact evaluate recognition`",
        )
    published = None if spec is None else spec.published
    root = videos or os.path.dirname(os.path.abspath(data))
    given |= {"paths": (), "listed": _paths(root, listed), "root": root, "model": name, "protocol": "paper"}
    given |= {"dry_run": False, "allow_empty": False, "quiet": quiet or json}
    work("classify", given, lambda: _judge(output, listed, published, json=json))


def _paths(root: str, listed: Labelled) -> list[str]:
    """The files of the list's videos below ``root``."""
    from vidact.store.matching import match
    from vidact.video.find import find

    found = {video.video: video.path for video in find([root]).videos if video.error is None}
    pairs = match(found, listed.labels)
    if not pairs.of:
        raise UsageError(
            f"no video of the list, which has {len(listed.labels)}, is among the {len(found)} below {root!r} (first: "
            f"{next(iter(listed.labels))!r})",
            hint="say where they lie with --videos DIR",
        )
    return [found[video] for video in sorted(pairs.of)]


def _judge(out: str, listed: Labelled, published: Published | None, *, json: bool) -> None:
    from vidact.evaluation.recognition import judge, read_answers

    report = judge(read_answers(out), listed)
    sink = Output()
    if json:
        sink.json([{**judged.facts(report), "published": None if published is None else asdict(published)}])
    else:
        sink.text()
        judged.show(sink, report)
        sink.text()
        _beside(sink, report, published)
    for note in listed.notes:
        sink.note(note)
    judged.tell(sink, report)


def _beside(out: Output, report: Report, published: Published | None) -> None:
    """The measured score and the published one, which is a percentage."""
    told = (None, None) if published is None else (published.top1, published.top5)
    measured = tuple(None if share is None else 100 * share for share in (report.top1, report.top5))
    rows = [
        (
            name,
            "" if ours is None else f"{ours:.2f} %",
            "" if theirs is None else f"{theirs:.2f} %",
            "" if ours is None or theirs is None else f"{ours - theirs:+.2f}",
        )
        for name, ours, theirs in zip(("top-1", "top-5"), measured, told, strict=True)
    ]
    out.table(("", "measured", "published", "difference"), rows, right=("measured", "published", "difference"))
    if published is None:
        out.text(f"No score of {report.settings['model']} is published.")
    else:
        measured_on = counted(report.videos.sum(), "video")
        out.text(f"Published: {published.protocol} ({published.source}). Measured on {measured_on}.")
