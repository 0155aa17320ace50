"""``vidact models``: the zoo as it stands."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from cli.conftest import Vidact
from cli.test_output import Screen

from vidact.cli.models import list_models, show_model
from vidact.models import zoo
from vidact.models.unknown import NAMED
from vidact.models.zoo import localizers

NAMES = [*sorted(zoo.ENTRIES), *sorted(localizers.ENTRIES)]
BUNDLED = [name for name in NAMES if (zoo.ENTRIES | localizers.ENTRIES)[name].bundled]


def test_list_names_every_model(vidact: Vidact) -> None:
    done = vidact("models", "list")
    assert done.code == 0
    others = [name for name in NAMES if name not in BUNDLED]
    assert [line.split("\t")[0] for line in done.out.splitlines()] == [*BUNDLED, *others]
    assert zoo.DEFAULT in done.err and localizers.DEFAULT in done.err


@pytest.mark.parametrize("width", [80, 100])
def test_list_fits_a_narrow_terminal_and_never_breaks_a_name(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    list_models()
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split()[0] == "model" and lines[0].split()[-1] == "weights" and "licence" not in lines[0]
    assert [line.split()[0] for line in lines] == ["model", *BUNDLED, *(name for name in NAMES if name not in BUNDLED)]
    list_models(task="localization")
    lines = screen.getvalue().splitlines()[len(lines) :]
    assert max(map(len, lines)) <= width and len(lines) == 1 + len(localizers.ENTRIES)


def test_list_says_what_its_filters_leave(vidact: Vidact) -> None:
    done = vidact("models", "list", "banana")
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("No model matches 'banana'.") and zoo.DEFAULT not in done.err
    for filters, meant in (
        (("--family", "slofast"), "--family SlowFast"),
        (("--family", "swin"), "--family 'Video Swin'"),
        (("--classes", "ufc101"), "--classes ucf101"),
        (("videmae",), "VideoMAE"),
        (("--family", "csn", "timesfromer"), "TimeSformer"),
    ):
        assert f" Did you mean {meant}? `vidact models list`" in vidact("models", "list", *filters).err
    assert "Did you mean" not in vidact("models", "list", "--family", "csn", "--classes", "ssv2").err
    only = vidact("models", "list", "--task", "localization").err
    assert (zoo.DEFAULT in only, localizers.DEFAULT in only) == (False, True)
    only = vidact("models", "list", "--task", "recognition").err
    assert (zoo.DEFAULT in only, localizers.DEFAULT in only) == (True, False)


@pytest.mark.parametrize("size", [400, 600, 700])
def test_kinetics_is_found_by_both_of_its_names(vidact: Vidact, size: int) -> None:
    short, long = (vidact("models", "list", "--json", "--classes", f"{name}{size}").out for name in ("k", "Kinetics-"))
    lists = [json.loads(line)["label_list"] for line in short.splitlines()]
    assert short == long and f"kinetics{size}" in lists
    assert (
        vidact("models", "list", "--json", f"k{size}").out == vidact("models", "list", "--json", f"kinetics{size}").out
    )


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
    for said in (spec.name, spec.licence, spec.notes, *spec.labels[:10], f"and {len(spec.labels) - 10} more"):
        assert said in done.out
    assert spec.labels[10] not in done.out
    whole = vidact("models", "show", zoo.DEFAULT, "--all-labels").out
    assert "more:" not in whole
    for label in spec.labels:
        assert f"  {label}\n" in whole


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


@pytest.mark.parametrize("name", ["slowfast", "SlowFast", "slowfst", "slowfast-r50"])
def test_a_part_of_a_name_names_sets_of_weights_and_how_to_see_them_all(vidact: Vidact, name: str) -> None:
    said = vidact("models", "show", name).err
    named = [word for word in re.findall(r"[\w.-]+", said) if word in NAMES]
    assert len(named) == NAMED and all(word.startswith("slowfast-r50") for word in named)
    word, number = re.findall(r"`vidact models list (\S+)` shows all (\d+)", said)[0]
    listed = [line.split("\t")[0] for line in vidact("models", "list", word).out.splitlines()]
    assert len([one for one in listed if one.startswith(word)]) == int(number)


@pytest.mark.parametrize("name", ["slowfast", "slowfast-r50-8x8", "slowfast-r50-8x8.k400"])
def test_a_recogniser_where_a_localizer_is_wanted_names_commands_that_work(
    vidact: Vidact, videos: Path, name: str
) -> None:
    done = vidact("localize", videos, "--model", name, "--dry-run")
    assert done.code == 3 and f"{name} is a recogniser, not a localizer" in done.err
    assert f"vidact localize --model {localizers.DEFAULT} PATH" in done.err
    told = re.findall(r"vidact classify --model (\S+) PATH", done.err)
    assert told[0] in zoo.ENTRIES and told[0].startswith(name)
