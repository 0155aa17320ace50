"""The loop itself: resuming to the bit, the schedule, what is written and when, and damaged states."""

from __future__ import annotations

import csv
import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from training.made import SPEC, Noise

from vidact.errors import ModelError, RunError, UsageError
from vidact.models.recognition.attention_r3d import build
from vidact.models.weights import read_spec
from vidact.records import Sampling
from vidact.training.classifier import Trainer
from vidact.training.loop import Recipe

RECIPE = Recipe(rounds=4, lr=0.01, ema=0.9, seed=5)


@pytest.fixture(autouse=True)
def one_thread() -> object:
    """Sums in another order are other sums."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
