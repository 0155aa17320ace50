"""``vidact models pull|verify|convert|path|rm``: the files of weights on this machine."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidact.cli import _options as options
from vidact.cli._download import fetch, find
from vidact.cli._output import Output, amount
from vidact.cli._parse import complete_any
from vidact.errors import ModelError, UsageError

if TYPE_CHECKING:
    from vidact.models.zoo import Weights


Names = Annotated[
    list[str],
    typer.Argument(metavar="NAME", help="Models, as `vidact models list` names them.", autocompletion=complete_any),
]


def pull(names: Names, quiet: options.Quiet = False) -> None:
    """Download weights into the cache. What broke off is gone on with; what is there already is left."""
    out = Output(quiet=quiet)
    for name in names:
        for file in fetch(out, name):
            out.text(str(file))


def path(name: options.ModelName) -> None:
    """Print where the file of a model lies on this machine."""
    from vidact.models import cache

    entry = find(name)
    for one in cache.streams(entry) or [entry]:
        Output().text(str(cache.cached(one) or cache.file_of(one)))


def remove(name: options.ModelName, quiet: options.Quiet = False) -> None:
    """Remove the files of a model from the cache, also what a broken download left."""
    from vidact.models import cache

    entry = find(name)
    if entry.bundled:
        raise ModelError(
            f"{entry.spec.name} is part of vidact and cannot be removed", hint="vidact models list --cached"
        )
    here = cache.folder(entry)
    # A download that got nothing leaves its lock.
    if not any(file.name != ".lock" for file in here.glob("*")):
        raise ModelError(f"{entry.spec.name} has no file in {str(here.parent)!r}", hint="vidact models list --cached")
    size = sum(file.stat().st_size for file in here.glob("*") if file.is_file())
    try:
        here.unlink() if here.is_symlink() else shutil.rmtree(here)  # what a link leads to is somebody else's
    except OSError as error:
        raise ModelError(
            f"cannot remove {str(error.filename or here)!r}: {error.strerror or error}",
            hint="check who may write there",
        ) from error
    Output(quiet=quiet).note(f"Removed {str(here)!r} ({amount(size)}).")


def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="NAME|FILE",
            help="Models or files of weights; without any, everything in the cache.",
            autocompletion=complete_any,
            show_default=False,
        ),
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Check files of weights: the hash of those the zoo knows, and that every one can be read without running code."""
    out = Output(quiet=quiet)
    targets = [target for name in names for target in _targets(name)] if names else _cached()
    if not targets:
        out.note("The cache holds no weights.")
    states = [(str(file), *_checked(entry, file)) for entry, file in targets]
    out.table(("file", "state"), [(file, told) for file, _, told in states], fold=("file", "state"))
    wrong = [file for file, good, _ in states if not good]
    if wrong:
        raise ModelError(
            f"{len(wrong)} of {len(targets)} files are not as they should be: {', '.join(wrong)}",
            hint="`vidact models rm NAME`, then `vidact models pull NAME`; or copy the file again",
        )


def _targets(text: str) -> list[tuple[Weights[Any] | None, Path]]:
    if os.path.isfile(text):
        return [(None, Path(text))]
    if os.path.exists(text):  # a pipe would be waited for without end
        raise UsageError(f"{text!r} is no file", hint="give a file of weights, or the name of a model")
    from vidact.models import cache

    entry = find(text)
    return [(one, cache.cached(one) or Path(cache.file_of(one))) for one in cache.streams(entry) or [entry]]


def _cached() -> list[tuple[Weights[Any] | None, Path]]:
    from vidact.models import cache
    from vidact.models.zoo import ENTRIES, localizers

    entries: list[Weights[Any]] = [*ENTRIES.values(), *localizers.ENTRIES.values()]
    return [(entry, file) for entry in entries if (file := cache.cached(entry))]


def convert(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A checkpoint in any format vidact knows.")],
    model: Annotated[
        str | None,
        options.option(
            "--model",
            "-m",
            metavar="NAME",
            help="Which weights these are, or their architecture; may be left out where the file's name says it.",
            autocompletion=complete_any,
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        str | None,
        options.option(
            "--output", "-o", metavar="FILE", help="The file to write, .safetensors.", show_default="beside FILE"
        ),
    ] = None,
    trust: Annotated[
        bool,
        options.option(
            "--trust",
            allow_from_autoenv=False,  # explicit is what the user types
            help="Run the code a pickle holds, if it needs to, in a process of its own. It may do anything you may do: "
            "only for files whose maker you trust.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Write a checkpoint as one safetensors file that says itself how it is used; also PySlowFast's Caffe2 files."""
    from vidact.models import build
    from vidact.models.convert import convert as convert_file

    out = Output(quiet=quiet)
    if trust and os.path.isfile(file):
        out.note(f"Warning: code inside {file!r} is being run with your rights.")
    target, name = convert_file(file, output, name=model, trust=trust)
    out.text(str(target))
    command = "localize" if build.is_localizer(name, str(target)) else "classify"
    out.note(f"It holds {name}. Next: vidact {command} PATH --checkpoint {shlex.quote(str(target))}")


def _checked(entry: Weights[Any] | None, file: Path) -> tuple[bool, str]:
    """Whether a file is what it should be, and what is known of it."""
    from vidact.models import cache, pickles
    from vidact.models.caffe2 import read_blobs
    from vidact.models.weights import file_hash, read_tensors

    found = file_hash(file)
    published = entry.sha256 if entry and file.name in (cache.file_name(entry), entry.bundled) else ""
    noted = str(cache.note(file).get("sha256", ""))
    if not found.startswith(published):
        return False, f"SHA-256 {found}, published is {published}"
    if noted and found != noted:
        return False, f"SHA-256 {found}, when it was downloaded it was {noted}"
    try:
        (read_blobs if pickles.is_caffe2(file) else read_tensors)(file)
    except ModelError as error:
        return False, error.message
    if published or noted:
        return True, "as published" if published == found else "as downloaded"
    return True, f"can be read; SHA-256 {found}, nothing to compare it with"
