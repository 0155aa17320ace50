"""The losses of published localizers, on plain tensors: of classes, of places, of boundary maps, of frames.

Logits and targets go in, unreduced or summed losses come out. Knows no network and no data.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

_FLOOR = 1e-8


def focal(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Focal loss of every logit (any shape) for targets 0..1 (Lin et al., ICCV 2017, equation 5).

    ``alpha`` weighs positives against negatives; ``gamma`` 0 leaves the weighted cross-entropy.
    """
    logits = logits.float()
    chance = logits.sigmoid()
    right = chance * targets + (1 - chance) * (1 - targets)
    share = alpha * targets + (1 - alpha) * (1 - targets)
    return share * (1 - right) ** gamma * F.binary_cross_entropy_with_logits(logits, targets, reduction="none")


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of every logit for targets 0..1: each class for itself, as the scores are read."""
    return F.binary_cross_entropy_with_logits(logits.float(), targets, reduction="none")


def overlap(found: Tensor, wanted: Tensor) -> Tensor:
    """IoU (N,) of segments around one point each, given as distances to start and end (N, 2), not negative."""
    shared = torch.minimum(found, wanted).sum(1)
    return shared / (found.sum(1) + wanted.sum(1) - shared).clamp(min=_FLOOR)


def giou(found: Tensor, wanted: Tensor) -> Tensor:
    """1 - generalised IoU (N,); segments around one point leave no gap, so it is 1 - IoU (Rezatofighi et al., 2019)."""
    return 1 - overlap(found.float(), wanted)


def diou(found: Tensor, wanted: Tensor) -> Tensor:
    """1 - IoU + the squared distance of the centres over that of the outer ends (N,) (Zheng et al., AAAI 2020)."""
    found = found.float()
    apart = 0.5 * ((found[:, 1] - found[:, 0]) - (wanted[:, 1] - wanted[:, 0]))
    whole = torch.maximum(found, wanted).sum(1)
    return 1 - overlap(found, wanted) + (apart / whole.clamp(min=_FLOOR)) ** 2


def smooth_l1(found: Tensor, wanted: Tensor) -> Tensor:
    """Smooth L1 of both distances (N,), their mean (Girshick, ICCV 2015)."""
    return F.smooth_l1_loss(found.float(), wanted, reduction="none").mean(1)


PLACE_LOSSES = {"diou": diou, "giou": giou, "smooth-l1": smooth_l1}
CLASS_LOSSES = {"focal": focal, "cross-entropy": cross_entropy}


def balanced(logits: Tensor, targets: Tensor, threshold: float) -> Tensor:
    """Mean cross-entropy in which what is above the threshold weighs as much as the rest (BMN, equation 8).

    Plain where one of the two is missing.
    """
    positive = (targets > threshold).float()
    count, total = positive.sum(), positive.numel()
    loss = F.binary_cross_entropy_with_logits(logits.float(), positive, reduction="none")
    if count == 0 or count == total:
        return loss.mean()
    weight = torch.where(positive > 0, 0.5 * total / count, 0.5 * total / (total - count))
    return (weight * loss).mean()


def regression_sample(targets: Tensor, chance: Tensor, *, high: float = 0.7, low: float = 0.3) -> Tensor:
    """Which pairs the regression of overlaps learns from (bool): all good ones, and about as many of the middling and
    of the bad ones that touch an action (BMN, section 3.4).

    ``chance`` are uniform numbers 0..1 of the shape of ``targets``.
    """
    good = targets > high
    middle = (targets > low) & ~good
    bad = (targets > 0) & (targets <= low)
    wanted = good.sum()
    chosen = good
    for group in (middle, bad):
        chosen = chosen | (group & (chance < wanted / group.sum().clamp(min=1)))
    return chosen


def overlap_regression(scores: Tensor, targets: Tensor, chance: Tensor) -> Tensor:
    """Mean squared error of scores 0..1 on the sampled pairs; over all of them where no pair is good."""
    error = (scores.float() - targets) ** 2
    sample = regression_sample(targets, chance)
    if not bool((targets > 0.7).any()):
        return error.mean()
    return (error * sample).sum() / sample.sum()


def steadiness(logits: Tensor, mask: Tensor, *, limit: float = 4.0) -> Tensor:
    """How much log-scores change from row to row: mean squared difference, each bounded by ``limit`` (MS-TCN, Farha and
    Gall, CVPR 2019, equation 8). Logits (B, T, classes), mask (B, T); the earlier row is held fixed, as there."""
    scores = F.logsigmoid(logits.float())
    change = (scores[:, 1:] - scores[:, :-1].detach()).abs().clamp(max=limit) ** 2
    both = (mask[:, 1:] * mask[:, :-1]).unsqueeze(-1)
    return (change * both).sum() / (both.sum() * logits.shape[-1]).clamp(min=1)
