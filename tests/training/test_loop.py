"""The loop itself: resuming to the bit, the schedule, what is written and when, and damaged states."""

from __future__ import annotations

import csv
import dataclasses
import errno
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from safetensors.torch import load_file
from training.made import SPEC, Noise

from vidact.errors import ModelError, RunError, UsageError
from vidact.models.recognition.attention_r3d import build
from vidact.models.weights import read_spec
from vidact.records import Sampling
from vidact.training.classifier import Trainer
from vidact.training.files import cut_log, held
from vidact.training.loop import Recipe

RECIPE = Recipe(rounds=4, lr=0.01, ema=0.9, seed=5)


def trainer(output: Path, recipe: Recipe = RECIPE, classes: int = 3) -> Trainer:
    torch.manual_seed(recipe.seed)
    network = build("attention-r3d-10", classes, SPEC.network)
    return Trainer(network, SPEC, Noise(), recipe, output)


def rows(output: Path) -> list[dict[str, str]]:
    with open(output / "log.csv", newline="") as file:
        return [
            {k: v for k, v in row.items() if k not in ("seconds", "clips_per_second")} for row in csv.DictReader(file)
        ]


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_a_resumed_training_ends_with_the_same_bits(tmp_path: Path, optimizer: str) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)
    whole = trainer(tmp_path / "whole", recipe)
    whole.run()

    stopped = trainer(tmp_path / "parts", recipe)

    def stop_after_second(row: object) -> None:
        if stopped.state.round == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run(stop_after_second)
    torch.manual_seed(12345)
    resumed = trainer(tmp_path / "parts", recipe)
    assert resumed.resume()
    resumed.run()

    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
        assert torch.equal(whole.averaged[name], resumed.averaged[name]), name
    assert rows(tmp_path / "whole") == rows(tmp_path / "parts")
    first, second = (load_file(tmp_path / part / "best.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_stop_inside_a_round_is_resumed_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = trainer(tmp_path / "whole")
    whole.run()
    monkeypatch.setattr("vidact.training.loop._SAVE_SECONDS", 0.0)
    stopped = trainer(tmp_path / "parts")
    step, calls = stopped.step, []

    def failing(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
        calls.append(1)
        if len(calls) == 6:  # after five of the twelve steps, in the second round
            raise KeyboardInterrupt
        step(batch)

    stopped.step = failing  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        stopped.run()
    resumed = trainer(tmp_path / "parts")
    resumed.resume()
    assert (resumed.state.round, resumed.state.batch, resumed.state.step) == (1, 2, 5)
    resumed.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name


def test_rows_of_rounds_that_are_trained_again_are_dropped(tmp_path: Path) -> None:
    first = trainer(tmp_path)
    first.run()
    kept = rows(tmp_path)
    state = torch.load(tmp_path / "last.pt", weights_only=True)
    with open(tmp_path / "log.csv", "a") as file:
        file.write("5,15,1,0.1,1,1,1,1,1\n")
    again = trainer(tmp_path)
    again.resume()
    assert rows(tmp_path) == kept
    assert state["state"]["round"] == 4


def test_the_checkpoint_is_the_best_round_and_carries_its_spec(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    seen = []

    def keep(row: object) -> None:
        best = load_file(tmp_path / "best.safetensors")
        seen.append((one.state.best, one.state.best_loss, best["head.1.weight"]))

    one.run(keep)
    log = rows(tmp_path)
    best = max(range(4), key=lambda n: (float(log[n]["val_top1"]), -float(log[n]["val_loss"])))
    assert torch.equal(load_file(tmp_path / "best.safetensors")["head.1.weight"], seen[best][2])
    assert one.state.best == pytest.approx(float(log[best]["val_top1"]), rel=1e-4)
    assert read_spec(tmp_path / "best.safetensors") == SPEC
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_validation_uses_the_averaged_weights_and_gives_the_others_back(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.run()
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    loss, _ = one.validate(Noise().held_out())
    assert all(torch.equal(value, before[name]) for name, value in one.network.state_dict().items())
    assert one.network.training
    one.averaged = {name: torch.zeros_like(value) for name, value in one.averaged.items()}
    flat, _ = one.validate(Noise().held_out())
    assert flat == pytest.approx(float(torch.log(torch.tensor(3.0))), rel=1e-4)
    assert loss != pytest.approx(flat)


def test_the_rate_rises_then_falls() -> None:
    recipe = Recipe(lr=1.0, warmup=0.1, final_lr=0.01)
    rates = [recipe.rate(n / 100) for n in range(101)]
    assert max(rates) == rates[10] == 1.0
    assert rates[:11] == sorted(rates[:11])
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[100] == pytest.approx(0.01)
    assert rates[0] > 0


def test_a_training_by_the_clock_ends(tmp_path: Path) -> None:
    one = trainer(tmp_path, dataclasses.replace(RECIPE, rounds=None, minutes=0.002))
    one.run()
    assert one.state.seconds >= 0.12
    assert rows(tmp_path)


def test_other_settings_are_named(tmp_path: Path) -> None:
    trainer(tmp_path).run()
    with pytest.raises(RunError, match=r"lr was 0.01, is 0.02"):
        trainer(tmp_path, dataclasses.replace(RECIPE, lr=0.02)).resume()
    with pytest.raises(RunError, match=r"--epochs was \d+, is 99") as caught:
        trainer(tmp_path, dataclasses.replace(RECIPE, rounds=99)).resume()
    assert "cannot be lengthened" in caught.value.hint
    for changed, said in (
        (dataclasses.replace(SPEC, labels=SPEC.labels[::-1]), r"labels was \['blue', .* is \['red'"),
        (dataclasses.replace(SPEC, sampling=Sampling(frames=4, stride=1, fps=4.0)), r"sampling was .*8\.0.*4\.0"),
    ):
        other = trainer(tmp_path)
        other._spec = changed
        with pytest.raises(RunError, match=said):
            other.resume()
    moved = trainer(tmp_path)
    moved._spec = dataclasses.replace(SPEC, name="attention-r3d-10.moved")
    assert moved.resume(), "a folder may be renamed"
    with pytest.raises(RunError, match="another network"):
        trainer(tmp_path, classes=4).resume()


@pytest.mark.parametrize("damage", [b"", b"not a state at all", "half"])
def test_a_damaged_state_is_a_clear_error(tmp_path: Path, damage: bytes | str) -> None:
    trainer(tmp_path, dataclasses.replace(RECIPE, rounds=1)).run()
    state = tmp_path / "last.pt"
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2] if isinstance(damage, str) else damage)
    with pytest.raises(RunError, match=r"last\.pt") as caught:
        trainer(tmp_path).resume()
    assert "--init" not in caught.value.hint, "a localizer has no such option"
    assert str(tmp_path / "best.safetensors") in caught.value.hint


def test_bytes_that_changed_in_a_state_are_seen(tmp_path: Path) -> None:
    trainer(tmp_path, dataclasses.replace(RECIPE, rounds=1)).run()
    state = tmp_path / "last.pt"
    whole = bytearray(state.read_bytes())
    weights = next(iter(torch.load(state, weights_only=True)["network"].values())).numpy().tobytes()
    whole[whole.index(weights) + 8] ^= 1
    state.write_bytes(whole)
    with pytest.raises(RunError, match=r"last\.pt' is damaged: the checksum of archive/data/\d+ is wrong"):
        trainer(tmp_path).resume()


@pytest.mark.parametrize("name", ["recipe", "data", "network", "averaged", "optimizer", "state", "rng"])
@pytest.mark.parametrize("value", [3, [1], {"step": "x"}, "x"])
def test_a_state_with_something_else_in_it_is_refused(tmp_path: Path, name: str, value: object) -> None:
    trainer(tmp_path, dataclasses.replace(RECIPE, rounds=1)).run()
    saved = torch.load(tmp_path / "last.pt", weights_only=True)
    torch.save({**saved, name: value}, tmp_path / "last.pt")
    with pytest.raises(RunError):
        trainer(tmp_path, dataclasses.replace(RECIPE, rounds=1)).resume()


@pytest.mark.parametrize("more", [b"3", b"\0\0\n", b"\xff\xfe\n", b"2,\n", b"\n\n1,2,3,4,5,6,7,8,9,10,11,12\n"])
def test_a_log_that_was_cut_short_or_written_over_is_mended(tmp_path: Path, more: bytes) -> None:
    trainer(tmp_path, dataclasses.replace(RECIPE, rounds=1)).run()
    log = tmp_path / "log.csv"
    whole = log.read_bytes()
    log.write_bytes(whole + more)
    assert trainer(tmp_path, dataclasses.replace(RECIPE, rounds=1)).resume()
    assert log.read_bytes() == whole


def test_a_log_without_a_row_to_keep_goes_and_a_strangers_stays(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    for content, stays in ((b"round,step\n1,2\n", False), (b"name,age\nx,2\n", True)):
        log.write_bytes(content)
        cut_log(log, 0)
        assert log.exists() == stays


def test_a_full_disk_leaves_the_state_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = trainer(tmp_path)
    one._keep(one._round())
    before = (tmp_path / "last.pt").read_bytes()

    def full(state: object, file: BinaryIO) -> None:
        file.write(b"half of it")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(RunError, match=r"cannot write .*last\.pt.*: No space left"):
        one._keep(one._round())
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob(".*"))
    monkeypatch.undo()
    again = trainer(tmp_path)
    assert again.resume() and again.state.round == 1


def test_one_training_at_a_time_holds_a_folder_and_what_killed_ones_left_goes(tmp_path: Path) -> None:
    left = [f".{name}.{'0af9' * 4}.tmp" for name in ("last.pt", "classes.txt")] + [".best.safetensors.123.tmp"]
    foreign = [".last.pt.tmp", "last.pt.0af9.tmp", ".notes.0af9.tmp", ".last.pt.0af9.tmp~"]
    for name in left + foreign:
        (tmp_path / name).touch()
    with held(str(tmp_path)):
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*foreign, ".lock"])
        with pytest.raises(RunError, match="another run holds") as caught, held(str(tmp_path)):
            pass
        assert caught.value.busy
    with held(str(tmp_path / "new")):
        assert (tmp_path / "new").is_dir()


def test_a_state_of_something_else_is_refused(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "last.pt")
    with pytest.raises(RunError, match="not a state"):
        trainer(tmp_path).resume()


def test_a_loss_that_is_no_number_stops_the_training(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    with torch.no_grad():
        one.network.head[1].weight.fill_(float("nan"))
    with pytest.raises(ModelError, match="the loss became nan at step 1"):
        one.run()


def test_a_recipe_without_a_length_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="length"):
        trainer(tmp_path, Recipe(rounds=None))


@pytest.mark.parametrize(("name", "value"), [("lr", float("nan")), ("lr", -1.0), ("weight_decay", float("inf"))])
def test_numbers_no_training_can_have_are_refused(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} is "):
        Recipe(**{name: value})
