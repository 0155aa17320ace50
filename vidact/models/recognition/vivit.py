"""ViViT, the unfactorised one: every cube of the clip looks at every other, a class token collects.

Arnab et al., "ViViT: A Video Vision Transformer", ICCV 2021, model 1. Published for torch on the Hugging Face hub.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.keys import Rows, choose, count, rename, shape
from vidact.models.recognition.blocks import Triple
from vidact.models.recognition.transformer import Block, Transformer, join_projections

EPS = 1e-6
HEAD = 64
"""Channels of a head."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One publisher's key names."""

    mark: str
    rows: Rows


# Files that transformers writes keep the first names whatever its version; the second are those of version 5 in memory.
HUGGING_FACE = Rules(
    mark=r"vivit\.embeddings\.",
    rows=(
        (r"^vivit\.embeddings\.patch_embeddings\.projection\.", "patches."),
        (r"^vivit\.embeddings\.position_embeddings$", "places"),
        (r"^vivit\.embeddings\.cls_token$", "cls_token"),
        (r"^vivit\.encoder\.layer\.", "blocks."),
        (r"^vivit\.layers\.", "blocks."),
        (r"^vivit\.layernorm\.", "norm."),
        (r"\.attention\.attention\.", ".attn."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.attention\.q_proj\.", ".attn.query."),
        (r"\.attention\.k_proj\.", ".attn.key."),
        (r"\.attention\.v_proj\.", ".attn.value."),
        (r"\.attention\.o_proj\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"^classifier\.", "head.projection."),
    ),
)
FORMATS = (HUGGING_FACE,)


@dataclass(frozen=True, slots=True)
class Size:
    """``cube`` of a token in frames and pixels; ``places`` is how many positions were learnt, the class token's first.

    ``biased``: query, key and value have a bias.
    """

    width: int
    cube: Triple
    hidden: int
    blocks: int
    places: int
    biased: bool


class ViViT(Transformer):
    """Takes clips of the one size its positions were learnt for."""

    def __init__(self, size: Size, inputs: int, classes: int) -> None:
        super().__init__(size.width, classes)
        self.patches = nn.Conv3d(inputs, size.width, size.cube, stride=size.cube)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.places = nn.Parameter(torch.zeros(1, size.places, size.width))
        heads = size.width // HEAD
        # Trained with the tanh approximation of the GELU.
        self.blocks = nn.Sequential(
            *(Block(size.width, heads, size.hidden, EPS, gelu="tanh", biased=size.biased) for _ in range(size.blocks))
        )
        self.norm = nn.LayerNorm(size.width, eps=EPS)

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) → the class token (B, D) and the patches beside it (B, D, t, h, w).

        Raises ModelError for clips of another size than the positions were learnt for.
        """
        maps = self.patches(clips)
        x = torch.cat((self.cls_token.expand(len(clips), -1, -1), maps.flatten(2).transpose(1, 2)), dim=1)
        if x.shape[1] != self.places.shape[1]:
            raise ModelError(
                f"these weights know {self.places.shape[1] - 1} positions, clips of {tuple(clips.shape[2:])} "
                f"have {x.shape[1] - 1}"
            )
        x = self.norm(self.blocks(x + self.places))
        return x[:, 0], x[:, 1:].transpose(1, 2).reshape(maps.shape)


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = join_projections(rename(state, rules.rows))
    width, inputs, frames, height, side = shape(own, "patches.weight", architecture)
    size = Size(
        width=width,
        cube=(frames, height, side),
        hidden=shape(own, "blocks.0.mlp.fc1.weight", architecture)[0],
        blocks=count(own, "blocks."),
        places=shape(own, "places", architecture)[1],
        biased="blocks.0.attn.qkv.bias" in own,
    )
    return ViViT(size, inputs, shape(own, "head.projection.weight", architecture)[0]), own
