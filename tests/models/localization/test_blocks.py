"""The layers localizers share do what their plain, slow definitions say."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidact.models.localization import blocks
from vidact.models.localization.attention import attention, local_attention
from vidact.models.localization.blocks import (
    ChannelNorm,
    ConvNorm,
    PredictionHead,
    TransformerBlock,
    position_codes,
    sinusoids,
)
from vidact.models.localization.tridet import GranularityBlock


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


@pytest.mark.parametrize(("length", "real", "reach"), [(24, 17, 3), (25, 10, 4), (7, 7, 9), (64, 64, 2)])
def test_local_attention_has_the_gradients_of_its_definition(length: int, real: int, reach: int) -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(2, 3, length, 8, requires_grad=True) for _ in range(3)]
    mask = (torch.arange(length) < real).float().expand(2, 1, -1)
    upstream = torch.randn(2, 3, length, 8)
    found = torch.autograd.grad(local_attention(*inputs, mask, reach), inputs, upstream)
    expected = torch.autograd.grad(slow_attention(*inputs, mask, reach), inputs, upstream)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


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


def test_channel_norm_has_the_gradients_of_a_layer_norm() -> None:
    torch.manual_seed(0)
    norm = ChannelNorm(16)
    for parameter in norm.parameters():
        torch.nn.init.normal_(parameter)
    x, upstream = torch.randn(2, 16, 5, requires_grad=True), torch.randn(2, 16, 5)
    inputs = (x, norm.weight, norm.bias)
    expected = F.layer_norm(x.transpose(1, 2), (16,), norm.weight, norm.bias, norm.eps).transpose(1, 2)
    found = norm(x)
    torch.testing.assert_close(found, expected)
    both = (torch.autograd.grad(one, inputs, upstream) for one in (found, expected))
    for one, other in zip(*both, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "layer",
    [
        TransformerBlock(16, 4, 7),
        TransformerBlock(16, 4, 7, stride=2),
        GranularityBlock(16, 24, 1, 11, stride=1, drop_path=None),
        GranularityBlock(16, 24, 3, 11, stride=2, drop_path=0.1),
        PredictionHead(16, 8, 5, layers=2, kernel=3, eps=1e-5, mask_after=False, norm=True),
        ConvNorm(16, 8, 5, eps=1e-6, mask_after=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
@pytest.mark.parametrize("length", [24, 26, 100, 158])
def test_tiles_give_what_the_whole_gives(layer: nn.Module, length: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    layer.eval()
    x, mask = torch.randn(1, 16, length), (torch.arange(length) < length - 3).float().view(1, 1, -1)
    with torch.inference_mode():
        whole = layer(x, mask)
        monkeypatch.setattr(blocks, "_TILE", 10)
        torch.testing.assert_close(layer(x, mask), whole, atol=1e-5, rtol=1e-5)


def test_position_codes() -> None:
    codes = sinusoids(10, 4)
    assert codes.shape == (1, 4, 10)
    expected = [math.sin(3), math.cos(3), math.sin(0.03), math.cos(0.03)]
    torch.testing.assert_close(codes[0, :, 3], torch.tensor(expected) / 2)
    torch.testing.assert_close(position_codes(codes, 4), codes[:, :, :4])
    torch.testing.assert_close(position_codes(codes, 10), codes)
    assert position_codes(codes, 20).shape == (1, 4, 20)
