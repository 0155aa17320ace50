"""Each kind of localizer learns made-up actions; a resumed training ends with the same bits; the file is enough."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from training.sequences import LABELS, made

from vidact import load_model
from vidact.errors import RunError, UsageError
from vidact.evaluation.validation import mean_precision
from vidact.models.localization.tridet import TriDet
from vidact.models.weights import read_localizer_spec
from vidact.records import Contract
from vidact.store.annotations import read_annotations
from vidact.store.feature_files import open_features
from vidact.training.localizer import LocalizerTrainer, Shape, fresh
from vidact.training.loop import Recipe
from vidact.training.objectives import Losses, objective
from vidact.training.sequences import Cutting, FeatureSet, SequenceData, opened
from vidact.training.truth import Truth, choose

Tiny = tuple[Shape, Losses, Recipe]
ROWS = 64
PYRAMID = Shape(length=ROWS, width=32, levels=4, window=9, bins=8, drop_path=0.0)
RECIPE = Recipe(rounds=3, lr=0.008, warmup=0.1, ema=0.9, seed=3)
KINDS: dict[str, Tiny] = {
    "actionformer": (PYRAMID, Losses(normalizer=20), RECIPE),
    "tridet": (PYRAMID, Losses(normalizer=20), RECIPE),
    "bmn": (Shape(length=32, width=16, fit="resize"), Losses(), RECIPE),
    "tcn": (
        Shape(length=ROWS, width=32, layers=4, dropout=0.0),
        Losses(classification="cross-entropy"),
        dataclasses.replace(RECIPE, rounds=5, lr=0.02),
    ),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeatureSet, Truth]:
    features, annotations = made(tmp_path_factory.mktemp("sequences"), videos=72, held_out=4, rows=ROWS)
    folder = open_features(str(features))
    truth = choose(read_annotations(annotations), folder)
    return opened(folder, truth.train), truth


def trainer(
    kind: str, data: tuple[FeatureSet, Truth], output: Path, recipe: Recipe | None = None, losses: Losses | None = None
) -> LocalizerTrainer:
    feature_set, truth = data
    shape, usual, schedule = KINDS[kind]
    recipe = recipe or schedule
    start = fresh(kind, output.name, feature_set.contract, truth.labels, shape, seed=recipe.seed)
    sequences = SequenceData(
        feature_set,
        truth,
        start.settings,
        Cutting(shape.length),
        batch_size=4,
        seed=recipe.seed,
        multiple=start.multiple,
        whole=start.whole,
    )
    return LocalizerTrainer(start, sequences, recipe, output, losses=losses or usual, score=mean_precision)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_where_actions_are_and_the_file_is_enough(
    kind: str, data: tuple[FeatureSet, Truth], tmp_path: Path
) -> None:
    one = trainer(kind, data, tmp_path / "made")
    before = one.judge()[1]
    best = one.run()
    assert one.state.best > max(0.85, before + 0.3)
    assert (tmp_path / "made" / "log.csv").read_text().splitlines()[0].startswith("round,step,seconds,lr,loss,loss_")
    spec = read_localizer_spec(best)
    assert spec is not None and (spec.name, spec.contract) == (f"{kind}.made", data[0].contract)
    assert spec.labels == LABELS and spec.contract.dimension == 8
    model = load_model(checkpoint=best)
    found = [
        model.localize(data[0].read(example).array, duration=example.video.duration) for example in data[1].held_out
    ]
    truth = [one._as_told(example.video) for example in data[1].held_out]
    assert mean_precision(truth, found) == pytest.approx(one.state.best, abs=0.02)


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_training_ends_with_the_same_bits(kind: str, data: tuple[FeatureSet, Truth], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, rounds=2)
    data = data[0], dataclasses.replace(data[1], train=data[1].train[:12], held_out=data[1].held_out[:1])
    whole = trainer(kind, data, tmp_path / "whole", recipe)
    whole.run()
    stopped = trainer(kind, data, tmp_path / "parts", recipe)

    def stop(row: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped.run(stop)
    torch.manual_seed(12345)
    resumed = trainer(kind, data, tmp_path / "parts", recipe)
    assert resumed.resume() and resumed.state.round == 1
    assert resumed.objective.running == stopped.objective.running
    resumed.run()
    for name, value in whole.network.state_dict().items():
        assert torch.equal(value, resumed.network.state_dict()[name]), name
        assert torch.equal(whole.averaged[name], resumed.averaged[name]), name
    first, second = (load_file(tmp_path / part / "best.safetensors") for part in ("whole", "parts"))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_other_losses_are_refused_when_going_on(data: tuple[FeatureSet, Truth], tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, rounds=1)
    trainer("tcn", data, tmp_path / "out", recipe).run()
    with pytest.raises(RunError, match="losses was "):
        trainer("tcn", data, tmp_path / "out", recipe, Losses(classification="cross-entropy", steadiness=0.5)).resume()


@pytest.mark.parametrize("kind", KINDS)
def test_a_step_lowers_the_loss_of_its_batch(kind: str, data: tuple[FeatureSet, Truth], tmp_path: Path) -> None:
    one = trainer(kind, data, tmp_path / "never written")
    one.sequences.cutting = dataclasses.replace(one.sequences.cutting, crop=None)
    batch = next(iter(one.data.batches(0, 0)))
    for _ in range(15):
        one.step(batch)
        if one.state.step == 1:
            first = one.state.loss / len(batch)
    last = float(one.learn(batch).loss.detach())
    assert math.isfinite(last) and last < 0.9 * first
    assert not (tmp_path / "never written").exists()


@pytest.mark.parametrize("losses", [Losses(regression="giou"), Losses(regression="smooth-l1"), Losses("cross-entropy")])
def test_the_other_losses_have_gradients(losses: Losses, data: tuple[FeatureSet, Truth], tmp_path: Path) -> None:
    for kind in ("actionformer", "tridet"):
        one = trainer(kind, data, tmp_path / "out", losses=losses)
        one.step(next(iter(one.data.batches(0, 0))))
        grads = {name: p.grad for name, p in one.network.named_parameters()}
        assert all(grad is not None and bool(grad.isfinite().all()) for grad in grads.values())
        assert float(grads["reg.out.weight"].abs().max()) > 0 and float(grads["cls.out.weight"].abs().max()) > 0  # type: ignore[union-attr]


def test_tridets_places_in_training_are_those_of_inference(data: tuple[FeatureSet, Truth], tmp_path: Path) -> None:
    one = trainer("tridet", data, tmp_path / "out")
    network = one.network.eval()
    assert isinstance(network, TriDet)
    batch = next(iter(one.data.held_out()))
    level = network(batch.features, batch.mask)[1]
    points, labels = torch.arange(20), torch.arange(20) % 3
    for sample in range(len(batch)):
        alone = level._replace(**{n: getattr(level, n)[sample : sample + 1] for n in level._fields})
        expected = network._distances(alone, points, labels)
        found = network.distances(level, torch.full((20,), sample), points, labels)
        torch.testing.assert_close(found, expected)


def test_a_batch_without_action_teaches_only_classes() -> None:
    contract = Contract(25.0, 16, 4, 8.0, 8, "made up")
    for kind in ("actionformer", "tridet", "tcn", "bmn"):
        start = fresh(kind, "x", contract, LABELS, KINDS[kind][0])
        length = start.settings.length
        from vidact.training.objectives import Sequences

        batch = Sequences(
            torch.randn(2, 8, length),
            torch.ones(2, 1, length),
            (torch.empty(0, 2),) * 2,
            (torch.empty(0, dtype=torch.int64),) * 2,
        )
        parts = objective(kind, KINDS[kind][1])(start.network, batch)
        total = torch.stack(list(parts.values())).sum()
        total.backward()  # type: ignore[no-untyped-call]
        assert bool(total.isfinite()) and float(parts.get("place", torch.zeros(())).detach()) == 0.0


def test_start_values_are_the_published_ones() -> None:
    contract = Contract(25.0, 16, 4, 8.0, 8, "made up")
    for kind in ("actionformer", "tridet"):
        start = fresh(kind, "x", contract, LABELS, PYRAMID, empty=[1], seed=4)
        bias = start.network.cls.out.bias  # type: ignore[union-attr]
        np.testing.assert_allclose(torch.sigmoid(bias).detach(), [0.01, 1e-6, 0.01], rtol=1e-3)  # type: ignore[arg-type]
        again = fresh(kind, "x", contract, LABELS, PYRAMID, empty=[1], seed=4).network.state_dict()
        assert all(torch.equal(value, again[name]) for name, value in start.network.state_dict().items())
    bmn = fresh("bmn", "x", contract, LABELS, KINDS["bmn"][0]).network
    weight = bmn.head[0].weight  # type: ignore[index, union-attr]
    bound = math.sqrt(6 / (9 * weight.shape[1] + 9 * weight.shape[0]))
    assert 0.9 * bound < float(weight.detach().abs().max()) <= bound


@pytest.mark.parametrize(
    ("kind", "shape", "dimension", "said"),
    [
        ("slowfast", PYRAMID, 8, "no localizer 'slowfast'"),
        ("actionformer", dataclasses.replace(PYRAMID, width=30), 8, "30 is no multiple of 4"),
        ("tridet", dataclasses.replace(PYRAMID, width=24), 8, "24 is no multiple of 16"),
        ("bmn", KINDS["bmn"][0], 6, "6 is no multiple of 4"),
        ("actionformer", dataclasses.replace(PYRAMID, length=60), 8, "60 rows cannot be halved 3 times"),
        ("bmn", dataclasses.replace(KINDS["bmn"][0], durations=40), 8, "40 rows do not fit into 32"),
    ],
)
def test_sizes_that_cannot_be_are_refused(kind: str, shape: Shape, dimension: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        fresh(kind, "x", Contract(25.0, 16, 4, 8.0, dimension, "made up"), LABELS, shape)
