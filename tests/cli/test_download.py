"""What is said while weights arrive."""

from __future__ import annotations

import re
import sys
import time

import pytest
from cli.test_output import Screen

from vidact.cli import _live
from vidact.cli._download import Arrival
from vidact.cli._output import Output


def test_without_a_terminal_what_is_waited_for_is_said_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    with Arrival(Output()) as arrival:
        arrival.wait("connecting to example.org")
        assert capsys.readouterr().err == "Connecting to example.org.\n"


def test_on_a_terminal_a_line_is_always_there(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(_live, "TICK", 0.01)
    monkeypatch.setenv("COLUMNS", "100")
    with Arrival(Output()) as arrival:
        arrival.wait("connecting to example.org")
        time.sleep(0.1)
        arrival(1_000_000, 4_000_000)
        time.sleep(0.05)
        arrival(2_000_000, 4_000_000)
        time.sleep(0.1)
    drawn = [line.rstrip() for line in screen.getvalue().split("\r")]
    assert "connecting to example.org, 0 s" in drawn
    assert any(
        re.fullmatch(r"50% \|=={9}          \| 2\.0 MB of 4\.0 MB, [\d.]+ MB/s, 0:0\d left", line) for line in drawn
    )
    assert drawn[-1] == "" and "\n" not in screen.getvalue()


def test_other_lines_stand_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(_live, "TICK", 0.005)
    out = Output()
    with Arrival(out) as arrival:
        for number in range(10):
            time.sleep(0.01)
            with arrival.aside():
                out.note(f"line {number}")
    written = [line.rpartition("\r")[2] for line in screen.getvalue().split("\n")]
    assert written[:-1] == [f"line {number}" for number in range(10)]
