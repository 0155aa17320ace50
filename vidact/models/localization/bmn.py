"""BMN: scores of every start, every end and every (start, length) pair of a sequence of fixed length, class-agnostic.

After "BMN: Boundary-Matching Network for Temporal Action Proposal Generation" (Lin et al., ICCV 2019). Reads the
checkpoints of OpenTAD and of mmaction2; what they do differently is in ``Rules``. Knows rows, not seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidact.errors import ModelError
from vidact.models.localization import pyramid
from vidact.models.localization.keys import Table, rename
from vidact.models.localization.segments import Detections, finite
from vidact.models.localization.settings import Settings

KEYS: dict[str, tuple[Table, ...]] = {
    "opentad": (
        (
            (r"projection\.convs\.(\d+)\.conv\.", r"base.\1."),
            (r"rpn_head\.tem\.0\.(\d+)\.conv\.", r"start.\1."),
            (r"rpn_head\.tem\.1\.(\d+)\.conv\.", r"end.\1."),
            (r"roi_head\.proposal_roi_extractor\.reduce_dim\.0\.", "reduce."),
            (r"roi_head\.proposal_roi_extractor\.conv3d\.0\.", "sample."),
            (r"roi_head\.proposal_roi_extractor\.conv2d\.0\.", "mix."),
            (r"roi_head\.proposal_head\.head\.(\d+)\.0\.", r"head.\1."),
            (r"roi_head\.proposal_head\.head\.\d+\.", "out."),
        ),
    ),
    "mmaction2": (
        (
            (r"x_1d_b\.0\.", "base.0."),
            (r"x_1d_b\.2\.", "base.1."),
            (r"x_1d_s\.0\.", "start.0."),
            (r"x_1d_s\.2\.", "start.1."),
            (r"x_1d_e\.0\.", "end.0."),
            (r"x_1d_e\.2\.", "end.1."),
            (r"x_1d_p\.0\.", "reduce."),
            (r"x_3d_p\.0\.", "sample."),
            (r"x_2d_p\.0\.", "mix."),
            (r"x_2d_p\.2\.", "head.0."),
            (r"x_2d_p\.4\.", "head.1."),
            (r"x_2d_p\.6\.", "out."),
            # Tables of where samples lie: computed here, as there.
            (r"(sample|bm)_mask$", None),
        ),
    ),
    "vidact": (),
}
_GROUPS = 4
_PER_SAMPLE = 3  # points averaged into one sample
_EXTENSION = 0.5  # how far samples reach beyond either end, in lengths of the pair


@dataclass(frozen=True, slots=True)
class Rules:
    """In what the projects that published a BMN differ.

    ``strict_peaks``: whether a boundary must be above both neighbours (or not below them), away from the ends of the
    sequence. ``end_after``: whether the end score of the pair (t, d) is that of row t + d + 1, which must then exist,
    or that of its last row, t + d.
    """

    strict_peaks: bool
    end_after: bool


RULES = {"opentad": Rules(False, False), "mmaction2": Rules(True, True), "vidact": Rules(False, False)}


class Maps(NamedTuple):
    """Raw outputs: logits of ``starts`` and ``ends`` (B, T) and of ``pairs`` (B, 2, lengths, T)."""

    starts: Tensor
    ends: Tensor
    pairs: Tensor


class BMN(nn.Module):
    """The network, for sequences of exactly ``length`` rows and pairs of up to ``durations`` rows."""

    def __init__(
        self,
        inputs: int,
        *,
        length: int,
        durations: int,
        width: int = 256,
        reduced: int = 128,
        samples: int = 32,
        sampled: int = 512,
        mapped: int = 128,
        head: int = 2,
        boundary_scores: bool = False,
        rules: Rules = RULES["vidact"],
    ) -> None:
        """``boundary_scores``: whether a pair's score is multiplied by those of its start and its end."""
        super().__init__()
        self.classes, self.length, self.durations = 1, length, durations
        self.boundary_scores, self.rules = boundary_scores, rules
        self.base = nn.ModuleList(nn.Conv1d(before, width, 3, padding=1, groups=_GROUPS) for before in (inputs, width))
        self.start, self.end = (
            nn.ModuleList((nn.Conv1d(width, width, 3, padding=1, groups=_GROUPS), nn.Conv1d(width, 1, 1)))
            for _ in range(2)
        )
        self.reduce = nn.Conv1d(width, reduced, 3, padding=1)
        self.sample = nn.Conv1d(reduced, sampled, samples)
        self.mix = nn.Conv2d(sampled, mapped, 1)
        self.head = nn.ModuleList(nn.Conv2d(mapped, mapped, 3, padding=1) for _ in range(head))
        self.out = nn.Conv2d(mapped, 2, 1)
        self.places: Tensor
        self.register_buffer("places", sampling(length, durations, samples), persistent=False)

    def forward(self, x: Tensor, mask: Tensor) -> Maps:
        """(B, C, ``length``) and its mask (B, 1, ``length``) → logits."""
        for conv in self.base:
            x = F.relu(conv(x) * mask)
        starts, ends = (side[1](F.relu(side[0](x))).squeeze(1) for side in (self.start, self.end))
        pairs = torch.stack([self._match(one) for one in F.relu(self.reduce(x))])
        pairs = F.relu(self.mix(F.relu(pairs)))
        for conv in self.head:
            pairs = F.relu(conv(pairs))
        return Maps(starts, ends, self.out(pairs))

    def _match(self, x: Tensor) -> Tensor:
        """(C, T) → what the sampling convolution gives for every pair, (channels, durations, T).

        Convolving first and then picking the places is the same sum as picking them first, at a thirtieth of the work.
        """
        weighted = torch.einsum("rcs,ct->str", self.sample.weight, x).flatten(0, 1)
        with torch.autocast(x.device.type, enabled=False):  # a sparse product has no other precision
            found: Tensor = torch.sparse.mm(self.places.float(), weighted.float()).to(x.dtype) + self.sample.bias
        return found.T.reshape(-1, self.durations, self.length)

    def maps(self, features: Tensor) -> Maps:
        """The raw outputs for one sequence (C, T) of at most ``length`` rows, padded with zeros."""
        if features.shape[1] > self.length:
            raise ModelError(
                f"a BMN for {self.length} rows was given {features.shape[1]}",
                hint="its settings need windows or resizing",
            )
        return self(*pyramid.pad(features, self.length))  # type: ignore[no-any-return]

    def find(self, features: Tensor, settings: Settings) -> Detections:
        """Candidates in one sequence (C, T): every likely start with every likely end, times in rows."""
        starts, ends, pairs = (finite(part[0].float().sigmoid()).cpu().numpy() for part in self.maps(features))
        begin, finish = _boundaries(starts, self.rules), _boundaries(ends, self.rules)
        begin[0] = finish[-1] = True
        durations, first = np.meshgrid(np.arange(self.durations), np.arange(self.length), indexing="ij")
        last = first + durations + (1 if self.rules.end_after else 0)
        inside = last < self.length
        last = np.minimum(last, self.length - 1)
        chosen = inside & begin[first] & finish[last]
        first, after, last = first[chosen], (first + durations + 1)[chosen], last[chosen]
        scores = pairs[1][chosen] * pairs[0][chosen]
        if self.boundary_scores:
            scores = starts[first] * ends[last] * scores
        segments = np.stack([first, after], axis=1).astype(np.float32)
        return Detections(segments, scores, np.zeros(len(scores), dtype=np.int64))


def _boundaries(scores: np.ndarray[Any, Any], rules: Rules) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Which rows are likely boundaries: local peaks, and whatever is above half the best."""
    high = scores > 0.5 * scores.max()
    left = np.append(-np.inf, scores[:-1])
    right = np.append(scores[1:], -np.inf)
    if not rules.strict_peaks:
        found: np.ndarray[Any, np.dtype[np.bool_]] = high | ((scores >= left) & (scores >= right))
        return found
    found = high | ((scores > left) & (scores > right))
    found[0] = found[-1] = False
    return found


def sampling(length: int, durations: int, samples: int) -> Tensor:
    """Which rows each sample of each pair averages: sparse (durations × length, samples × length), float32.

    The samples of the pair (t, d) are spread evenly from half its length before row t to half its length after row
    t + d; points between two rows are shared between them, points outside the sequence count nothing.
    """
    duration, start = (one.reshape(-1) for one in np.indices((durations, length)))
    pair = np.flatnonzero(start + duration < length)
    extended = (duration[pair] + 1.0) * _EXTENSION
    low, high = start[pair] - extended, start[pair] + duration[pair] + extended
    step = (high - low) / (samples * _PER_SAMPLE - 1.0)
    at = low[:, None] + step[:, None] * np.arange(samples * _PER_SAMPLE)
    down, up = np.trunc(at), np.ceil(at)
    share = at - down
    rows, columns, values = [], [], []
    for place, weight in ((down, 1 - share), (up, share)):
        which, point = ((place >= 0) & (place < length)).nonzero()
        rows.append(pair[which])
        columns.append(point // _PER_SAMPLE * length + place[which, point].astype(np.int64))
        values.append(weight[which, point] / _PER_SAMPLE)
    indices = torch.from_numpy(np.stack([np.concatenate(rows), np.concatenate(columns)]))
    size = (durations * length, samples * length)
    weights = torch.from_numpy(np.concatenate(values))
    found: Tensor = torch.sparse_coo_tensor(indices, weights, size, check_invariants=True)
    return found.coalesce().float()


MARKS = (("roi_head.proposal_roi_extractor.", "opentad"), ("x_3d_p.", "mmaction2"), ("sample.weight", "vidact"))
"""Whose files have a key that begins so."""


def from_state(
    form: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network that fits these tensors, and the tensors under its names.

    ``options``: ``length`` and ``durations`` of the map and ``boundary_scores``, which no tensor tells. Raises
    ModelError when a tensor the sizes are read from is missing.
    """
    tensors = dict(state)
    for table in KEYS[form]:
        tensors = rename(tensors, table)
    try:
        # A convolution over the samples alone, whatever axes of length 1 it was published with.
        tensors["sample.weight"] = tensors["sample.weight"].flatten(2)
        network = BMN(
            tensors["base.0.weight"].shape[1] * _GROUPS,
            length=options["length"],
            durations=options["durations"],
            width=tensors["base.0.weight"].shape[0],
            reduced=tensors["reduce.weight"].shape[0],
            samples=tensors["sample.weight"].shape[2],
            sampled=tensors["sample.weight"].shape[0],
            mapped=tensors["mix.weight"].shape[0],
            head=sum(key.startswith("head.") and key.endswith(".weight") for key in tensors),
            boundary_scores=options.get("boundary_scores", False),
            rules=RULES[form],
        )
    except KeyError as error:
        raise ModelError(f"the tensor {error.args[0]!r} of a BMN is missing", hint="is the file complete?") from error
    return network, tensors
