"""Losses against closed forms and values worked out by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vidact.training import losses
from vidact.training.objectives import Losses, weights


def test_focal_loss_is_weighted_cross_entropy_where_gamma_is_0_and_falls_with_confidence() -> None:
    logits, aim = torch.tensor([0.0, 2.0, -1.0]), torch.tensor([1.0, 0.0, 1.0])
    plain = losses.cross_entropy(logits, aim)
    share = torch.tensor([0.25, 0.75, 0.25])
    torch.testing.assert_close(losses.focal(logits, aim, gamma=0), share * plain)
    chance = torch.tensor([0.5, 1 - 1 / (1 + math.exp(-2.0)), 1 / (1 + math.e)])  # of what is right
    torch.testing.assert_close(losses.focal(logits, aim), share * (1 - chance) ** 2 * -chance.log())
    assert float(losses.focal(torch.zeros(1), torch.ones(1))) == pytest.approx(0.25 * 0.25 * math.log(2))


def test_place_losses_of_known_segments() -> None:
    found = torch.tensor([[2.0, 2.0], [1.0, 3.0], [4.0, 0.0]])
    wanted = torch.tensor([[2.0, 2.0], [3.0, 1.0], [0.0, 4.0]])
    torch.testing.assert_close(losses.overlap(found, wanted), torch.tensor([1.0, 2 / 6, 0.0]))
    torch.testing.assert_close(losses.giou(found, wanted), torch.tensor([0.0, 4 / 6, 1.0]))
    # Centres lie 0, 2 and 4 apart; the outer ends 4, 6 and 8.
    torch.testing.assert_close(losses.diou(found, wanted), torch.tensor([0.0, 4 / 6 + (2 / 6) ** 2, 1 + (4 / 8) ** 2]))
    torch.testing.assert_close(losses.smooth_l1(found, wanted), torch.tensor([0.0, 1.5, 3.5]))
    half = losses.smooth_l1(torch.tensor([[1.5, 1.0]]), torch.ones(1, 2))
    assert float(half) == pytest.approx(0.5 * 0.5**2 / 2)


def test_places_of_no_length_have_finite_losses_and_gradients() -> None:
    found = torch.zeros(1, 2, requires_grad=True)
    for loss in losses.PLACE_LOSSES.values():
        value = loss(found, torch.zeros(1, 2)).sum()
        (gradient,) = torch.autograd.grad(value, found)
        assert bool(value.isfinite()) and bool(gradient.isfinite().all())


def test_balanced_cross_entropy_gives_either_side_half() -> None:
    logits, aim = torch.tensor([1.0, -2.0, 0.5, 0.0]), torch.tensor([0.95, 0.2, 0.0, 0.9])
    each = losses.cross_entropy(logits, torch.tensor([1.0, 0.0, 0.0, 0.0]))
    expected = 0.5 * each[0] + 0.5 * each[1:].mean()
    torch.testing.assert_close(losses.balanced(logits, aim, 0.9), expected)
    alone = losses.balanced(logits, torch.zeros(4), 0.9)
    torch.testing.assert_close(alone, losses.cross_entropy(logits, torch.zeros(4)).mean())


def test_regression_takes_all_good_pairs_and_as_many_middling_and_bad_ones() -> None:
    aim = torch.cat([torch.full((50,), 0.8), torch.full((200,), 0.5), torch.full((1000,), 0.1), torch.zeros(5000)])
    chosen = losses.regression_sample(aim, torch.rand(aim.shape, generator=torch.Generator().manual_seed(0)))
    assert bool(chosen[:50].all()) and not bool(chosen[1250:].any())
    assert 30 < int(chosen[50:250].sum()) < 70 and 30 < int(chosen[250:1250].sum()) < 70
    few = torch.tensor([0.9, 0.9, 0.5, 0.1])  # fewer than good ones: all of them
    assert bool(losses.regression_sample(few, torch.full((4,), 0.999)).all())


def test_overlap_regression_by_hand() -> None:
    aim, found = torch.tensor([0.9, 0.5, 0.1, 0.0]), torch.tensor([0.7, 0.5, 0.4, 1.0])
    all_chosen = losses.overlap_regression(found, aim, torch.zeros(4))
    assert float(all_chosen) == pytest.approx((0.2**2 + 0 + 0.3**2) / 3, rel=1e-5)
    none_good = losses.overlap_regression(found, aim.clamp(max=0.5), torch.zeros(4))
    assert float(none_good) == pytest.approx((0.2**2 + 0 + 0.3**2 + 1) / 4, rel=1e-5)


def test_steadiness_counts_changes_between_real_rows_and_bounds_them() -> None:
    logits = torch.tensor([0.0, 0.0, 3.0, -50.0]).view(1, 4, 1)
    step = math.log(2) - math.log(1 + math.exp(-3))
    whole = losses.steadiness(logits, torch.ones(1, 4))
    assert float(whole) == pytest.approx((0 + step**2 + 4**2) / 3, rel=1e-4)
    padded = losses.steadiness(logits, torch.tensor([[1.0, 1.0, 1.0, 0.0]]))
    assert float(padded) == pytest.approx(step**2 / 2, rel=1e-4)
    assert float(losses.steadiness(logits[:, :1], torch.ones(1, 1))) == 0.0


def test_weights_of_classes_keep_the_mean_and_lift_the_rare() -> None:
    assert weights([3, 1], 0) == ()
    first, second = weights([30, 10], 1.0)
    assert second == pytest.approx(3 * first) and (30 * first + 10 * second) / 40 == pytest.approx(1.0)
    root = weights([40, 10], 0.5)
    assert root[1] == pytest.approx(2 * root[0])
    assert all(math.isfinite(one) for one in weights([5, 0], 1.0))


def test_weights_and_smoothing_change_what_they_say() -> None:
    logits, aim = torch.zeros(1, 2), torch.tensor([[1.0, 0.0]])
    plain = Losses("cross-entropy").of_classes(logits, aim)
    weighted = Losses("cross-entropy", class_weights=(3.0, 5.0)).of_classes(logits, aim)
    torch.testing.assert_close(weighted, plain * torch.tensor([[3.0, 1.0]]))  # negatives stay as they are
    sure = torch.tensor([[20.0, -20.0]])
    smooth = Losses("cross-entropy", smoothing=0.3).of_classes(sure, aim)
    torch.testing.assert_close(smooth, torch.tensor([[20 * (1 - 0.8), 20 * 0.1]]), rtol=1e-4, atol=1e-4)
