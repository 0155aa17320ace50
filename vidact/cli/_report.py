"""What a command says before a run, instead of one (``--dry-run``) and after it."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from vidact.cli._output import Output, amount, counted
from vidact.cli._progress import Progress
from vidact.errors import UsageError

if TYPE_CHECKING:
    from vidact.engine.plan import Todo
    from vidact.engine.request import Request
    from vidact.engine.run import Prepared
    from vidact.records import Outcome, RunSettings, Spec
    from vidact.video.find import Found

NAMED = 10
"""Videos, skipped paths or labels named one by one; the others are counted."""


def nothing_found(paths: Sequence[str], found: Found | None, features: str | None) -> UsageError:
    """The error for lists without an entry, inputs without a single video, or inputs of which none exists."""
    looked = ", ".join(repr(path) for path in paths[:NAMED])
    if found is None and not paths:
        return UsageError(
            "no videos were named", hint="name videos or directories, or a folder of features with --features DIR"
        )
    if found is None:
        return UsageError(f"nothing is listed in {looked}", hint="--allow-empty makes an empty list no error")
    if found.videos and not paths:
        return UsageError(
            f"the features {features!r} lists are gone, such as {found.videos[0].path!r}",
            hint="make them again with the `vidact features` command that wrote the folder",
        )
    if found.videos:
        return UsageError(f"no such file or directory: {looked}", hint="check the name, and that its disk is mounted")
    why = "; ".join(f"{path}: {reason}" for path, reason in found.skipped[:3])
    return UsageError(
        f"no video in {looked}" + (f" ({why})" if why else ""),
        hint="name videos, or directories with files such as .mp4, .mkv or .mov; --allow-empty makes this no error",
    )


def begin(out: Output, request: Request, prepared: Prepared) -> None:
    """Which model, if nobody chose it; how much there is to do; what cannot be used."""
    todo, found = prepared.todo, prepared.found
    for line in _about(request, prepared):
        out.note(line)
    out.note(f"{_found(found)}: {_counts(prepared)}")
    strange = sum(os.path.isabs(video.video) for video in todo.videos) if found.root else 0
    if prepared.resumed and strange:
        added = "this one is" if strange == 1 else "these are"
        out.note(f"{request.out} holds a run of {found.root}; {added} added to it (-o names another folder).")
    for line in _skipped(found):
        out.note(line)
    if prepared.resumed and todo.videos:
        _warn_of_device(out, request, prepared)


def _about(request: Request, prepared: Prepared) -> Iterator[str]:
    """Which weights, where a name was left out or stood for one of several; what makes the features."""
    name, asked = prepared.choice.name, request.model
    known = request.command != "features"  # features alone tell nothing yet
    if known and request.checkpoint is None and asked != name and name.partition(".")[2].startswith("camera-motion"):
        knows = "camera motion, cuts and fades" if request.command == "localize" else "camera motion and cuts"
        yield f"Using {name}: it knows {knows}, not human actions. For models that do: vidact models list"
    elif asked != name:
        yield f"Using {name}."
    backbone = prepared.settings.backbone
    if backbone:
        yield f"Features by {backbone}" + (", or from what is there." if request.features else ".")


def plan(out: Output, request: Request, prepared: Prepared) -> None:
    """What would be done."""
    todo, found = prepared.todo, prepared.found
    out.heading("Dry run: nothing was started and nothing written.")
    limited = f"{todo.left}, left for later by --limit" if todo.left else ""
    rows = [
        ("videos", _found(found)),
        ("done already", f"{todo.done}, left as they are" if todo.done else "none"),
        ("failed before", f"{todo.failed}, left as they are (--retry-failed tries them again)" if todo.failed else ""),
        ("to do", _to_do(todo)),
        ("not now", limited),
        ("model", _model(prepared)),
        ("checkpoint", prepared.settings.checkpoint),
        *_meaning(prepared),
        ("would start", _engine(prepared) if todo.videos else "nothing"),
        ("would write", _where(request, prepared)),
    ]
    out.table(("", "what"), [row for row in rows if row[1]], fold=("what",))
    for line in [*_skipped(found), *_named([video.video for video in todo.videos], "to do: {}")]:
        out.text(line)


def _found(found: Found) -> str:
    """How many videos there are, and what their names count from."""
    number = counted(len(found.videos), "video")
    if not found.root:
        return f"{number} without a common folder, named by their whole paths"
    outside = sum(os.path.isabs(video.video) for video in found.videos)
    where = " outside" if outside == len(found.videos) else f", {outside} of them outside" if outside else " in"
    return f"{number}{where} {found.root}"


def _to_do(todo: Todo) -> str:
    if not todo.videos:
        return "nothing"
    size = sum(video.size or 0 for video in todo.videos)
    kinds = ((todo.new, "new"), (todo.changed, "changed since"), (todo.retried, "failed before"))
    told = ", ".join(f"{number} {word}" for number, word in kinds if number)
    return f"{counted(len(todo.videos), 'video')} ({amount(size)}): {told}"


def outcome(outcome: Outcome) -> str:
    """A video in the log."""
    row = outcome.row
    if outcome.status == "failed":
        return f"failed {outcome.video.video}: {row.get('error')}: {row.get('error_message')}"
    clips = counted(row.get("clips") or 0, "clip")
    return f"{outcome.status} {outcome.video.video}: {clips}, {row.get('duration') or 0.0:.2f} s"


def end(out: Output, request: Request, prepared: Prepared, progress: Progress, reason: str, left: int) -> None:
    """What came of it and what to do next."""
    if not prepared.todo.videos:
        out.text("Nothing to do.")
    else:
        if request.out != "-":
            _tables(out, request.out)
        out.text(progress.summary())
    stopped = {"interrupted": "Stopped", "max-runtime": "Out of time"}.get(reason)
    if stopped is not None:
        kept = "was written" if request.out == "-" else "is kept"
        out.note(f"{stopped}, {counted(left, 'video')} left; what is done {kept}.")
    if request.out == "-":
        return
    name = shlex.quote(request.out)
    out.text(f"Results: {name}")
    commands = [again()] if left else []
    commands.append(f"{program()} show {name}")
    if request.command == "features" and (which := _localizer(request)):
        commands.append(f"{program()} localize --features {name} {which}")
    if progress.failed or prepared.todo.failed:
        commands += [f"{program()} show {name} --status failed", again("--retry-failed")]
    for number, command in enumerate(commands):
        out.note(f"{'      ' if number else 'Next: '} {command}", command=True)


def stopped_at_once(out: Output, request: Request) -> None:
    """What is left after a second Ctrl-C."""
    if request.out == "-":
        out.note("Stopped at once.")
        return
    out.note("Stopped at once; what is done is kept.")
    out.note(f"Next:  {again()}", command=True)


def _localizer(request: Request) -> str:
    """The option that names the localizer whose features these are; empty when they are a recogniser's."""
    from vidact.models import build

    if not build.is_localizer(request.model, request.checkpoint):
        return ""
    return shlex.join(["--checkpoint", request.checkpoint] if request.checkpoint else ["--model", str(request.model)])


def program() -> str:
    """How vidact was called, so that it can be called so again."""
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":
        return "python -m vidact"
    found = shutil.which("vidact")
    return "vidact" if found and os.path.abspath(called) == os.path.abspath(found) else shlex.quote(called)


def again(*more: str, arguments: Sequence[str] | None = None) -> str:
    """The command line that goes on with a run: the same, but never one that begins by deleting."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    end = words.index("--") if "--" in words else len(words)  # what follows are names, whatever they look like
    options = [word for word in words[:end] if word != "--overwrite"]
    options += [word for word in more if word not in options]
    return f"{program()} {shlex.join([*options, *words[end:]])}".rstrip()


def _counts(prepared: Prepared) -> str:
    todo = prepared.todo
    parts = [f"{len(todo.videos)} to do"] if todo.videos else []
    parts += [f"{number} {word}" for number, word in ((todo.changed, "changed"), (todo.retried, "again")) if number]
    parts += [f"{todo.done} done"] if todo.done else []
    parts += [f"{todo.failed} failed before"] if todo.failed else []
    parts += [f"{todo.left} left for later"] if todo.left else []
    return ", ".join(parts)


def _skipped(found: Found) -> list[str]:
    return _named([f"{path}: {reason}" for path, reason in found.skipped], "skipped {}")


def _named(names: Sequence[str], form: str) -> list[str]:
    lines = [form.format(name) for name in names[:NAMED]]
    return lines + ([form.format(f"and {len(names) - NAMED} more")] if len(names) > NAMED else [])


def _warn_of_device(out: Output, request: Request, prepared: Prepared) -> None:
    from vidact.store.manifest import load_run

    run = load_run(request.out)
    before = run["invocations"][-1]["settings"].get("device") if run and run.get("invocations") else None
    now = prepared.settings.device
    if before is not None and before != now:
        out.note(f"The run was on {before} before and is on {now} now: scores may differ in the last digits.")


def _model(prepared: Prepared) -> str:
    about = prepared.choice.localizer or prepared.choice.recogniser
    assert about is not None
    return f"{about.spec.name}, {about.spec.classes} classes, weights {about.weights_hash[:12] or 'unknown'}"


def _meaning(prepared: Prepared) -> list[tuple[str, str]]:
    """What is made of each video."""
    from vidact.store.features import FeatureCache, shown

    settings, spec, contract = prepared.settings, prepared.choice.spec, prepared.choice.contract
    if contract is not None:
        cache, videos = FeatureCache(settings.cache, contract), prepared.todo.videos
        there = sum(map(cache.has, videos))
        kept = f"{settings.cache}, with those of {there} of the {len(videos)} to do" if videos else settings.cache
        rows = [("features", shown(contract)), ("features from", settings.features), ("cache", kept)]
        if settings.command == "localize":
            nms = {None: "as the weights were evaluated", "soft": "soft", "hard": "hard", "none": "none"}[settings.nms]
            most = f"{settings.max_segments} a video" if settings.max_segments else "as many as the weights give"
            rows += [("NMS", nms), ("segments kept", f"{most}, scores from {settings.min_score:g}")]
        return rows
    assert spec is not None
    return [
        ("clip", _clip(settings, spec)),
        ("labels kept", f"the best {settings.top_k}, scores from {settings.threshold:g}"),
    ]


def _clip(settings: RunSettings, spec: Spec) -> str:
    from vidact.models import zoo

    if settings.protocol == "paper" and spec.protocol is not None:
        return f"{spec.protocol.frames} frames, as published: {zoo.told(spec.protocol)}"
    length = settings.clip_seconds or spec.sampling.seconds
    apart = f"the next begins {settings.stride_seconds or length:.2f} s later"
    views = f"{settings.views} views of each video"
    return f"{spec.sampling.frames} frames over {length:.2f} s; {views if settings.views else apart}"


def _engine(prepared: Prepared) -> str:
    settings = prepared.settings
    if settings.workers == 0:
        how = "nothing besides this process"
    else:
        ray = f"the Ray cluster {settings.address}" if settings.address else "a private Ray"
        how = f"{settings.workers} model and {settings.decoders} decode processes of {ray}"
    return f"{how}; {settings.device}, {settings.dtype}, {settings.batch_size} clips a call; decoder {settings.decoder}"


def _where(request: Request, prepared: Prepared) -> str:
    if request.out == "-":
        return "JSONL to standard output"
    from vidact.store.manifest import DETAIL

    kinds = f"{prepared.settings.format}, tables videos and {DETAIL[request.command]}"
    if prepared.resumed:
        return f"to {request.out} ({kinds}), going on with the run there"
    return f"to {request.out} ({kinds}), a new run" + (" that replaces what is there" if request.overwrite else "")


def _tables(out: Output, folder: str) -> None:
    """Labels and failures of this invocation, as the run folder counted them."""
    facts = summary(folder).get("invocation", {})
    labels = facts.get("labels", [])
    if labels:
        named = NAMED if len(labels) > NAMED + 1 else len(labels)  # the line that hides one could name it
        counted = ("segments",) if any("segments" in found for found in labels) else ("videos", "clips")
        out.table(
            ("label", *counted),
            ((found["label"], *(found.get(kind, 0) for kind in counted)) for found in labels[:named]),
            right=counted,
            fold=("label",),
        )
        if len(labels) > named:
            out.text(f"and {len(labels) - named} more labels")
    if facts.get("failures"):
        out.table(
            ("failed", "cause", "for example"),
            (
                (found["videos"], found["error"], f"{found['example']}: {found['message']}")
                for found in facts["failures"][:NAMED]
            ),
            right=("failed",),
            fold=("for example",),
        )


def summary(folder: str) -> dict[str, Any]:
    """The summary.json of a run folder; empty when there is none that can be read."""
    try:
        with open(os.path.join(folder, "summary.json"), "rb") as file:
            found = json.loads(file.read())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
