"""``vidact train recognizer`` from videos to a checkpoint that classifies by itself."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.test_output import Screen
from training.made import COLOURS, coloured_videos

from vidact.cli import _live
from vidact.cli.train_recognizer import recognizer
from vidact.errors import RunError, UsageError
from vidact.models.build import load_model
from vidact.models.weights import read_spec

SMALL = {"frames": 4, "size": 16, "width": 8, "batch_size": 6, "decoders": 0, "lr": 0.01, "ema": 0.8, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``videos`` and a finished training in ``colours``."""
    root = tmp_path_factory.mktemp("training")
    coloured_videos(root / "videos", 5)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    recognizer(str(root / "videos"), output=str(root / "colours"), held_out=0.2, epochs=6, **SMALL)
    torch.set_num_threads(threads)
    return root


def clips_of(colour: tuple[int, int, int]) -> np.ndarray:
    return np.broadcast_to(np.array(colour, np.uint8), (1, 4, 16, 16, 3))


def test_it_learns_what_can_be_learnt_and_the_checkpoint_is_enough(trained: Path) -> None:
    with open(trained / "colours" / "log.csv", newline="") as file:
        log = list(csv.DictReader(file))
    assert len(log) == 6
    assert max(float(row["val_top1"]) for row in log) == 1.0
    model = load_model(checkpoint=trained / "colours" / "best.safetensors")
    assert model.spec.name == "attention-r3d-10.colours"
    for label, colour in COLOURS.items():
        scores = model.scores(model.prepare(clips_of(colour)))[0]
        assert model.spec.labels[int(scores.argmax())] == label
    assert (trained / "colours" / "classes.txt").read_text().split() == sorted(COLOURS)


def test_it_says_what_to_do_next(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["vidact"])
    output = tmp_path / "once again"
    recognizer(str(trained / "videos"), output=str(output), epochs=1, **SMALL)
    said = capsys.readouterr()
    assert f"vidact classify --checkpoint '{output / 'best.safetensors'}' PATH" in said.out
    assert "epoch 1: loss" in said.err
    assert "3 labels" in said.err


def test_fine_tuning_renews_the_last_layer_only_for_other_labels(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    init = str(trained / "colours" / "best.safetensors")
    same = {**SMALL, "lr": 0.0, "epochs": 1, "init": init}
    recognizer(str(trained / "videos"), output=str(tmp_path / "same"), **same)
    assert "last layer is new" not in capsys.readouterr().err
    rows = [f"{trained / 'videos' / label / str(n)}.mp4,{label}" for label in ("red", "blue") for n in range(5)]
    (tmp_path / "two.csv").write_text("path,label\n" + "\n".join(rows))
    recognizer(str(tmp_path / "two.csv"), output=str(tmp_path / "two"), **{**same, "lr": 0.01, "epochs": 2})
    assert "last layer is new: it knew 3 labels, the data has 2" in capsys.readouterr().err
    spec = read_spec(tmp_path / "two" / "best.safetensors")
    assert spec is not None and spec.labels == ("blue", "red") and spec.sampling.frames == 4
    assert load_model(checkpoint=tmp_path / "two" / "best.safetensors").spec.classes == 2


def test_a_folder_in_use_is_not_overwritten(trained: Path) -> None:
    with pytest.raises(RunError, match="holds a training already"):
        recognizer(str(trained / "videos"), output=str(trained / "colours"), **SMALL)


def test_resuming_a_finished_training_changes_nothing(trained: Path) -> None:
    best = trained / "colours" / "best.safetensors"
    before = best.read_bytes()
    recognizer(str(trained / "videos"), output=str(trained / "colours"), resume=True, held_out=0.2, epochs=6, **SMALL)
    assert best.read_bytes() == before


def test_resuming_with_other_labels_changes_nothing(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("red\ngreen\nblue\n")
    classes = trained / "colours" / "classes.txt"
    before = classes.read_bytes()
    more = {**SMALL, "held_out": 0.2, "epochs": 6, "labels": str(tmp_path / "labels.txt")}
    with pytest.raises(RunError, match="labels was"):
        recognizer(str(trained / "videos"), output=str(trained / "colours"), resume=True, **more)
    assert classes.read_bytes() == before


def test_an_output_that_cannot_be_is_said(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunError, match="file"):
        recognizer(str(trained / "videos"), output=str(tmp_path / "file" / "out"), **SMALL)
    (tmp_path / "out" / "classes.txt").mkdir(parents=True)
    with pytest.raises(RunError, match=r"classes\.txt"):
        recognizer(str(trained / "videos"), output=str(tmp_path / "out"), **SMALL)


def test_resuming_nothing_is_refused(trained: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nothing to go on with"):
        recognizer(str(trained / "videos"), output=str(tmp_path), resume=True, **SMALL)


@pytest.mark.parametrize(
    ("name", "message"), [("slowfast-r50-8x8", "not trained from nothing"), ("none", "no architecture")]
)
def test_architectures_that_cannot_be_trained_are_refused(
    trained: Path, tmp_path: Path, name: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        recognizer(str(trained / "videos"), output=str(tmp_path / "out"), model=name, **SMALL)


def test_sided_labels_are_not_mirrored_in_silence(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [
        f"{trained / 'videos' / label / str(n)}.mp4,pan-{side}"
        for label, side in (("red", "left"), ("blue", "right"))
        for n in range(3)
    ]
    (tmp_path / "sides.csv").write_text("path,label\n" + "\n".join(rows))
    recognizer(str(tmp_path / "sides.csv"), output=str(tmp_path / "out"), epochs=1, **SMALL)
    assert "--no-flip" in capsys.readouterr().err


def test_an_interrupted_training_says_how_to_go_on(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vidact.training.classifier import Trainer

    whole_round = Trainer._round

    def interrupted(self: Trainer) -> object:
        if self.state.round == 1:
            raise KeyboardInterrupt
        return whole_round(self)

    monkeypatch.setattr(Trainer, "_round", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recognizer(str(trained / "videos"), output=str(tmp_path / "out"), epochs=3, **SMALL)
    assert "Stopped after epoch 1; the same command with --resume goes on" in capsys.readouterr().err


def test_on_a_terminal_a_line_follows_the_steps(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(_live, "TICK", 0.001)
    monkeypatch.setenv("COLUMNS", "100")
    recognizer(str(trained / "videos"), output=str(tmp_path / "watched"), epochs=2, **{**SMALL, "batch_size": 2})
    drawn = screen.getvalue()
    assert re.search(r"\repoch 1 \|=* *\| step 0 of 6", drawn)
    assert re.search(r"\repoch 2 \|=+ *\| step [1-5] of 6, loss \d\.\d+, 0:\d\d left", drawn)
    lines = [line.rpartition("\r")[2] for line in drawn.split("\n")]
    assert [line.split(":")[0] for line in lines if line.startswith("epoch")] == ["epoch 1", "epoch 2"]
