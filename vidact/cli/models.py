"""``vidact models list`` and ``vidact models show NAME``: what the zoo says, as plain data, without loading a model."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vidact.cli import _options as options
from vidact.cli._download import find
from vidact.cli._output import Output, amount
from vidact.records import LocalizerSpec, Spec

if TYPE_CHECKING:
    from vidact.models.zoo import Weights
    from vidact.records import Protocol, Published, Sampling


Text = Annotated[
    str | None,
    typer.Argument(
        metavar="WORD", help="Only those with this in their name, family, labels or licence.", show_default=False
    ),
]
Family = Annotated[str | None, options.option("--family", metavar="NAME", help="Only this family, such as SlowFast.")]
Classes = Annotated[
    str | None, options.option("--classes", metavar="NAME", help="Only those that know these classes, such as ucf101.")
]
Task = Annotated[
    Literal["recognition", "localization"] | None,
    options.option(
        "--task",
        metavar="TASK",
        help="recognition or localization: only recognisers, or only localizers, which read features.",
    ),
]
Cached = Annotated[bool, options.option("--cached", help="Only those whose file is on this machine.")]
AllLabels = Annotated[bool, options.option("--all-labels", help="Print every label, not only the first.")]

_KINETICS = re.compile(r"kinetics(?=\d)")
FIRST = 10
"""Labels printed when nobody asked for all."""


def list_models(
    text: Text = None,
    family: Family = None,
    classes: Classes = None,
    task: Task = None,
    cached: Cached = False,
    json: options.Json = False,
) -> None:
    """List the models vidact knows.

    Those marked bundled are part of vidact; a run that names one marked 'to download' downloads it. The files of the
    others you get yourself (`vidact models show NAME` says where), and give to the run with --checkpoint.
    """
    from vidact.models import cache, zoo
    from vidact.models.zoo import localizers

    out = Output()
    entries: list[Weights[Any]] = []
    if task != "localization":
        entries += [zoo.ENTRIES[name] for name in sorted(zoo.ENTRIES)]
    if task != "recognition":
        entries += [localizers.ENTRIES[name] for name in sorted(localizers.ENTRIES)]
    known = entries
    entries = [entry for entry in known if _fits(entry, text, family, classes)]
    entries.sort(key=lambda entry: entry.bundled is None)  # those that work at once first, each kind by name
    if cached:
        entries = [entry for entry in entries if cache.status(entry) in ("bundled", "cached")]
    if json:
        out.json(_facts(entry, entry.spec) for entry in entries)
        return
    less = ["licence", "size", "score", "clip"]
    # Where recognisers are listed too, what they are like says more than what the few localizers read.
    less.insert(4 if task == "localization" else 0, "reads features of")
    out.table(
        ("model", "family", "labels", "reads features of", "clip", "size", "score", "licence", "weights"),
        map(_row, entries),
        right=("clip", "size", "score"),
        fold=("licence",),
        drop=(*less, "family"),
    )
    if not entries:
        said = "" if text is None else f" {text!r}"
        near = _near(known, text, family, classes)
        out.note(f"No model matches{said}.{near} `vidact models list` alone lists all.")
        return
    defaults = {"recognition": f"classify uses {zoo.DEFAULT}", "localization": f"localize uses {localizers.DEFAULT}"}
    told = ", ".join(said for kind, said in defaults.items() if task in (None, kind))
    out.note(f"Without --model {told}. `vidact models show NAME` tells all about one.")


def _fits(entry: Weights[Any], text: str | None, family: str | None, classes: str | None) -> bool:
    """Whether a model passes the filters; capitals and signs between words do not matter."""
    weights = entry.spec.name.partition(".")[2]
    named = (entry.spec.name, entry.family, _labels(entry), _reads(entry), entry.spec.licence)
    return (
        (text is None or any(_within(text, one) for one in named))
        and (family is None or _plain(family) == _plain(entry.family))
        and (classes is None or any(_within(classes, one) for one in (_labels(entry), weights)))
    )


def _near(entries: Sequence[Weights[Any]], text: str | None, family: str | None, classes: str | None) -> str:
    """What was meant, perhaps, by the first filter that no entry passes; empty where that is unclear."""
    import difflib

    families = {entry.family for entry in entries}
    architectures = {entry.spec.name.partition(".")[0] for entry in entries}
    for option, given, names, alone in (
        ("--family ", family, families, (None, family, None)),
        ("--classes ", classes, {entry.labels for entry in entries if entry.labels}, (None, None, classes)),
        ("", text, families | architectures, (text, None, None)),
    ):
        if given is None or any(_fits(entry, *alone) for entry in entries):
            continue
        known = {_plain(name): name for name in sorted(names)}
        wanted = _plain(given)
        near = [name for name in known if wanted and wanted in name] or difflib.get_close_matches(wanted, known, 1)
        return f" Did you mean {option}{shlex.quote(known[near[0]])}?" if near else ""
    return ""


def _within(text: str, name: str) -> bool:
    """Whether a name holds a text; kinetics400 and k400 are the same."""
    wanted, found = _plain(text), _plain(name)
    return wanted in found or _KINETICS.sub("k", wanted) in _KINETICS.sub("k", found)


def _plain(text: str) -> str:
    return "".join(char for char in text.lower() if char.isalnum())


def _row(entry: Weights[Any]) -> tuple[str, ...]:
    from vidact.models import cache

    spec = entry.spec
    clip = f"{spec.sampling.seconds:.2f} s" if isinstance(spec, Spec) else ""
    score = _percent(spec.published.top1) if isinstance(spec, Spec) and spec.published else ""
    size = _size(entry.size)
    licence, state = spec.licence or "unknown", cache.status(entry)
    return (spec.name, entry.family, _labels(entry), _reads(entry), clip, size, score, licence, state)


def _labels(entry: Weights[Any]) -> str:
    """The list of classes by its name, or how many there are."""
    return entry.labels or str(entry.spec.classes)


def _reads(entry: Weights[Any]) -> str:
    """Which features a localizer reads."""
    return entry.spec.contract.backbone if isinstance(entry.spec, LocalizerSpec) else ""


def show_model(name: options.ModelName, all_labels: AllLabels = False, json: options.Json = False) -> None:
    """Show what is known about one model: how clips are sampled, its first labels, licence and published score."""
    entry = find(name)
    out = Output()
    if json:
        out.json([_facts(entry, entry.described())])
        return
    spec = entry.described()
    rows = [*_about(entry), *(_localizer(spec) if isinstance(spec, LocalizerSpec) else _recogniser(spec))]
    rows.append(("tested", "yes" if entry.tested else "not with the real file"))
    out.table(("", "value"), [(key, value) for key, value in rows if value], fold=("value",))
    if spec.labels:
        out.text()
        out.heading(f"{len(spec.labels)} labels")
        named = len(spec.labels) if all_labels or len(spec.labels) == FIRST + 1 else FIRST
        for number, label in enumerate(spec.labels[:named]):
            out.text(f"{number:>4}  {label}")
        if len(spec.labels) > named:
            out.text(f"      and {len(spec.labels) - named} more: vidact models show {spec.name} --all-labels")


def _recogniser(spec: Spec) -> list[tuple[str, str]]:
    sampling, geometry = spec.sampling, spec.geometry
    height, width = geometry.size
    return [
        ("published", "" if spec.published is None else _published(spec.published)),
        ("classes", str(spec.classes)),
        ("clip", f"{sampling.seconds:.2f} s: {_frames(sampling)}"),
        ("picture", f"{width} x {height}, " + _resize(spec)),
        ("protocol", "" if spec.protocol is None else _protocol(spec.protocol)),
        ("scores", f"{spec.activation}, views averaged as {spec.average}"),
        ("features", f"{spec.feature_dimension} numbers a clip" if spec.feature_dimension else ""),
    ]


def _protocol(protocol: Protocol) -> str:
    from vidact.models import zoo

    return (
        f"{zoo.told(protocol)}; {protocol.frames} frames picked by the rule {protocol.rule}, short side "
        f"{protocol.short_side}, pixels as {protocol.style} makes them"
    )


def _localizer(spec: LocalizerSpec) -> list[tuple[str, str]]:
    from vidact.store.features import shown

    return [
        ("published", spec.published),
        ("classes", str(spec.classes)),
        ("features", shown(spec.contract)),
        ("settings", ", ".join(spec.settings)),
    ]


def _about(entry: Weights[Any]) -> list[tuple[str, str]]:
    """Which weights these are, and where their file is."""
    from vidact.models import cache

    spec, state = entry.spec, cache.status(entry)
    parts = [part.spec.name for part in cache.streams(entry)]
    file = cache.folder(entry) / (cache.file_name(entry) or "FILE")
    told = {
        "bundled": "bundled with vidact",
        "cached": f"cached: {cache.cached(entry)}",
        "to download": f"{cache.address(entry)} (`vidact models pull {spec.name}`, or by hand to {file})",
        "by hand": f"{entry.where}; put the file at {file}, or give it to the run with --checkpoint",
        "no file": "none is published; give a file of your own with --checkpoint",
    }
    terms = "; commercial use is forbidden" if entry.non_commercial else ""
    return [
        ("model", spec.name),
        ("family", entry.family),
        ("about", spec.notes),
        ("weights", f"those of {' and '.join(parts)}: {state}" if parts else told[state]),
        ("size", _size(entry.size)),
        ("sha256", entry.sha256),
        ("licence", (spec.licence or "unknown") + terms),
    ]


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
    return amount(size) if size else ""


def _facts(entry: Weights[Any], spec: Spec | LocalizerSpec) -> dict[str, Any]:
    """The spec with what the zoo adds to it, for programs."""
    from vidact.models import cache

    return {
        **asdict(spec),
        "task": "recognition" if isinstance(spec, Spec) else "localization",
        "clip_seconds": spec.sampling.seconds if isinstance(spec, Spec) else None,
        "family": entry.family,
        "label_list": entry.labels,
        "bundled": entry.bundled is not None,
        "state": cache.status(entry),
        "source": entry.source,
        "url": cache.address(entry),
        "where": entry.where,
        "sha256": entry.sha256,
        "size": entry.size,
        "tested": entry.tested,
    }
