"""From the words of an option to its value."""

from __future__ import annotations

import pytest
import typer

from vidact.cli import _parse as parse


@pytest.mark.parametrize(("text", "seconds"), [("90", 90), ("90s", 90), ("1.5m", 90), ("8h", 28800), ("1d", 86400)])
def test_duration(text: str, seconds: float) -> None:
    assert parse.duration(text) == seconds


@pytest.mark.parametrize("text", ["", "0", "-1", "1w", "h", "1e3", "inf", "nan", "1h30"])
def test_no_duration(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse.duration(text)


@pytest.mark.parametrize(("text", "views"), [("10x3", "10x3"), ("1x1", "1x1"), ("010x3", "10x3")])
def test_views(text: str, views: str) -> None:
    assert parse.views(text) == views


@pytest.mark.parametrize("text", ["", "10", "0x3", "3x2", "10x3x1", "-1x3", "10X3", "٣x3"])
def test_no_views(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse.views(text)


def test_auto_or_count() -> None:
    assert parse.auto_or_count(0)("auto") is None
    assert parse.auto_or_count(0)("0") == 0
    for text in ("0", "-1", "1.5", "many", "", "12345678"):
        with pytest.raises(typer.BadParameter):
            parse.auto_or_count(1)(text)


def test_scores_and_seconds() -> None:
    assert parse.score(0.0) == 0.0
    assert parse.score(None) is parse.seconds(None) is None
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(typer.BadParameter):
            parse.score(wrong)
    for wrong in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(typer.BadParameter):
            parse.seconds(wrong)


def test_a_machine_wide_variable_is_read_when_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    default = parse.machine_wide("DEVICE", "auto")
    monkeypatch.delenv("VIDACT_DEVICE", raising=False)
    assert default() == "auto"
    monkeypatch.setenv("VIDACT_DEVICE", "cpu")
    assert default() == "cpu"
