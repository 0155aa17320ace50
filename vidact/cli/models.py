"""``vidact models list`` and ``vidact models show NAME``: what the zoo says, as plain data, without loading a model."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidact.cli import _options as options
from vidact.cli._output import Output
from vidact.cli._parse import complete_model

if TYPE_CHECKING:
    from vidact.models.zoo import Entry
    from vidact.records import Protocol, Published, Sampling, Spec

Name = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A model, as `vidact models list` names it.", autocompletion=complete_model),
]


def list_models(json: options.Json = False) -> None:
    """List every model vidact knows.

    Those marked bundled are part of vidact; the weights of the others are given with --checkpoint.
    """
    from vidact.models import zoo

    out = Output()
    entries = [zoo.ENTRIES[name] for name in sorted(zoo.ENTRIES)]
    if json:
        out.json(_facts(entry, entry.spec) for entry in entries)
        return
    out.table(
        ("model", "labels", "clip", "size", "top-1", "licence", "bundled"),
        (
            (
                entry.spec.name,
                entry.spec.classes,
                f"{entry.spec.sampling.seconds:.2f} s",
                _size(entry.size),
                "" if entry.spec.published is None else _percent(entry.spec.published.top1),
                entry.spec.licence or "unknown",
                "yes" if entry.bundled else "no",
            )
            for entry in entries
        ),
        right=("labels", "clip", "size", "top-1"),
        fold=("model",),
    )
    out.note(f"The default is {zoo.DEFAULT}. `vidact models show NAME` tells all about one.")


def show_model(name: Name, json: options.Json = False) -> None:
    """Show everything known about one model: how clips are sampled, its labels, licence and published score."""
    from vidact.models import zoo
    from vidact.models.build import unknown

    entry = zoo.resolve(name)
    if entry is None:
        raise unknown(name)
    out = Output()
    if json:
        out.json([_facts(entry, entry.described())])
        return
    spec = entry.described()
    out.table(("", "value"), [(key, value) for key, value in _described(entry) if value], fold=("value",))
    if spec.labels:
        out.text()
        out.heading(f"{len(spec.labels)} labels")
        for number, label in enumerate(spec.labels):
            out.text(f"{number:>4}  {label}")


def _described(entry: Entry) -> list[tuple[str, str]]:
    spec = entry.spec
    sampling, geometry = spec.sampling, spec.geometry
    height, width = geometry.size
    return [
        ("model", spec.name),
        ("family", entry.family),
        ("about", spec.notes),
        ("weights", _weights(entry)),
        ("size", _size(entry.size)),
        ("sha256", entry.sha256),
        ("licence", spec.licence or "unknown"),
        ("published", "" if spec.published is None else _published(spec.published)),
        ("classes", str(spec.classes)),
        ("clip", f"{sampling.seconds:.2f} s: {_frames(sampling)}"),
        ("picture", f"{width} x {height}, " + _resize(spec)),
        ("protocol", "" if spec.protocol is None else _protocol(spec.protocol)),
        ("scores", f"{spec.activation}, views averaged as {spec.average}"),
        ("features", f"{spec.feature_dimension} numbers a clip" if spec.feature_dimension else ""),
        ("tested", "yes" if entry.tested else "not with the real file"),
    ]


def _protocol(protocol: Protocol) -> str:
    from vidact.models import zoo

    return (
        f"{zoo.told(protocol)}; {protocol.frames} frames picked by the rule {protocol.rule}, short side "
        f"{protocol.short_side}, pixels as {protocol.style} makes them"
    )


def _weights(entry: Entry) -> str:
    """Where the weights come from and how they are given."""
    if entry.spec.streams:
        return f"those of {' and '.join(entry.spec.streams)}; give each file with --backbone-checkpoint NAME=FILE"
    return "bundled with vidact" if entry.bundled else f"{entry.source or 'by hand'}; give the file with --checkpoint"


def _resize(spec: Spec) -> str:
    if spec.geometry.resize == "squash":
        return "the whole frame squashed"
    return f"cut out after the short side is scaled to {spec.geometry.short_side}"


def _frames(sampling: Sampling) -> str:
    chosen = "each" if sampling.stride == 1 else f"one in {sampling.stride}"
    return f"{sampling.frames} frames, {chosen} of {sampling.fps:g} a second"


def _published(score: Published) -> str:
    parts = [f"top-1 {_percent(score.top1)}" if score.top1 is not None else ""]
    parts.append(f"top-5 {_percent(score.top5)}" if score.top5 is not None else "")
    return f"{', '.join(part for part in parts if part)} ({score.protocol}; {score.source})"


def _percent(score: float | None) -> str:
    """Published scores are percentages."""
    return "" if score is None else f"{score:.1f} %"


def _size(size: int) -> str:
    return f"{size / 1e6:.1f} MB" if size else ""


def _facts(entry: Entry, spec: Spec) -> dict[str, Any]:
    """The spec with what the zoo adds to it, for programs."""
    return {
        **asdict(spec),
        "clip_seconds": spec.sampling.seconds,
        "family": entry.family,
        "bundled": entry.bundled is not None,
        "source": entry.source,
        "sha256": entry.sha256,
        "size": entry.size,
        "tested": entry.tested,
    }
