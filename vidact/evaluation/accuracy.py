"""How good labels of clips or videos are: top-k and per-class accuracy, average precision of several labels. Arrays
only."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def top_k(scores: Array, labels: Array, k: int) -> float:
    """The share of samples whose label is among the ``k`` best scores; (N, classes) and (N,). Of equal scores the last
    class counts as best."""
    best = np.argsort(scores, axis=1, kind="stable")[:, ::-1][:, :k]
    return float((best == np.asarray(labels)[:, None]).any(axis=1).mean())


def mean_class_accuracy(scores: Array, labels: Array) -> float:
    """The mean over classes of their share of right samples; a class that is only ever predicted counts as 0."""
    found, truth = np.argmax(scores, axis=1), np.asarray(labels)
    classes = np.union1d(found, truth)
    return float(np.mean([(found[truth == one] == one).mean() if (truth == one).any() else 0.0 for one in classes]))


def average_precision(scores: Array, labels: Array) -> float:
    """Area under precision by recall, stepwise, of scores (N,) for labels (N,) of 0 or 1; NaN without positives."""
    order = np.argsort(-np.asarray(scores), kind="stable")
    ranked, positive = np.asarray(scores)[order], np.asarray(labels)[order] > 0
    if not positive.any():
        return float("nan")
    last = np.append(np.diff(ranked) != 0, True)  # equal scores are told apart by nothing: they count together
    hits = np.cumsum(positive)[last]
    precision, recall = hits / (np.flatnonzero(last) + 1), hits / positive.sum()
    return float((precision * np.diff(recall, prepend=0.0)).sum())


def mean_average_precision(scores: Array, labels: Array) -> float:
    """Mean over the classes that have positives; (N, classes) each."""
    found = [average_precision(scores[:, column], labels[:, column]) for column in range(scores.shape[1])]
    known = [one for one in found if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")


def mean_sample_precision(scores: Array, labels: Array) -> float:
    """Mean over samples of the average precision of their classes, as for videos with several labels; (N, classes)."""
    found = [average_precision(one, truth) for one, truth in zip(scores, labels, strict=True)]
    known = [one for one in found if not np.isnan(one)]
    return float(np.mean(known)) if known else float("nan")
