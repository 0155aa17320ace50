"""Attention over sequences: of every position over all, or over those near it.

Queries, keys and values are (B, heads, T, D), queries already scaled; masks are (B, 1, T) float, 1 on real positions
and 0 on padding. Knows no weights.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

_PADDED = -1e4  # what the published local attention adds to the logits of padded keys; edges get -inf


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attention of every position over all real ones."""
    real = mask[:, :, None, :] > 0
    logits = (query @ key.transpose(2, 3)).masked_fill(~real, -torch.inf)
    return logits.softmax(-1) @ (value * mask.unsqueeze(-1))


def local_attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, reach: int) -> Tensor:
    """Attention of every position over those at most ``reach`` away; zero on padding.

    Works on blocks of ``reach`` queries, which together see the block before, their own and the block after.
    """
    found: Tensor = _LocalAttention.apply(query, key, value, mask, reach)  # type: ignore[no-untyped-call]
    return found


class _LocalAttention(torch.autograd.Function):
    """With its own gradients: the overlapping neighbourhoods of keys and values are read where they lie, not copied."""

    @staticmethod
    def forward(context: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, reach: int) -> Tensor:
        batch, heads, length, channels = query.shape
        blocks = -(-length // reach)
        spare = blocks * reach - length
        query = _rows(query, 0, spare).view(batch, heads, blocks, reach, channels)
        key, value = _rows(key, reach, spare + reach), _rows(value, reach, spare + reach)
        logits = _products(query, _neighbourhoods(key, reach))
        real = F.pad(mask, (0, spare)).view(batch, 1, blocks, reach, 1)
        # Where autocast computes in fewer bits, these are float32.
        weights = logits.add_(_reachable(mask, blocks, reach)).softmax(-1).mul_(real)
        context.save_for_backward(query, key, value, weights)
        context.length = length
        return _products(weights.to(value.dtype), _neighbourhoods(value, reach).mT).flatten(2, 3)[:, :, :length]

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, weights = context.saved_tensors
        reach, length = query.shape[3], context.length
        gradient = _rows(gradient, 0, query.shape[2] * reach - length).view(query.shape)
        of_weights = weights * _products(gradient, _neighbourhoods(value, reach))
        of_logits = of_weights.sub_(weights * of_weights.sum(-1, keepdim=True)).to(query.dtype)
        weights = weights.to(query.dtype)
        of_query = _products(of_logits, _neighbourhoods(key, reach).mT).flatten(2, 3)
        of_key, of_value = _joined(_products(of_logits.mT, query)), _joined(_products(weights.mT, gradient))
        return of_query[:, :, :length], of_key[:, :, :length], of_value[:, :, :length], None, None


def _rows(x: Tensor, before: int, after: int) -> Tensor:
    """(B, heads, T, D) with zeros around, contiguous."""
    length = x.shape[2]
    found = x.new_empty(x.shape[0], x.shape[1], before + length + after, x.shape[3])
    found[:, :, :before] = 0
    found[:, :, before : before + length] = x
    found[:, :, before + length :] = 0
    return found


def _neighbourhoods(rows: Tensor, reach: int) -> Tensor:
    """(B, heads, (blocks + 2) × reach, D) → (B, heads, blocks, D, 3 × reach), block i with its two neighbours."""
    return rows.unfold(2, 3 * reach, reach)


def _joined(neighbourhoods: Tensor) -> Tensor:
    """(B, heads, blocks, 3 × reach, D) → (B, heads, blocks × reach, D): the sum of what lies on the same row."""
    batch, heads, blocks, rows, channels = neighbourhoods.shape
    parts = neighbourhoods.view(batch, heads, blocks, 3, rows // 3, channels)
    before, found, after = parts[:, :, :, 0], parts[:, :, :, 1].contiguous(), parts[:, :, :, 2]
    found[:, :, :-1] += before[:, :, 1:]
    found[:, :, 1:] += after[:, :, :-1]
    return found.flatten(2, 3)


def _products(left: Tensor, right: Tensor) -> Tensor:
    """``left @ right`` of (B, heads, blocks, ·, ·). On a processor head by head: overlapping blocks are not copied."""
    if left.device.type != "cpu":
        return left @ right
    found = left.new_empty(*left.shape[:-1], right.shape[-1])
    for sample in range(len(left)):
        for head in range(left.shape[1]):
            torch.bmm(left[sample, head], right[sample, head], out=found[sample, head])
    return found


def _reachable(mask: Tensor, blocks: int, reach: int) -> Tensor:
    """What is added to the logits (B, 1, blocks, reach, 3 × reach): -inf out of reach, -1e4 for padded keys, else 0."""
    device = mask.device
    length = mask.shape[-1]
    position = torch.arange(reach, device=device)[:, None] + reach
    neighbour = torch.arange(3 * reach, device=device)[None, :]
    far = (position - neighbour).abs() > reach
    key = torch.arange(blocks, device=device)[:, None] * reach + neighbour - reach
    outside = (key < 0) | (key >= length)
    # Queries past the end may see anything: their rows are cut off later and must not become NaN before.
    query = torch.arange(blocks * reach, device=device).view(blocks, reach, 1)
    forbidden = (far[None] | outside[:, None, :]) & (query < length)
    padded = (mask[:, 0, key.clamp(0, length - 1)] == 0).to(mask.dtype) * _PADDED
    return padded[:, None, :, None, :].masked_fill(forbidden[None, None], -torch.inf)
