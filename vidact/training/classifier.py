"""Learning labels from clips: cross-entropy, top-1, and which label is taken for which.

``loop.py`` goes round; ``data.py`` gives the batches. Nothing here knows what a video is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator

import torch
from torch import Tensor, nn

from vidact.errors import UsageError
from vidact.models.weights import State
from vidact.records import Spec
from vidact.training.loop import Data, Learnt, Loop, Recipe
from vidact.training.peers import Peers

Batch = tuple[Tensor, Tensor]
"""Clips, uint8 (B, T, H, W, 3), and label numbers, int64 (B,)."""


class Trainer(Loop[Batch]):
    """Trains a recogniser; the spec's mean and std normalise the pixels."""

    train_columns = ("train_top1",)
    score_column = "val_top1"
    speed_column = "clips_per_second"

    def __init__(
        self,
        network: nn.Module,
        spec: Spec,
        data: Data[Batch],
        recipe: Recipe,
        output: str | os.PathLike[str],
        *,
        device: str = "cpu",
        peers: Peers | None = None,
        named: Callable[[State], State] = lambda state: state,
    ) -> None:
        super().__init__(network, spec, data, recipe, output, device=device, peers=peers, named=named)
        self.confusion = torch.zeros(spec.classes, spec.classes, dtype=torch.int64)
        """Of the last validation: rows are labels, columns what was predicted."""
        self._mean, self._std = (_channels(values, self.device) for values in (spec.mean, spec.std))

    def learn(self, batch: Batch) -> Learnt:
        """Cross-entropy, and how many were right."""
        clips, labels = batch
        labels = labels.to(self.device, non_blocking=True)
        with self.autocast():
            logits = self.network(self.prepare(clips)).float()
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.recipe.smoothing)
        right = int((logits.detach().argmax(1) == labels).sum())
        return Learnt(loss, len(labels), {"train_top1": right})

    def judge(self) -> tuple[float, float]:
        """Mean loss and top-1 on the validation clips."""
        return self.validate(self.data.held_out())

    def prepare(self, clips: Tensor) -> Tensor:
        """uint8 (B, T, H, W, 3) → float32 (B, 3, T, H, W) on the device, normalised as the spec says."""
        pixels = clips.to(self.device, non_blocking=True).permute(0, 4, 1, 2, 3).float()
        return pixels.div_(255.0).sub_(self._mean).div_(self._std)

    def validate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Mean loss and top-1 (0..1) of the averaged weights; also sets ``confusion``."""
        self.confusion.zero_()
        loss, right, seen = 0.0, 0, 0
        for logits, labels in self.predict(batches):
            loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
            guess = logits.argmax(1)
            right, seen = right + int((guess == labels).sum()), seen + len(labels)
            self.confusion.index_put_((labels, guess), torch.ones_like(labels), accumulate=True)
        if not seen:
            raise UsageError("there is nothing to validate on", hint="give a validation split with at least one video")
        return loss / seen, right / seen

    def predict(self, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
        """Float32 logits of the averaged weights and the labels, batch by batch, on the CPU."""
        with self.averaged_weights(), torch.inference_mode():
            for clips, labels in batches:
                with self.autocast():
                    logits = self.network(self.prepare(clips))
                yield logits.float().cpu(), labels.cpu()


def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1, 1)
