"""V-JEPA 2: a plain transformer over cubes of the clip, positions as rotations, and a probe that asks one question.

Assran et al., "V-JEPA 2: Self-Supervised Video Models Enable Understanding, Prediction and Planning", 2025. Published
with its probes on the Hugging Face hub; the predictor of the pre-training that lies in these files takes no part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, count, rename, shape
from vidact.models.recognition.blocks import Triple
from vidact.models.recognition.transformer import Block, Perceptron, Transformer, attend, join_projections

EPS = 1e-6
SLOWEST = 10000.0
"""The base of the angles: one channel turns by less than the one before it, the last almost this many times less."""
# Where heads are not 64 channels wide.
HEADS = {1280: 16}


@dataclass(frozen=True, slots=True)
class Rules:
    """One publisher's key names."""

    mark: str
    rows: Rows


HUGGING_FACE = Rules(
    mark=r"vjepa2\.encoder\.",
    rows=(
        (r"^vjepa2\.encoder\.embeddings\.patch_embeddings\.proj\.", "patches."),
        (r"^vjepa2\.encoder\.layer\.", "blocks."),
        (r"^vjepa2\.encoder\.layernorm\.", "norm."),
        (r"^pooler\.self_attention_layers\.", "probe.blocks."),
        (r"^pooler\.cross_attention_layer\.", "probe."),
        (r"^pooler\.query_tokens$", "probe.question"),
        (r"\.layer_norm(\d)\.", r".norm\1."),
        (r"\.(attention|self_attn|cross_attn)\.", ".attn."),
        (r"\.attn\.q_proj\.", ".attn.query."),
        (r"\.attn\.k_proj\.", ".attn.key."),
        (r"\.attn\.v_proj\.", ".attn.value."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"^classifier\.", "head.projection."),
    ),
)
FORMATS = (HUGGING_FACE,)


class RotatedAttention(nn.Module):
    """Every token looks at every other; queries and keys are turned by the angles of their place."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """(B, N, C) and the cosines and sines of ``angles``, (2, N, C / heads) → (B, N, C)."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4).contiguous()
        mixed = attend(_turned(q, turns), _turned(k, turns), v)
        found: Tensor = self.proj(mixed.transpose(1, 2).flatten(2))
        return found


def _turned(x: Tensor, turns: Tensor) -> Tensor:
    """(B, heads, N, C) with every pair of channels turned in its plane."""
    first, second = x.unflatten(-1, (-1, 2)).unbind(-1)  # type: ignore[no-untyped-call]
    across = torch.stack((-second, first), dim=-1).flatten(-2)
    return torch.addcmul(x * turns[0], across, turns[1])


def angles(size: Triple, channels: int) -> Tensor:
    """The angle of every place (T, H, W, row by row) and channel of a head, (T·H·W, channels).

    Three equal parts of the channels turn with time, row and column; what is left over does not turn. The weights were
    trained with angles that are repeated after each half of a part, not for each pair of channels: the two of a pair
    turn differently, and so they must here.
    """
    part = 2 * (channels // 3 // 2)
    speeds = SLOWEST ** -(torch.arange(part // 2, dtype=torch.float32) / (part / 2))
    places = torch.cartesian_prod(*(torch.arange(length, dtype=torch.float32) for length in size))
    turned = (places[:, :, None] * speeds).repeat(1, 1, 2).flatten(1)
    return F.pad(turned, (0, channels - 3 * part))


class RotatedBlock(nn.Module):
    """Attention and perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = RotatedAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Perceptron(width, hidden, width)

    def forward(self, x: Tensor, turns: Tensor) -> Tensor:
        """(B, N, C) → the same shape; ``turns`` as in RotatedAttention."""
        x = x + self.attn(self.norm1(x), turns)
        found: Tensor = x + self.mlp(self.norm2(x))
        return found


class CrossAttention(nn.Module):
    """A question looks at every token. The answer is not projected."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)

    def forward(self, question: Tensor, x: Tensor) -> Tensor:
        """(B, 1, C) and (B, N, C) → (B, 1, C)."""
        batch, tokens, _ = x.shape
        q = self.query(question).view(batch, -1, self.heads, question.shape[-1] // self.heads).transpose(1, 2)
        k, v = self.key_value(x).view(batch, tokens, 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return attend(q, k, v).transpose(1, 2).flatten(2)


class Probe(nn.Module):
    """Blocks without positions, then one learnt question to all tokens."""

    def __init__(self, width: int, heads: int, hidden: int, blocks: int) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, EPS) for _ in range(blocks)))
        self.question = nn.Parameter(torch.zeros(1, 1, width))
        self.norm1 = nn.LayerNorm(width, eps=EPS)
        self.attn = CrossAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=EPS)
        self.mlp = Perceptron(width, hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, C)."""
        question = self.question.expand(len(x), -1, -1)
        answer = question + self.attn(question, self.norm1(self.blocks(x)))
        found: Tensor = answer + self.mlp(self.norm2(answer))
        return found[:, 0]


@dataclass(frozen=True, slots=True)
class Size:
    """``cube`` of a token in frames and pixels; ``hidden`` of the encoder's perceptrons and of the probe's."""

    width: int
    cube: Triple
    hidden: int
    blocks: int
    probe_hidden: int
    probe_blocks: int


class VJEPA2(Transformer):
    """Takes clips of any size the cubes divide."""

    def __init__(self, size: Size, inputs: int, classes: int) -> None:
        super().__init__(size.width, classes)
        heads = HEADS.get(size.width, size.width // 64)
        self.channels = size.width // heads
        self.patches = nn.Conv3d(inputs, size.width, size.cube, stride=size.cube)
        self.blocks = nn.ModuleList(RotatedBlock(size.width, heads, size.hidden) for _ in range(size.blocks))
        self.norm = nn.LayerNorm(size.width, eps=EPS)
        self.probe = Probe(size.width, heads, size.probe_hidden, size.probe_blocks)

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) → the probe's answer (B, D) and the tokens it was asked of (B, D, t, h, w)."""
        maps = self.patches(clips)
        turned = angles((maps.shape[2], maps.shape[3], maps.shape[4]), self.channels).to(maps.device)
        turns = torch.stack((turned.cos(), turned.sin())).to(maps.dtype)
        x = maps.flatten(2).transpose(1, 2).contiguous()
        for block in self.blocks:
            x = block(x, turns)
        x = self.norm(x)
        return self.probe(x), x.transpose(1, 2).reshape(maps.shape)


def _joined(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """Projections as one layer each; the question's query stays apart from the tokens' key and value."""
    for kind in ("weight", "bias"):
        key, value = own.pop(f"probe.attn.key.{kind}", None), own.pop(f"probe.attn.value.{kind}", None)
        if key is not None and value is not None:
            own[f"probe.attn.key_value.{kind}"] = torch.cat((key, value))
    question = {name: own.pop(name) for name in list(own) if name.startswith("probe.attn.query.")}
    return {**join_projections(own), **question}


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = _joined(rename({k: v for k, v in state.items() if not k.startswith("vjepa2.predictor.")}, rules.rows))
    width, inputs, frames, height, side = shape(own, "patches.weight", architecture)
    size = Size(
        width=width,
        cube=(frames, height, side),
        hidden=shape(own, "blocks.0.mlp.fc1.weight", architecture)[0],
        blocks=count(own, "blocks."),
        probe_hidden=shape(own, "probe.mlp.fc1.weight", architecture)[0],
        probe_blocks=count(own, "probe.blocks."),
    )
    return VJEPA2(size, inputs, shape(own, "head.projection.weight", architecture)[0]), own
