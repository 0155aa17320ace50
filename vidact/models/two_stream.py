"""Two networks that look at one clip, one at its pictures and one at its flow, and are heard together.

A ``TwoStream`` is used like a ``Recognizer``; its clips are a pair. Knows nothing of how flow is made.
"""

from __future__ import annotations

import torch
from torch import Tensor

from vidact.models.recognizer import Recognizer
from vidact.records import Spec

Clips = tuple[Tensor, Tensor]
"""Normalised clips of pictures (B, 3, T, H, W) and of flow (B, C, T, H, W)."""


class TwoStream:
    """``rgb`` and ``flow`` count alike. ``spec.average`` says what of them is put together.

    ``logits`` are added before the softmax (Carreira and Zisserman 2017, as kinetics-i3d's ``evaluate_sample`` does);
    ``scores`` are averaged (mmaction2's ``report_accuracy`` with its coefficients 1 and 1).
    """

    def __init__(self, rgb: Recognizer, flow: Recognizer, spec: Spec) -> None:
        self.rgb, self.flow, self.spec = rgb, flow, spec
        self.device, self.dtype = rgb.device, rgb.dtype

    def __call__(self, clips: Clips) -> Tensor:
        """→ logits (B, classes), float32. Where scores are averaged: their logarithms, which activate to them."""
        if self.spec.average == "logits":
            return self.rgb(clips[0]) + self.flow(clips[1])
        return self.scores(clips).log()

    def scores(self, clips: Clips) -> Tensor:
        """→ probabilities (B, classes), float32, as the original reports them."""
        if self.spec.average == "logits":
            return self.rgb.activate(self(clips))
        return (self.rgb.scores(clips[0]) + self.flow.scores(clips[1])) / 2

    def features(self, clips: Clips, pool: bool = True) -> Tensor:
        """→ (B, D): what the classifier of the pictures sees, then what that of the flow does.

        With ``pool=False`` the axes of time and space are kept, (B, D, t, h, w).
        """
        return torch.cat((self.rgb.features(clips[0], pool), self.flow.features(clips[1], pool)), dim=1)
