"""VideoMAE and VideoMAE V2: a plain transformer over cubes of two frames, its tokens averaged.

Positions are sines and cosines. Published by the authors, in mmaction2 and on the Hugging Face hub, which differ in
keys and in the norms' eps (``Rules``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.keys import Rows, choose, count, rename, shape
from vidact.models.recognition.transformer import Block, Transformer, join_projections

# Where heads are not 64 channels wide.
HEADS = {1280: 16, 1408: 16}
FRAMES = 2
"""Frames a token spans."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What one publisher does its own way: the ``eps`` of the blocks' norms and of the last one."""

    mark: str
    rows: Rows
    eps: float = 1e-6
    last_eps: float = 1e-6


# Pre-training code puts a prefix in front.
ORIGINAL = Rules(
    mark=r"((backbone|encoder)\.)?patch_embed\.proj\.",
    rows=(
        (r"^(backbone|encoder)\.", ""),
        (r"^patch_embed\.proj\.", "patches."),
        (r"^head\.", "head.projection."),
    ),
)
MMACTION = Rules(
    mark=r"backbone\.patch_embed\.projection\.",
    rows=(
        (r"^backbone\.", ""),
        (r"^patch_embed\.projection\.", "patches."),
        (r"^pos_embed$", "places"),
        (r"\.mlp\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.mlp\.layers\.1\.", ".mlp.fc2."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
    ),
)
HUGGING_FACE = Rules(
    mark=r"videomae\.embeddings\.",
    eps=1e-12,
    last_eps=1e-5,
    rows=(
        (r"^videomae\.embeddings\.patch_embeddings\.projection\.", "patches."),
        (r"^videomae\.encoder\.layer\.", "blocks."),
        (r"\.attention\.attention\.", ".attn."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"^classifier\.", "head.projection."),
    ),
)
FORMATS = (ORIGINAL, MMACTION, HUGGING_FACE)


class VideoMAE(Transformer):
    """``patch`` is the side of a token in pixels; ``places`` how many positions the file stores, None to make them."""

    def __init__(
        self,
        rules: Rules,
        inputs: int,
        classes: int,
        width: int,
        patch: int,
        hidden: int,
        blocks: int,
        places: int | None,
    ) -> None:
        super().__init__(width, classes)
        cube = (FRAMES, patch, patch)
        self.patches = nn.Conv3d(inputs, width, cube, stride=cube)
        heads = HEADS.get(width, width // 64)
        self.blocks = nn.Sequential(*(Block(width, heads, hidden, rules.eps) for _ in range(blocks)))
        self.fc_norm = nn.LayerNorm(width, eps=rules.last_eps)
        self.places: Tensor | None
        self.register_buffer("places", None if places is None else torch.zeros(1, places, width))
        self._made: dict[int, Tensor] = {}

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) → the normalised mean of the tokens (B, D) and the tokens (B, D, T / 2, h, w)."""
        maps = self.patches(clips)
        # Contiguous: every later sum and norm would copy it otherwise.
        x = maps.flatten(2).transpose(1, 2).contiguous()
        x = self.blocks(x + self._places(x))
        return self.fc_norm(x.mean(dim=1)), x.transpose(1, 2).reshape(maps.shape)

    def _places(self, x: Tensor) -> Tensor:
        tokens, width = x.shape[1:]
        if self.places is not None:
            if self.places.shape[1] != tokens:
                raise ModelError(f"these weights know {self.places.shape[1]} positions, the clips have {tokens}")
            return self.places
        if tokens not in self._made:
            self._made[tokens] = waves(tokens, width).to(x.device, x.dtype)
        return self._made[tokens]


def waves(tokens: int, width: int) -> Tensor:
    """Sines (even channels) and cosines (odd) of the position, slower from channel to channel: (1, tokens, width)."""
    channels = np.arange(width)
    angles = np.arange(tokens)[:, None] / np.power(10000, 2 * (channels // 2) / width)
    table = np.where(channels % 2 == 0, np.sin(angles), np.cos(angles))
    return torch.from_numpy(table.astype(np.float32))[None]


def _with_biases(own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The authors keep the biases of query and value apart. Keys have none: it would not change any attention."""
    for key in [key for key in own if key.endswith(".attn.q_bias")]:
        stem = key.removesuffix("q_bias")
        q, v = own.pop(key), own.pop(stem + "v_bias", None)
        own[stem + "qkv.bias"] = torch.cat((q, torch.zeros_like(q), v if v is not None else q[:0]))
    return own


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = _with_biases(join_projections(rename(state, rules.rows)))
    width, inputs, _, patch, _ = shape(own, "patches.weight", architecture)
    network = VideoMAE(
        rules,
        inputs,
        classes=shape(own, "head.projection.weight", architecture)[0],
        width=width,
        patch=patch,
        hidden=shape(own, "blocks.0.mlp.fc1.weight", architecture)[0],
        blocks=count(own, "blocks."),
        places=own["places"].shape[1] if "places" in own else None,
    )
    return network, own
