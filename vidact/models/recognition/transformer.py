"""What the video transformers share: attention, perceptron, block, and a classifier that sees one vector a clip."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.recognition.blocks import VECTORS, Classifier, Head

SCORES = 1 << 20
"""Pairs of query and key that attention on CPUs in bfloat16 looks at in one step: 2 MiB, which stay in the cache."""
LOG2_E = math.log2(math.e)
WITHIN = 100
"""Sums of powers between 2 to the minus this and 2 to this are trusted: nothing that counts was 0 or infinite."""


def attend(q: Tensor, k: Tensor, v: Tensor, *, scale: float | None = None, bias: Tensor | None = None) -> Tensor:
    """Queries (B, heads, N, C), keys (B, heads, M, C) and values (B, heads, M, D) → (B, heads, N, D).

    ``scale`` of the products is 1 / √C unless given; ``bias`` (1, heads, N, M) is added to them.

    In bfloat16 on a CPU, where nothing is learnt, the products are rounded to 8 bits before the softmax, which torch's
    own kernel does not do: where their deviation is 1, 4, 8, 16 the result is 0.5, 1.1, 1.3, 1.9 % off (rms; the kernel
    0.15 to 0.23 %). Products left in float32 would make attention a third slower.
    """
    if q.device.type != "cpu" or q.dtype != torch.bfloat16 or q.requires_grad:
        return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, scale=scale)
    # On CPUs torch's own kernel is no faster in bfloat16 than in float32; plain products are.
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    sums, total = _attend_plainly(q, k, v, scale, bias)
    found = sums.new_empty(sums.transpose(1, 2).shape).transpose(1, 2)  # tokens first, as all layers go on with them
    torch.div(sums, total, out=found)
    # Powers not taken relative to the largest may have left the range of numbers. They hardly ever do.
    fine = total.log2().abs() < WITHIN
    return found if fine.all() else found.where(fine, F.scaled_dot_product_attention(q, k, v, bias, scale=scale))


def _attend_plainly(q: Tensor, k: Tensor, v: Tensor, scale: float, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """Values times exp(product), summed, (B, heads, N, D), and the sum of those powers, (B, heads, N, 1).

    As powers of 2, which are computed fastest, and not relative to the largest: to find that would take nearly as long.
    """
    queries, keys = q.shape[2], k.shape[2]
    flat, turned, values = q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2), v.flatten(0, 1)
    found, total = q.new_empty(*flat.shape[:2], v.shape[-1]), q.new_empty(*flat.shape[:2], 1)
    many, long = max(1, SCORES // (queries * keys)), max(1, SCORES // keys)
    # All steps share one piece of memory, so that it stays in the cache; whole vectors of it, as in ``sigmoid``.
    memory = q.new_empty(min(many, len(flat)) * min(long, queries) * keys + VECTORS)
    of_head = torch.arange(len(flat)) % q.shape[1]
    biases = None if bias is None else bias[0] * LOG2_E
    for heads in _steps(len(flat), many):
        for rows in _steps(queries, long):
            some = flat[heads, rows]
            used = some.shape[0] * some.shape[1] * keys
            scores = memory[:used].view(*some.shape[:2], keys)
            if biases is not None:
                torch.index_select(biases[:, rows], 0, of_head[heads], out=scores)
            scores.baddbmm_(some, turned[heads], beta=0 if biases is None else 1, alpha=scale * LOG2_E)
            memory[: used + -used % VECTORS].exp2_()
            torch.sum(scores, -1, keepdim=True, out=total[heads, rows])
            torch.bmm(scores, values[heads], out=found[heads, rows])
    return found.view(*q.shape[:3], -1), total.view(*q.shape[:3], 1)


def _steps(length: int, longest: int) -> Iterator[slice]:
    """``length`` cut into equal parts, none longer than ``longest``."""
    step = -(-length // -(-length // longest))
    return (slice(start, start + step) for start in range(0, length, step))


class Perceptron(nn.Module):
    """Two layers with a GELU between; ``gelu`` is how it is approximated ("none": it is not)."""

    def __init__(self, inputs: int, hidden: int, outputs: int, gelu: str = "none") -> None:
        super().__init__()
        self.gelu = gelu
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, N, C')."""
        found: Tensor = self.fc2(F.gelu(self.fc1(x), approximate=self.gelu))
        return found


class SelfAttention(nn.Module):
    """Every token looks at every other."""

    def __init__(self, width: int, heads: int, *, biased: bool = True) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=biased)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → the same shape."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
        found: Tensor = self.proj(attend(q, k, v).transpose(1, 2).flatten(2))
        return found


class Block(nn.Module):
    """Attention and perceptron, each behind a norm and beside a shortcut; ``gelu`` as in Perceptron.

    ``biased``: query, key and value have a bias.
    """

    def __init__(
        self, width: int, heads: int, hidden: int, eps: float, *, gelu: str = "none", biased: bool = True
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads, biased=biased)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Perceptron(width, hidden, width, gelu)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → the same shape."""
        x = x + self.attn(self.norm1(x))
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class Transformer(Classifier):
    """A network whose classifier sees one vector a clip. A subclass gives ``encode``."""

    def __init__(self, dimension: int, classes: int) -> None:
        super().__init__(Head(dimension, classes, None))

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) → the vector the classifier sees, (B, D), and the patches it comes from, (B, D, t, h, w)."""
        raise NotImplementedError

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → the vector the classifier sees, (B, D, 1, 1, 1)."""
        return (self.encode(clips)[0][:, :, None, None, None],)

    def features(self, clips: Tensor, pool: bool = True) -> Tensor:
        """What the classifier sees, (B, D); with ``pool=False`` the patches behind the last block, (B, D, t, h, w)."""
        return super().features(clips) if pool else self.encode(clips)[1]


def join_projections(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Query, key and value as one layer. A missing bias is zero; that of keys would not change any attention."""
    for key in [key for key in own if key.endswith(".attn.query.weight")]:
        stem = key.removesuffix("query.weight")
        names = ("query", "key", "value")
        parts = [own.pop(f"{stem}{name}.weight") for name in names if f"{stem}{name}.weight" in own]
        biases = [own.pop(f"{stem}{name}.bias", None) for name in names]
        own[stem + "qkv.weight"] = torch.cat(parts)
        if any(bias is not None for bias in biases):
            pairs = zip(biases, parts, strict=False)
            filled = [part.new_zeros(len(part)) if bias is None else bias for bias, part in pairs]
            own[stem + "qkv.bias"] = torch.cat(filled)
    return own
