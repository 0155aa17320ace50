"""``vidact train localizer`` from features and annotations to a checkpoint that searches by itself."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.sequences import LABELS, made

from vidact import load_model
from vidact.cli import _live
from vidact.cli._training import called
from vidact.cli.train_localizer import localizer
from vidact.errors import ModelError, RunError, UsageError
from vidact.models.build import describe_localizer
from vidact.models.weights import read_localizer_spec

SMALL: dict[str, Any] = {"width": 32, "levels": 4, "window": 9, "lr": 0.005, "ema": 0.8, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, one_thread: object) -> Path:
    """A folder with ``features``, ``truth.json`` and a training of two epochs in ``moves``."""
    root = tmp_path_factory.mktemp("localizer")
    made(root, videos=8, held_out=2, rows=48)
    train(root, root / "moves", epochs=2)
    return root


def train(root: Path, output: Path, **options: Any) -> None:
    given = {"features": str(root / "features"), "annotations": str(root / "truth.json"), **SMALL, **options}
    localizer(output=str(output), **given)


def test_the_checkpoint_and_the_log_are_whole(trained: Path) -> None:
    with open(trained / "moves" / "log.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["round"] for row in rows] == ["1", "2"] and float(rows[1]["loss"]) < float(rows[0]["loss"])
    assert set(rows[0]) >= {"loss_class", "loss_place", "val_loss", "val_score", "sequences_per_second"}
    spec = read_localizer_spec(trained / "moves" / "best.safetensors")
    assert spec is not None and spec.name == "actionformer.moves" and spec.labels == LABELS
    assert spec.contract.dimension == 8 and spec.settings["vidact"]["length"] == 48
    assert (trained / "moves" / "classes.txt").read_text().split() == list(LABELS)


@pytest.mark.parametrize("model", ["actionformer", "tridet", "bmn", "tcn"])
def test_every_kind_trains_in_bfloat16_and_says_what_is_next(
    model: Any, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["vidact"])
    options: dict[str, Any] = {"length": 32} if model == "bmn" else {}
    train(trained, tmp_path / "a b", model=model, epochs=1, amp=True, balance=0.5, **options)
    said = capsys.readouterr()
    best = tmp_path / "a b" / "best.safetensors"
    assert f"vidact localize --checkpoint '{best}' PATH" in said.out
    assert (
        f"{model}.a-b, " in said.err and "segments in 8 videos to train on, 2 videos to validate on, on cpu" in said.err
    )
    assert ("tells no labels apart" in said.err) == (model == "bmn")
    found = load_model(checkpoint=best).localize(np.load(trained / "features" / "v09.npy"))
    assert found.end.max(initial=0) <= (47 * 4 + 16) / 25


def test_weights_have_a_name_of_their_own(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(trained, tmp_path / "training", name="night", epochs=1)
    assert "actionformer.night, " in capsys.readouterr().err
    spec = read_localizer_spec(tmp_path / "training" / "best.safetensors")
    assert spec is not None and spec.name == "actionformer.night"
    (tmp_path / "training").rename(tmp_path / "moved")
    assert called(None, str(tmp_path / "moved"), True) == "night", "going on, they keep it"
    assert called("day", str(tmp_path / "moved"), True) == "day"
    assert called(None, str(tmp_path / "moved"), False) == "moved"


@pytest.mark.parametrize(("model", "fit"), [("actionformer", "resize"), ("tcn", "resize"), ("bmn", "cut")])
def test_videos_may_be_resized_or_cut(model: Any, fit: Any, trained: Path, tmp_path: Path) -> None:
    train(trained, tmp_path / "out", model=model, fit=fit, length=32, epochs=1)
    spec = read_localizer_spec(tmp_path / "out" / "best.safetensors")
    assert spec is not None
    settings = spec.settings["vidact"]
    assert settings["resize"] == ("linear" if fit == "resize" else "none")
    assert (settings["windows"] is not None) == (model == "bmn")


def test_going_on_is_to_the_bit_and_refuses_other_data(trained: Path, tmp_path: Path) -> None:
    train(trained, tmp_path / "moves", epochs=2)
    first, second = (load_file(folder / "moves" / "best.safetensors") for folder in (trained, tmp_path))
    assert all(torch.equal(first[name], second[name]) for name in first)
    whole = (tmp_path / "moves" / "best.safetensors").read_bytes()
    with pytest.raises(RunError, match="holds a training already"):
        train(trained, tmp_path / "moves", epochs=2)
    train(trained, tmp_path / "moves", epochs=2, resume=True)
    assert (tmp_path / "moves" / "best.safetensors").read_bytes() == whole
    with pytest.raises(RunError, match="losses was"):
        train(trained, tmp_path / "moves", epochs=2, resume=True, radius=2.5)
    other = json.loads((trained / "truth.json").read_text())
    other["database"]["v00"]["annotations"][0]["segment"][1] += 0.1
    (tmp_path / "other.json").write_text(json.dumps(other))
    with pytest.raises(RunError, match=r"annotations \(their hash\) was"):
        train(trained, tmp_path / "moves", epochs=2, resume=True, annotations=str(tmp_path / "other.json"))
    with pytest.raises(RunError, match=r"architecture was 'actionformer', is 'tcn'$"):
        train(trained, tmp_path / "moves", epochs=2, resume=True, model="tcn")
    with pytest.raises(RunError, match="nothing to go on with"):
        train(trained, tmp_path / "new", resume=True)
    (tmp_path / "file").write_text("")
    for resume in (False, True):
        with pytest.raises(RunError, match=r"'.*file' is not a folder"):
            train(trained, tmp_path / "file", resume=resume)
    state, best = str(tmp_path / "moves" / "last.pt"), tmp_path / "moves" / "best.safetensors"
    with pytest.raises(ModelError, match="is the state of a training") as caught:
        describe_localizer(None, state)
    assert caught.value.hint == f"--checkpoint {best}"


def test_a_csv_and_a_list_of_labels(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    database = json.loads((trained / "truth.json").read_text())["database"]
    rows = [
        f"{video}.mp4,{start},{end},{one['label']}"
        for video, facts in database.items()
        for one in facts["annotations"]
        for start, end in [one["segment"]]
    ]
    (tmp_path / "truth.csv").write_text("video,start,end,label\n" + "\n".join(rows))
    (tmp_path / "labels.txt").write_text("wave\nfly\njump\n")
    options = {"annotations": str(tmp_path / "truth.csv"), "labels": str(tmp_path / "labels.txt")}
    train(trained, tmp_path / "out", epochs=1, held_out=0.3, **options)
    said = capsys.readouterr().err
    assert "segments left out, their label is not in the list" in said and "will never be found, such as 'fly'" in said
    model = load_model(checkpoint=tmp_path / "out" / "best.safetensors")
    assert model.spec.labels == ("wave", "fly", "jump")
    found = model.localize(np.load(trained / "features" / "v09.npy"))
    assert "fly" not in found.label and len(found)


def test_ambiguous_stretches_are_not_learnt(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = json.loads((trained / "truth.json").read_text())
    content["database"]["v00"]["annotations"][0]["label"] = "Ambiguous"
    (tmp_path / "truth.json").write_text(json.dumps(content))
    train(trained, tmp_path / "out", model="tcn", epochs=1, annotations=str(tmp_path / "truth.json"))
    assert "segments left out, their label is not in the list: 1 " in capsys.readouterr().err
    spec = read_localizer_spec(tmp_path / "out" / "best.safetensors")
    assert spec is not None and spec.labels == LABELS


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ({"v03": np.full((48, 8), np.nan, np.float32)}, r"'v03': the features hold NaN or infinite values"),
        ({"v03": np.zeros((8, 48), np.float32)}, r"'v03': .*\(8, 48\).* transposed"),
        ({"v03": np.zeros((48, 9), np.float32)}, r"'v03': the features have shape \(48, 9\)"),
        ({"v03": np.zeros((0, 8), np.float32)}, r"v03"),
        ({"v03": np.zeros(48, np.float32)}, r"v03"),
    ],
)
def test_features_that_are_wrong_stop_it_before_it_begins(
    damage: dict[str, Any], said: str, trained: Path, tmp_path: Path
) -> None:
    made(tmp_path, videos=8, held_out=2, rows=48)
    for name, array in damage.items():
        np.save(tmp_path / "features" / f"{name}.npy", array)
    for options in ({}, {"length": 48}):
        with pytest.raises(UsageError, match=said):
            train(tmp_path, tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_sizes_and_files_that_cannot_be(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be halved"):
        train(trained, tmp_path / "out", length=50)
    with pytest.raises(UsageError, match="width of 31"):
        train(trained, tmp_path / "out", width=31)
    with pytest.raises(UsageError, match=r"truth\.json"):
        train(tmp_path, tmp_path / "out", features=str(trained / "features"))
    with pytest.raises(UsageError, match="there is no folder"):
        train(trained, tmp_path / "out", features=str(tmp_path / "none"))
    assert not (tmp_path / "out").exists()


def test_without_a_terminal_a_plain_line_now_and_then_follows_the_steps(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(_live, "TICK", 0.001)
    monkeypatch.setattr(_live, "MINUTE", 0.01)
    train(trained, tmp_path / "watched", epochs=2)
    lines = capsys.readouterr().err.splitlines()
    assert any(re.fullmatch(r"epoch [12], step [1-4] of 4, loss \d+\.\d{3}, 0:\d\d left", line) for line in lines), (
        lines
    )
    assert all(line.isprintable() for line in lines)
