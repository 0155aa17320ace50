"""``vidact models``: the zoo as it stands."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cli.conftest import Vidact

from vidact.cli.models import show_model
from vidact.models import zoo
from vidact.models.zoo import localizers

NAMES = [*sorted(zoo.ENTRIES), *sorted(localizers.ENTRIES)]


def test_list_names_every_model(vidact: Vidact) -> None:
    done = vidact("models", "list")
    assert done.code == 0
    assert [line.split("\t")[0] for line in done.out.splitlines()] == NAMES
    assert zoo.DEFAULT in done.err and localizers.DEFAULT in done.err


def test_list_for_programs(vidact: Vidact) -> None:
    rows = [json.loads(line) for line in vidact("models", "list", "--json").out.splitlines()]
    assert {row["name"] for row in rows} == set(NAMES)
    default = next(row for row in rows if row["name"] == zoo.DEFAULT)
    assert default["bundled"] is True
    assert default["classes"] == len(default["labels"]) == 12


def test_show(vidact: Vidact) -> None:
    spec = zoo.ENTRIES[zoo.DEFAULT].spec
    done = vidact("models", "show", zoo.DEFAULT)
    assert done.code == 0
    for said in (spec.name, spec.licence, spec.notes, *spec.labels):
        assert said in done.out


@pytest.mark.parametrize("name", NAMES)
def test_every_model_can_be_shown(capsys: pytest.CaptureFixture[str], name: str) -> None:
    show_model(name)
    assert name in capsys.readouterr().out
    show_model(name, json=True)
    shown = json.loads(capsys.readouterr().out)
    assert shown["name"] == name
    # Proposals without classes take theirs from a classifier of whole videos.
    assert len(shown["labels"]) in (0, shown["classes"]) or shown["classes"] == 1


def test_a_localizer_where_a_recogniser_is_wanted_is_called_one(vidact: Vidact, videos: Path) -> None:
    name = next(iter(localizers.ENTRIES))
    done = vidact("classify", videos, "--model", name, "--dry-run")
    assert (done.code, f"{name} is a localizer" in done.err, f"vidact localize --model {name}" in done.err) == (
        3,
        True,
        True,
    )
    assert "name the set: tridet." in vidact("models", "show", "tridet").err


def test_an_unknown_model_names_its_neighbours(vidact: Vidact) -> None:
    done = vidact("models", "show", zoo.DEFAULT + "x")
    assert (done.code, done.out) == (3, "")
    assert zoo.DEFAULT in done.err
