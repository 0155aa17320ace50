"""Every command has help, every option one name, and nothing that destroys can come from the environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import typer
from cli.conftest import Vidact
from typer.testing import CliRunner

from vidact import __version__
from vidact.cli.app import app
from vidact.models import zoo


def commands() -> dict[str, Any]:
    """Every command by the words that call it."""
    root: Any = typer.main.get_command(app)
    found = {}
    for name, command in root.commands.items():
        inner = getattr(command, "commands", None)
        found |= {name: command} if inner is None else {f"{name} {word}": deep for word, deep in inner.items()}
    return found


COMMANDS = commands()


def options(command: str) -> list[Any]:
    return [each for each in COMMANDS[command].params if each.opts[0].startswith("-")]


def test_the_commands_are_these() -> None:
    assert set(COMMANDS) >= {"classify", "show", "status", "models list", "models show", "train recognizer"}


@pytest.mark.parametrize("command", COMMANDS)
def test_help_names_every_option(command: str) -> None:
    done = CliRunner().invoke(app, [*command.split(), "--help"], env={"TERMINAL_WIDTH": "200", "COLUMNS": "200"})
    assert done.exit_code == 0
    for option in options(command):
        assert max(option.opts, key=len) in done.output
        assert option.help, option.opts


@pytest.mark.parametrize("command", COMMANDS)
def test_help_at_80_columns_has_words_and_no_types(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)  # typer looks at the terminal once
    said = CliRunner().invoke(app, [*command.split(), "--help"], env={"COLUMNS": "80"}).output
    assert max(map(len, said.splitlines())) <= 80
    for noise in (
        "<bool>",
        "<str>",
        "<list",
        "<int",
        "<float",
        "TEXT ",
        "INTEGER",
        "FLOAT",
        "BOOLEAN",
        "x>=",
        "<=x",
        "[[",
    ):
        assert noise not in said, noise
    for option in options(command):
        if not option.is_flag:
            assert option.metavar, option.opts
        for choice in getattr(option.type_descriptor, "choices", None) or ():
            assert str(choice) in said, (option.opts, choice)


def test_numbers_out_of_bounds_are_told_in_words(vidact: Vidact) -> None:
    for arguments, told in (
        (("classify", "x", "--top-k", "0"), "0 is not at least 1."),
        (("train", "recognizer", "x", "--held-out", "0.95"), "0.95 is not at least 0.01 and at most 0.9."),
        (("train", "recognizer", "x", "--held-out", "nan"), "nan is not at least 0.01 and at most 0.9."),
    ):
        done = vidact(*arguments)
        assert done.code == 2 and told in done.err, done.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_variable_of_an_option_is_called_like_the_option(command: str) -> None:
    for option in options(command):
        if option.name != "help":
            assert max(option.opts, key=len) == "--" + option.name.replace("_", "-")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_destroys_has_no_variable(command: str) -> None:
    for option in options(command):
        assert not option.envvar
        if option.name in ("overwrite", "trust"):
            assert not option.allow_from_autoenv


def test_the_same_option_is_the_same_everywhere() -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for command in ("classify", "show", "status", "models list", "models show"):
        for option in options(command):
            if option.name == "limit":  # videos to do, and lines to print: the one word that fits both
                continue
            facts = (option.opts, option.help, option.metavar)
            assert seen.setdefault(option.name, facts) == facts


def test_version(vidact: Vidact) -> None:
    assert vidact("--version") == (0, f"vidact {__version__}\n", "")


def test_a_variable_called_version_is_none_of_ours(vidact: Vidact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDACT_VERSION", "0.1.0")
    assert vidact("models", "list").code == 0


def test_no_command_prints_the_help(vidact: Vidact) -> None:
    done = vidact()
    assert done.code == 2
    assert "classify" in done.out
    assert done.err == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["clasify"], "Did you mean 'classify'?"),
        (["classify"], "Missing argument 'PATH'"),
        (["classify", "--no-such-option", "x"], "--no-such-option"),
        (["show", "x", "--status", "good"], "good"),
        (["models", "show"], "Missing argument 'NAME'"),
    ],
)
def test_misuse_is_told_in_words(vidact: Vidact, arguments: list[str], said: str) -> None:
    done = vidact(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert said in done.err
    assert re.search(r"^Next: .* --help$", done.err, re.MULTILINE)


def test_misuse_cannot_steer_the_terminal(vidact: Vidact) -> None:
    done = vidact("show", "out", "\x1b[31m[red]x[/red]\n")
    assert done.code == 2
    assert "\\x1b[31m[red]x[/red]\\x0a" in done.err
    assert "\x1b" not in done.err


def test_every_command_that_makes_a_run_has_a_folder_of_its_own() -> None:
    found = {
        name: next(option.default for option in commands()[name].params if option.name == "output")
        for name in ("classify", "localize", "features")
    }
    assert found == {"classify": "vidact-out", "localize": "vidact-segments", "features": "vidact-features"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(vidact: Vidact, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("_VIDACT_COMPLETE", f"source_{shell}")
    done = vidact()
    assert done.code == 0
    assert f"_VIDACT_COMPLETE=complete_{shell}" in done.out


@pytest.mark.parametrize(
    ("line", "expected"),
    [("vidact cl", "classify"), ("vidact classify --model att", zoo.DEFAULT), ("vidact models show att", zoo.DEFAULT)],
)
def test_completion(vidact: Vidact, monkeypatch: pytest.MonkeyPatch, line: str, expected: str) -> None:
    monkeypatch.setenv("_VIDACT_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(len(line.split()) - 1))
    done = vidact()
    assert done.code == 0
    assert expected in done.out.split()


def test_readme_names_every_command() -> None:
    readme = Path(__file__).resolve().parents[2] / "README.md"
    text = readme.read_text(encoding="utf-8")
    missing = [command for command in COMMANDS if f"vidact {command}" not in text]
    assert not missing, f"README.md does not name {missing}"


def test_decoders_are_called_so_everywhere(vidact: Vidact) -> None:
    said = vidact("train", "recognizer", "--help").out
    assert "--decoders" in said
    assert "--workers" not in said
