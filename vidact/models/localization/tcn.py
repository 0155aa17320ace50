"""A dilated temporal convolutional network: scores of every row for every class, and the segments they imply.

One stage in the manner of MS-TCN (Farha and Gall, CVPR 2019): residual convolutions whose reach doubles from layer to
layer. Our own; no project published weights for it. Knows rows, not seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidact.errors import ModelError
from vidact.models.keys import count
from vidact.models.localization.segments import Detections, finite
from vidact.models.localization.settings import Settings

CUTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
"""Scores are cut at each of these levels; what lies above one without a gap is a candidate."""


class DilatedLayer(nn.Module):
    """A convolution that sees rows ``dilation`` apart, a mix of its channels, and the way around both."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation)
        self.mix = nn.Conv1d(width, width, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        found: Tensor = (x + self.dropout(self.mix(F.relu(self.conv(x))))) * mask
        return found


class TCN(nn.Module):
    """The network. ``layers`` of them reach 2^layers rows to either side."""

    def __init__(self, inputs: int, *, width: int, layers: int, classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.classes = classes
        self.entry = nn.Conv1d(inputs, width, 1)
        self.layers = nn.ModuleList(DilatedLayer(width, 2**row, dropout) for row in range(layers))
        self.out = nn.Conv1d(width, classes, 1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T) and its mask (B, 1, T) → logits (B, T, classes), each class for itself."""
        x = self.entry(x) * mask
        for layer in self.layers:
            x = layer(x, mask)
        logits: Tensor = self.out(x)
        return logits.transpose(1, 2)

    def find(self, features: Tensor, settings: Settings) -> Detections:
        """Candidates in one sequence (C, T): times in rows, before suppression."""
        x = features.unsqueeze(0)
        scores = finite(self(x, torch.ones_like(x[:, :1]))[0].float().sigmoid()).cpu().numpy()
        found = [stretches(scores[:, label], label, CUTS) for label in range(self.classes)]
        joined = Detections(*(np.concatenate(parts) for parts in zip(*found, strict=True)))
        kept = joined.take(joined.scores > settings.threshold)
        return kept.take(np.argsort(-kept.scores, kind="stable")[: settings.top])


def stretches(scores: np.ndarray[Any, Any], label: int, cuts: Sequence[float]) -> Detections:
    """The stretches of rows (T,) that score at least each of ``cuts``: their mean score, their ends where the line
    between two rows' scores crosses the cut (half a row beyond the first and the last row of the sequence)."""
    segments, means = [np.empty((0, 2))], [np.empty(0)]
    sums = np.concatenate([[0.0], np.cumsum(scores, dtype=np.float64)])
    for cut in cuts:
        above = np.concatenate([[False], scores >= cut, [False]])
        edges = np.flatnonzero(above[1:] != above[:-1])
        first, after = edges[0::2], edges[1::2]
        means.append((sums[after] - sums[first]) / (after - first))
        segments.append(np.stack([_crossing(scores, first, cut), _crossing(scores, after, cut)], axis=1))
    found, score = np.concatenate(segments), np.concatenate(means)
    # A stretch that several cuts agree on counts once.
    found, rows = np.unique(found, axis=0, return_index=True)
    return Detections(
        found.astype(np.float32), score[rows].astype(np.float32), np.full(len(rows), label, dtype=np.int64)
    )


def _crossing(scores: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], cut: float) -> np.ndarray[Any, Any]:
    """Where between rows - 1 and rows the score equals the cut."""
    inside = (rows > 0) & (rows < len(scores))
    before, at = scores[np.maximum(rows - 1, 0)], scores[np.minimum(rows, len(scores) - 1)]
    gap = np.where(inside & (at != before), at - before, 1.0)
    place: np.ndarray[Any, Any] = np.where(inside, rows - 1 + (cut - before) / gap, rows - 0.5)
    return place


MARKS = (("entry.", "vidact"),)
"""Whose files have a key that begins so."""


def from_state(
    form: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network that fits these tensors, and the tensors; everything is read from their shapes."""
    del form, options
    try:
        entry, out = state["entry.weight"], state["out.weight"]
        network = TCN(
            entry.shape[1], width=entry.shape[0], layers=count(state, "layers."), classes=out.shape[0], dropout=0.0
        )
    except KeyError as error:
        raise ModelError(f"the tensor {error.args[0]!r} of a TCN is missing", hint="is the file complete?") from error
    return network, dict(state)
