"""The layers localizers share do what their plain, slow definitions say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from vidact.models.localization.blocks import (
    ChannelNorm,
    attention,
    local_attention,
    position_codes,
    sinusoids,
)


def slow_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, reach: int) -> Tensor:
    """Position by position."""
    seen = torch.zeros_like(query)
    for place in range(query.shape[2]):
        near = slice(max(0, place - reach), place + reach + 1)
        logits = (query[:, :, place : place + 1] * key[:, :, near]).sum(-1) + (mask[:, :, near] - 1) * 1e4
        seen[:, :, place] = (logits.softmax(-1)[..., None] * value[:, :, near]).sum(2)
    return seen * mask[..., None]


@pytest.mark.parametrize(("length", "real", "reach"), [(24, 24, 3), (24, 17, 3), (25, 10, 4), (7, 7, 9), (64, 1, 2)])
def test_local_attention(length: int, real: int, reach: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, length, 8) for _ in range(3))
    mask = (torch.arange(length) < real).float().expand(2, 1, -1)
    found = local_attention(query, key, value, mask, reach)
    torch.testing.assert_close(found, slow_attention(query, key, value, mask, reach))


def test_local_attention_has_gradients_without_nan() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(1, 2, 10, 4, requires_grad=True) for _ in range(3)]
    mask = (torch.arange(10) < 3).float().view(1, 1, -1)
    local_attention(*inputs, mask, 4).sum().backward()
    assert all(one.grad is not None and torch.isfinite(one.grad).all() for one in inputs)


def test_attention_ignores_padding() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 6, 4) for _ in range(3))
    mask = (torch.arange(6) < 4).float().view(1, 1, -1)
    short = attention(query[:, :, :4], key[:, :, :4], value[:, :, :4], mask[:, :, :4])
    torch.testing.assert_close(attention(query, key, value, mask)[:, :, :4], short)


def test_channel_norm_is_over_channels() -> None:
    torch.manual_seed(0)
    found = ChannelNorm(16)(torch.randn(2, 16, 5) * 3 + 1)
    torch.testing.assert_close(found.mean(1), torch.zeros(2, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(1, correction=0), torch.ones(2, 5), atol=1e-4, rtol=0)


def test_position_codes() -> None:
    codes = sinusoids(10, 4)
    assert codes.shape == (1, 4, 10)
    expected = [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]
    torch.testing.assert_close(codes[0, :, 3], torch.tensor(expected) / 2)
    torch.testing.assert_close(position_codes(codes, 4), codes[:, :, :4])
    torch.testing.assert_close(position_codes(codes, 10), codes)
    assert position_codes(codes, 20).shape == (1, 4, 20)
