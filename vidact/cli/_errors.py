"""Exit codes, and what is said when a command ends with an error. Messages are made where the error is raised."""

from __future__ import annotations

import errno
import os
import re
import sys
import traceback

import typer

from vidact.cli._output import BOLD, ClosedPipe, abandon_stdout, coloured, plain, wrapped, write
from vidact.errors import ModelError, RunError, UsageError, VidactError

DONE = 0
UNEXPECTED = 1
USAGE = 2
MODEL = 3
RUN = 4
SOME_FAILED = 5
OUT_OF_TIME = 6
BUSY = 75
INTERRUPTED = 130
TERMINATED = 143

_CODES: dict[type[VidactError], int] = {UsageError: USAGE, ModelError: MODEL, RunError: RUN}

# What typer raises for an unknown option, a missing argument or a bad value; it has no public name of its own.
_Misuse = typer.BadParameter.__mro__[1]

_KINDS = {
    "int_parsing": "is no whole number",
    "float_parsing": "is no number",
    "bool_parsing": "is neither true nor false",
}
"""What is wrong with a value, by the name typer's parser has for it."""

RED = "\x1b[1;31m{}\x1b[0m"

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def report(error: BaseException) -> int:
    """Say on stderr what went wrong and what to do next; return the exit code."""
    if isinstance(error, (ClosedPipe, BrokenPipeError)):
        abandon_stdout()
        return DONE
    code, message, hint = explain(error)
    bold, red = (BOLD, RED) if coloured(sys.stderr) else ("{}", "{}")
    text = f"{red.format('Error:')} {wrapped(plain(message), sys.stderr, len('Error: '))}\n" if message else ""
    more = (*getattr(error, "details", ()), *_variables(message))
    text += "".join(f"{wrapped(plain(line), sys.stderr)}\n" for line in more)
    if hint:  # a command is to be copied, so no line end of ours comes into it
        whole = hint.startswith("vidact ")
        text += (
            f"{bold.format('Next:')}  {plain(hint) if whole else wrapped(plain(hint), sys.stderr, len('Next:  '))}\n"
        )
    if os.environ.get("VIDACT_DEBUG", "0") not in ("", "0"):
        trace = "".join(traceback.format_exception(error)).rstrip("\n").split("\n")
        text = "".join(f"{plain(line)}\n" for line in trace) + text
    try:
        write(sys.stderr, text)
    except ClosedPipe:
        abandon_stdout()
    return code


def explain(error: BaseException) -> tuple[int, str, str]:
    """Exit code, message and what to do next for an error that ended a command."""
    if isinstance(error, _Misuse):
        return _misuse(error)
    if isinstance(error, VidactError):
        code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), UNEXPECTED)
        return BUSY if isinstance(error, RunError) and error.busy else code, error.message, error.hint
    if isinstance(error, (KeyboardInterrupt, typer.Abort)):
        return INTERRUPTED, "interrupted", ""
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        where = error.filename or "to the disk"
        return RUN, f"cannot write {where}: {error.strerror}", "make room, then run the same command again"
    summary = traceback.format_exception_only(error)[-1].strip()
    return UNEXPECTED, f"unexpected: {summary}", "run it again with VIDACT_DEBUG=1 to see where, and report it"


def _variables(message: str) -> list[str]:
    """Variables of ours whose value an error is about, as far as nobody typed it: who set one may not think of it."""
    return [
        f"{name} is {value!r}."
        for name, value in sorted(os.environ.items())
        if name.startswith("VIDACT_") and value and value not in sys.argv and name not in message
        if f"'{value}'" in message or re.search(rf"(?<![\w/]){re.escape(value)}(?=:|/weights\b|/features\b)", message)
    ]


def _misuse(error: BaseException) -> tuple[int, str, str]:
    """typer's own complaints. It has printed the help already when nothing at all was given."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return USAGE, "", ""
    message = (error.format_message() if hasattr(error, "format_message") else str(error)).replace("Value error, ", "")
    found = getattr(error.__cause__, "errors", None)
    wrong = found()[0] if found else {}
    if wrong.get("type") in _KINDS:
        message = message.replace(wrong["msg"], f"{wrong['input']!r} {_KINDS[wrong['type']]}.")
    context = getattr(error, "ctx", None)
    name = getattr(getattr(error, "param", None), "name", None)
    if context and name and getattr(context.get_parameter_source(name), "name", "") == "ENVIRONMENT":
        message = f"{message.rstrip('.')} (it stands in the variable {context.auto_envvar_prefix}_{name.upper()})"
    return USAGE, message, f"{context.command_path if context else 'vidact'} --help"
