"""Which error ends with which exit code, and what is said."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import pytest
import typer
from cli.conftest import Vidact
from cli.runs import make_run, outcome
from cli.test_output import Screen

from vidact.cli import _errors
from vidact.cli._output import ClosedPipe
from vidact.cli.status import status
from vidact.errors import ModelError, RunError, UsageError, VideoError


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("x"), 2),
        (ModelError("x"), 3),
        (RunError("x"), 4),
        (RunError("x", busy=True), 75),
        (VideoError("NotFound", "x"), 1),
        (typer.BadParameter("x"), 2),
        (KeyboardInterrupt(), 130),
        (OSError(errno.ENOSPC, "No space left on device", "/full"), 4),
        (OSError(errno.EIO, "Input/output error"), 1),
        (ValueError("x"), 1),
    ],
)
def test_exit_codes(error: BaseException, code: int) -> None:
    assert _errors.explain(error)[0] == code


def test_message_and_next_step(capsys: pytest.CaptureFixture[str]) -> None:
    assert _errors.report(UsageError("no \x1b[31mgood", hint="vidact --help\n")) == 2
    assert capsys.readouterr() == ("", "Error: no \\x1b[31mgood\nNext:  vidact --help\\x0a\n")


def test_details_are_lines_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    _errors.report(UsageError("a\nb", details=("one\x1b", "two\n"), hint="c"))
    assert capsys.readouterr().err == "Error: a\\x0ab\none\\x1b\ntwo\\x0a\nNext:  c\n"


def test_on_a_terminal_words_are_kept_whole_and_commands_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "20")
    monkeypatch.setenv("NO_COLOR", "1")
    _errors.report(UsageError("none of these words fits", hint="vidact features PATH -o DIR"))
    _errors.report(UsageError("", hint="check the name of the file"))
    assert screen.getvalue() == (
        "Error: none of these\nwords fits\nNext:  vidact features PATH -o DIR\nNext:  check the\nname of the file\n"
    )


def test_an_unexpected_error_is_a_line_and_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    assert _errors.report(ZeroDivisionError("division by zero")) == 1
    said = capsys.readouterr().err
    assert said.startswith("Error: unexpected: ZeroDivisionError: division by zero\n")
    assert "VIDACT_DEBUG=1" in said
    assert "Traceback" not in said


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDACT_DEBUG", "1")
    try:
        raise RunError("no disk") from OSError("why")
    except RunError as error:
        assert _errors.report(error) == 4
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "OSError: why" in said
    assert "Error: no disk" in said


def test_a_closed_pipe_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_errors, "abandon_stdout", lambda: None)
    assert _errors.report(ClosedPipe()) == 0
    assert _errors.report(BrokenPipeError()) == 0


def test_main_is_where_errors_end(vidact: Vidact, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(sys.modules[status.__module__], "_facts", broken)
    monkeypatch.setattr("vidact.store.reader.Reader", lambda out: None)
    done = vidact("status", "x")
    assert (done.code, done.out) == (1, "")
    assert "ZeroDivisionError: oh" in done.err


def test_no_run_there(vidact: Vidact) -> None:
    for command in ("show", "status"):
        done = vidact(command, "nowhere")
        assert (done.code, done.out) == (4, "")
        assert "nowhere" in done.err


def test_a_traceback_does_not_steer_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDACT_DEBUG", "1")
    _errors.report(ValueError("\x1b[2J\rgone"))
    said = capsys.readouterr().err
    assert "ValueError: \\x1b[2J\\x0dgone\n" in said
    assert not {"\x1b", "\r"} & set(said)


def test_a_bad_value_from_a_variable_names_the_variable(vidact: Vidact, monkeypatch: pytest.MonkeyPatch) -> None:
    for command, name in (("classify", "CLASSIFY_TOP_K"), ("show", "SHOW_LIMIT")):
        monkeypatch.setenv(f"VIDACT_{name}", "abc")
        done = vidact(command, "x")
        assert done.code == 2 and f"the variable VIDACT_{name}" in done.err, done.err
    typed = vidact("classify", "x", "--top-k", "abc").err
    assert "'abc' is no whole number" in typed and "variable" not in typed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DEVICE", "gpu"),
        ("DECODER", "x"),
        ("CLASSIFY_MODEL", "nomodel"),
        ("CLASSIFY_CHECKPOINT", "no.pth"),
        ("CLASSIFY_LABELS", "no.txt"),
        ("CLASSIFY_QUIET", "maybe"),
        ("CLASSIFY_LOG_FILE", "none/x.log"),
    ],
)
def test_an_error_about_a_variable_names_it(
    vidact: Vidact, videos: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"VIDACT_{name}", value)
    done = vidact("classify", videos)
    assert done.code in (2, 3) and f"VIDACT_{name}" in done.err, done.err


def test_a_variable_that_has_nothing_to_do_with_an_error_is_not_named(
    vidact: Vidact, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDACT_CLASSIFY_OUTPUT", "nowhere")
    monkeypatch.setenv("VIDACT_OFFLINE", "1")
    assert "VIDACT_" not in vidact("show", "nowhere").err


def test_commands_to_copy_are_quoted(vidact: Vidact, tmp_path: Path) -> None:
    make_run(tmp_path / "my run", [outcome("a.mp4")])
    assert "Next:  vidact show 'my run'\n" in vidact("show", "my run", "--video", "b.mp4").err
