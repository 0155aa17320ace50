"""The sink: nothing from outside steers the terminal, a pipe gets plain lines, a closed one ends quietly."""

from __future__ import annotations

import io
import sys

import pytest

from vidact.cli._output import ClosedPipe, Output, amount, folded, plain, shortened


class Screen(io.StringIO):
    """A terminal that remembers what was written to it."""

    def isatty(self) -> bool:
        return True


class Gone(io.StringIO):
    """A pipe whose reader has left."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


HOSTILE = {
    "[red]x[/red]": "[red]x[/red]",
    "\x1b[31mred\x1b[0m": "\\x1b[31mred\\x1b[0m",
    "two\nlines\r\ttab": "two\\x0alines\\x0d\\x09tab",
    "\udcff\udc80": "\\xff\\x80",
    "\x9b31m": "\\x9b31m",
    "\u202egnp.mp4": "\\u202egnp.mp4",
    "\u2028": "\\u2028",
    "é 日本 👨‍👩‍👧": "é 日本 👨‍👩‍👧",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_plain(name: str) -> None:
    assert plain(name) == HOSTILE[name]


def test_a_table_into_a_pipe_is_tabs_and_lines(capsys: pytest.CaptureFixture[str]) -> None:
    Output().table(("video", "score"), [(name, None) for name in HOSTILE])
    lines = capsys.readouterr().out.split("\n")
    assert lines[:-1] == [f"{shown}\t" for shown in HOSTILE.values()]


@pytest.mark.parametrize("width", [20, 80, 200])
def test_a_table_on_a_terminal_styles_only_its_header(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Output().table(
        ("video", "label", "score"), [(name, "[bold]l[/bold]", "0.500") for name in HOSTILE], fold=("video",)
    )
    text = screen.getvalue()
    header = text.splitlines()[0]
    assert "\x1b[1m" in header
    assert "\x1b" not in text.replace(header, "")
    for line in text.splitlines()[1:]:
        assert line.isprintable() or "\u200d" in line
    assert text.count("[bold]l[/bold]  0.500") == len(HOSTILE)


def test_no_colour_when_the_user_wants_none(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    Output().table(("video",), [("a.mp4",)])
    assert "\x1b[3" not in screen.getvalue()


def test_long_names_are_folded_but_never_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "60")
    name = "".join(chr(ord("a") + number % 26) for number in range(200))
    Output().table(("video", "label", "score"), [(name, "pan-left", "0.500")], fold=("video",))
    lines = screen.getvalue().splitlines()[1:]
    assert max(map(len, lines)) <= 60
    assert "".join(line.split()[0] for line in lines) == name
    assert lines[0].endswith("pan-left  0.500")


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("two words", ["two", "words"]),
        ("a b c", ["a b c"]),
        ("abcdefgh ij", ["abcdef", "gh ij"]),
        ("日本語日本", ["日本語", "日本"]),
        ("", [""]),
        ("abc-de-f", ["abc-", "de-f"]),
        ("a-bcdefghi", ["a-bcde", "fghi"]),
        ("ab/c.de", ["ab/", "c.de"]),
    ],
)
def test_folded(text: str, lines: list[str]) -> None:
    assert folded(text, 6) == lines


@pytest.mark.parametrize(
    ("text", "width", "short"),
    [
        ("archive/2019/camera-2/0001.mp4", 21, "archive…ra-2/0001.mp4"),
        ("archive/a-long-name-of-a-file.mp4", 21, "archi…e-of-a-file.mp4"),
        ("x/日本語日本語.mp4", 10, "x/…語.mp4"),
    ],
)
def test_names_are_shortened_in_the_middle(text: str, width: int, short: str) -> None:
    assert shortened(text, width) == short


def test_what_a_narrow_terminal_has_no_room_for_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    name, size = "folder/" * 20 + "0001.mp4", "1" * 30
    for columns, told in (
        ("40", "No room for size, and long names are shortened; a wider terminal or --json shows all.\n"),
        ("80", "Long names are shortened; a wider terminal or --json shows all.\n"),
        ("200", ""),
    ):
        monkeypatch.setenv("COLUMNS", columns)
        Output().table(("video", "size"), [(name, size)], shorten=("video",), drop=("size",))
        lines = screen.getvalue().splitlines()[-2:]
        assert (len(lines), max(map(len, lines)) <= int(columns)) == (2, True)
        assert lines[1].split()[0].endswith("/0001.mp4") and (size in lines[1]) is ("size" not in told)
        assert capsys.readouterr().err == told


@pytest.mark.parametrize(
    ("size", "told"), [(0, "0.0 kB"), (50_000, "50.0 kB"), (12_345_678, "12.3 MB"), (4_500_000_000, "4.5 GB")]
)
def test_amounts_are_in_powers_of_1000(size: int, told: str) -> None:
    assert amount(size) == told


def test_a_long_table_keeps_one_header_and_every_row(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    Output().table(("video", "score"), ((f"{number}.mp4", number) for number in range(1200)))
    text = screen.getvalue()
    assert text.count("video") == 1
    assert [line.split()[1] for line in text.splitlines()[1:]] == [str(number) for number in range(1200)]


def test_an_empty_column_is_left_out_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    Output().table(("video", "size", "score"), [("a.mp4", None, 1)])
    assert "size" not in screen.getvalue()


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(quiet=True)
    out.text("a")
    out.note("b")
    out.heading("c")
    out.table(("d",), [("e",)])
    assert capsys.readouterr() == ("", "")


def test_notes_are_broken_between_words_on_a_terminal_only(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = "it knows not human actions: /a/path/that/is/wider"
    Output().note(line)
    assert capsys.readouterr().err == line + "\n"
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("COLUMNS", "14")
    Output().note(line)
    Output().note(line, command=True)
    assert screen.getvalue() == f"it knows not\nhuman actions:\n/a/path/that/is/wider\n{line}\n"


def test_when_rows_go_to_stdout_words_do_not(capsys: pytest.CaptureFixture[str]) -> None:
    out = Output(data=True)
    out.text("a")
    out.note("b")
    out.table(("c",), [("d",)])
    assert capsys.readouterr() == ("", "a\nb\nd\n")


def test_a_closed_pipe_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", Gone())
    with pytest.raises(ClosedPipe):
        Output().text("a")


def test_the_log_is_plain_and_appended_to(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    log = f"{tmp_path}/run.log"
    for line in ("first \x1b[31m\n", "second \udcff"):
        with Output(quiet=True, log_file=log) as out:
            out.note(line)
    with open(log, encoding="utf-8") as file:
        lines = file.read().split("\n")
    assert [line[20:] for line in lines] == ["first \\x1b[31m\\x0a", "second \\xff", ""]
    assert capsys.readouterr() == ("", "")


def test_the_log_tells_what_ended_the_run(tmp_path: object) -> None:
    log = f"{tmp_path}/run.log"
    with pytest.raises(ValueError), Output(log_file=log):
        raise ValueError("of course")
    with open(log, encoding="utf-8") as file:
        assert "ValueError: of course" in file.read()
