"""Assembles the commands. ``main`` holds the only place where an error becomes an exit code."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Annotated, NoReturn

import typer
from typer.core import TyperArgument, TyperOption

import vidact
from vidact.cli import _errors
from vidact.cli._output import prepare_streams
from vidact.cli.classify import classify
from vidact.cli.evaluate_localization import localization
from vidact.cli.evaluate_protocol import protocol
from vidact.cli.evaluate_recognition import recognition
from vidact.cli.features import features
from vidact.cli.localize import localize
from vidact.cli.models import list_models, show_model
from vidact.cli.show import show
from vidact.cli.status import status
from vidact.cli.train_localizer import localizer
from vidact.cli.train_recognizer import recognizer
from vidact.cli.weights import convert, path, pull, remove, verify

_group = partial(typer.Typer, no_args_is_help=True, pretty_exceptions_enable=False)

app = _group(
    name="vidact",
    help="Tells which action every clip of your videos shows, and when actions happen, as Parquet or JSONL.",
    epilog="Begin with: vidact classify DIRECTORY",
)
models = _group(help="The models vidact knows, and their files on this machine.")
train = _group(help="Train a model on your own videos.")
evaluate = _group(help="Judge what a run found by what is true.")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vidact {vidact.__version__}")
        raise typer.Exit


@app.callback()
def start(
    version: Annotated[
        bool,
        typer.Option("--version", metavar="", help="Print the version and leave.", callback=_version, is_eager=True),
    ] = False,
) -> None:
    """Options in front of the command."""


def _add(group: typer.Typer, command: Callable[..., None], *words: str) -> None:
    """Register a command; each of its options also comes from ``VIDACT_<COMMAND>_<OPTION>``."""
    prefix = "_".join(("vidact", *words)).upper()
    paragraphs = inspect.cleandoc(command.__doc__ or "").split("\n\n")
    register = group.command(
        words[-1],
        help="\n\n".join(" ".join(text.split()) for text in paragraphs),  # the terminal says where lines end
        context_settings={"auto_envvar_prefix": prefix},
        epilog=f"The value of an option may also stand in the variable {prefix}_<OPTION>.",
    )
    register(command)


# Typer shows Python's types, such as <list[str]> and <bool>, which tell nobody anything.
TyperArgument.display_type_rich = lambda self, ctx: None  # type: ignore[method-assign]
TyperOption.display_type_rich = lambda self, ctx: self.metavar or None  # type: ignore[method-assign]

_add(app, classify, "classify")
_add(app, localize, "localize")
_add(app, features, "features")
_add(app, show, "show")
_add(app, status, "status")
_add(models, list_models, "models", "list")
_add(models, show_model, "models", "show")
_add(models, pull, "models", "pull")
_add(models, verify, "models", "verify")
_add(models, convert, "models", "convert")
_add(models, path, "models", "path")
_add(models, remove, "models", "rm")
_add(train, recognizer, "train", "recognizer")
_add(train, localizer, "train", "localizer")
_add(evaluate, localization, "evaluate", "localization")
_add(evaluate, recognition, "evaluate", "recognition")
_add(evaluate, protocol, "evaluate", "protocol")
app.add_typer(models, name="models")
app.add_typer(train, name="train")
app.add_typer(evaluate, name="evaluate")


def main() -> NoReturn:
    """Run the command line and end the process with its exit code."""
    prepare_streams()
    try:
        code = int(app(prog_name="vidact", standalone_mode=False) or _errors.DONE)
        sys.stdout.flush()
    except SystemExit as stop:
        # typer itself leaves with 1 when a pipe closes under it; that is no failure of ours.
        if not isinstance(stop.__context__, BrokenPipeError):
            raise
        code = _errors.report(stop.__context__)
    except BaseException as error:  # whatever happened: the one place where it becomes an exit code
        code = _errors.report(error)
    if code == _errors.INTERRUPTED and sys.stderr.isatty():
        sys.stderr.write("\r    \r")  # over the ^C that was typed: the next prompt begins at the left
    _leave(code)


def _leave(code: int) -> NoReturn:
    """End the process. Behind Ray and pyarrow, at once: a thread of theirs that comes back while the interpreter is
    taken down aborts the process, seldom, and after all its work. The pool has ended whatever was to be ended."""
    if "ray" in sys.modules or "pyarrow" in sys.modules:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)
    sys.exit(code)
