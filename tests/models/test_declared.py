"""Descriptions inside checkpoints of strangers: what no network can have is a ModelError, before anything is made."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from vidact.errors import ModelError
from vidact.models import declared, weights, zoo
from vidact.models.build import load_model
from vidact.models.localization.settings import Instants, Settings, Windows
from vidact.models.localization.tcn import TCN
from vidact.models.weights import bundled, read_localizer_spec, read_spec, spec_to_json
from vidact.models.zoo import localizers
from vidact.records import Contract, LocalizerSpec

SPEC = zoo.ENTRIES[zoo.DEFAULT].spec
CONTRACT = Contract(12.0, 16, 4, 8.0, 8, "net", "sha256:aa")
SETTINGS = Settings(64, windows=Windows(8, 4), instants=Instants(0, 0, 4, 1.0, 0.5))
LOCALIZER = LocalizerSpec("tcn.made-up", "tcn", CONTRACT, 2, ("run", "jump"), settings={"vidact": SETTINGS.to_json()})


def altered(spec: Any, place: str, value: Any) -> dict[str, Any]:
    facts: dict[str, Any] = json.loads(json.dumps(spec_to_json(spec)))
    *folders, last = place.split(".")
    inside = facts
    for folder in folders:
        inside = inside[folder]
    inside[last] = value
    return facts


def written(path: Path, key: str, facts: object) -> str:
    tensors = TCN(8, width=6, layers=2, classes=2).state_dict()
    save_file({name: value.clone() for name, value in tensors.items()}, path, {key: json.dumps(facts)})
    return str(path)


def test_everything_in_the_zoo_is_as_declared(tmp_path: Path) -> None:
    for entry in zoo.ENTRIES.values():
        declared.check(entry.spec)
    for name, spec in localizers.SPECS.items():
        declared.check(spec)
        assert read_localizer_spec(written(tmp_path / "x.safetensors", "vidact-localizer", spec_to_json(spec))), name
    assert read_spec(bundled(zoo.ENTRIES[zoo.DEFAULT].bundled)) is not None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("sampling.frames", 0),
        ("sampling.frames", 10**9),
        ("sampling.fps", math.nan),
        ("sampling.stride", True),
        ("geometry.size", [96]),
        ("geometry.size", [96, -96]),
        ("geometry.resize", "stretch"),
        ("mean", []),
        ("std", [0, 1, 1]),
        ("std", ["a", "b", "c"]),
        ("labels", [1, 2]),
        ("classes", 10**12),
        ("licence", 3),
        ("network", ["depth"]),
        ("flow", {"fields": -1}),
        ("flow", 3),
        ("protocol", {"rule": "x"}),
        ("name", None),
    ],
)
def test_a_recogniser_that_cannot_be(tmp_path: Path, place: str, value: object) -> None:
    file = written(tmp_path / "x.safetensors", "vidact", altered(SPEC, place, value))
    with pytest.raises(ModelError, match=r"the description inside .* cannot be read"):
        read_spec(file)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("contract", None),
        ("contract", []),
        ("contract.fps", "fast"),
        ("contract.fps", 0),
        ("contract.window", 10**9),
        ("contract.window", "x"),
        ("contract.stride", -4),
        ("contract.offset", None),
        ("contract.dimension", -1),
        ("contract.backbone", 3),
        ("contract.flow", "yes"),
        ("classes", 0),
        ("labels", [["a"], ["b"]]),
        ("min_score", 2),
        ("licence", 3),
        ("settings", []),
    ],
)
def test_a_localizer_that_cannot_be(tmp_path: Path, place: str, value: object) -> None:
    file = written(tmp_path / "x.safetensors", "vidact-localizer", altered(LOCALIZER, place, value))
    with pytest.raises(ModelError, match=r"the description inside .* cannot be read"):
        read_localizer_spec(file)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("length", "x"),
        ("threshold", math.nan),
        ("nms", None),
        ("nms.max_segments", 0),
        ("nms.method", "best"),
        ("nms.sigma", "x"),
        ("windows", {"length": 4, "stride": 0}),
        ("windows", {}),
        ("instants.column", 6),
        ("instants.frames", 0),
    ],
)
def test_settings_that_cannot_be(tmp_path: Path, place: str, value: object) -> None:
    facts = altered(LOCALIZER, f"settings.vidact.{place}", value)
    file = written(tmp_path / "x.safetensors", "vidact-localizer", facts)
    with pytest.raises(ModelError, match=r"the settings inside .* cannot be read"):
        load_model(checkpoint=file)


def test_the_same_file_unaltered_is_loaded(tmp_path: Path) -> None:
    torch.manual_seed(0)
    file = written(tmp_path / "x.safetensors", "vidact-localizer", spec_to_json(LOCALIZER))
    assert load_model(checkpoint=file).settings == SETTINGS
    assert dataclasses.replace(LOCALIZER) == read_localizer_spec(file)


def test_a_pipe_is_no_file_of_weights(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.safetensors")
    os.mkfifo(tmp_path / "x.pth")
    for name in ("x.safetensors", "x.pth"):
        with pytest.raises(ModelError, match="is a pipe"):
            weights.check(tmp_path / name)


def test_a_description_nested_without_end(tmp_path: Path) -> None:
    for key, read in (("vidact", read_spec), ("vidact-localizer", read_localizer_spec)):
        save_file({"a": torch.zeros(1)}, tmp_path / "x.safetensors", {key: "[" * 100_000})
        with pytest.raises(ModelError, match="cannot be read"):
            read(tmp_path / "x.safetensors")
