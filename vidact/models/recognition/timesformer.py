"""TimeSformer: a picture transformer that looks along time, in each place, before it looks around in each frame.

Besides this divided attention there are the joint one (every patch of the clip at once) and that of single frames.
Published by the authors, in mmaction2 and on the Hugging Face hub (``Rules``: key names only).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.keys import Rows, choose, count, rename, shape
from vidact.models.recognition.transformer import Block, SelfAttention, Transformer

EPS = 1e-6
# What a patch looks at, by the end of the architecture's name.
DIVIDED, JOINT, FRAME = "", "-joint", "-space"


@dataclass(frozen=True, slots=True)
class Rules:
    """One publisher's key names."""

    mark: str
    rows: Rows


ORIGINAL = Rules(
    mark=r"(model\.)?patch_embed\.proj\.",
    rows=(
        (r"^model\.", ""),
        (r"^patch_embed\.proj\.", "patches."),
        (r"\.temporal_attn\.", ".along.attn."),
        (r"\.temporal_norm1\.", ".along.norm."),
        (r"\.temporal_fc\.", ".along.out."),
        (r"^head\.", "head.projection."),
    ),
)
MMACTION = Rules(
    mark=r"backbone\.transformer_layers\.layers\.0\.attentions\.0\.temporal_fc\.",
    rows=(
        (r"^backbone\.patch_embed\.projection\.", "patches."),
        (r"^backbone\.transformer_layers\.layers\.", "blocks."),
        (r"^backbone\.", ""),
        (r"\.attentions\.0\.temporal_fc\.", ".along.out."),
        (r"\.attentions\.0\.", ".along."),
        (r"\.attentions\.1\.norm\.", ".norm1."),
        (r"\.attentions\.1\.", "."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.ffns\.0\.norm\.", ".norm2."),
        (r"\.ffns\.0\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffns\.0\.layers\.1\.", ".mlp.fc2."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
    ),
)
# The joint attention and that of single frames stand in mmaction2's general layer.
MMACTION_WHOLE = Rules(
    mark=r"backbone\.transformer_layers\.layers\.0\.norms\.0\.",
    rows=(
        (r"^backbone\.patch_embed\.projection\.", "patches."),
        (r"^backbone\.transformer_layers\.layers\.", "blocks."),
        (r"^backbone\.", ""),
        (r"\.attentions\.0\.", "."),
        (r"\.norms\.0\.", ".norm1."),
        (r"\.norms\.1\.", ".norm2."),
        (r"\.attn\.in_proj_", ".attn.qkv."),
        (r"\.attn\.out_proj\.", ".attn.proj."),
        (r"\.ffns\.0\.layers\.0\.0\.", ".mlp.fc1."),
        (r"\.ffns\.0\.layers\.1\.", ".mlp.fc2."),
        (r"^cls_head\.fc_cls\.", "head.projection."),
    ),
)
HUGGING_FACE = Rules(
    mark=r"timesformer\.embeddings\.",
    rows=(
        (r"^timesformer\.embeddings\.patch_embeddings\.projection\.", "patches."),
        (r"^timesformer\.embeddings\.position_embeddings$", "pos_embed"),
        (r"^timesformer\.embeddings\.time_embeddings$", "time_embed"),
        (r"^timesformer\.embeddings\.cls_token$", "cls_token"),
        (r"^timesformer\.encoder\.layer\.", "blocks."),
        (r"^timesformer\.layernorm\.", "norm."),
        (r"\.temporal_attention\.attention\.", ".along.attn."),
        (r"\.temporal_attention\.output\.dense\.", ".along.attn.proj."),
        (r"\.temporal_layernorm\.", ".along.norm."),
        (r"\.temporal_dense\.", ".along.out."),
        (r"\.attention\.attention\.", ".attn."),
        (r"\.attention\.output\.dense\.", ".attn.proj."),
        (r"\.intermediate\.dense\.", ".mlp.fc1."),
        (r"\.output\.dense\.", ".mlp.fc2."),
        (r"\.layernorm_before\.", ".norm1."),
        (r"\.layernorm_after\.", ".norm2."),
        (r"^classifier\.", "head.projection."),
    ),
)
FORMATS = (ORIGINAL, MMACTION, MMACTION_WHOLE, HUGGING_FACE)


class Along(nn.Module):
    """Attention along time in every place, and a layer behind it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=EPS)
        self.attn = SelfAttention(width, heads)
        self.out = nn.Linear(width, width)

    def forward(self, patches: Tensor) -> Tensor:
        """(B, T, N, C) → the same shape."""
        batch, frames, places, width = patches.shape
        lines = self.norm(patches.transpose(1, 2).reshape(batch * places, frames, width))
        found: Tensor = self.out(self.attn(lines))
        return found.view(batch, places, frames, width).transpose(1, 2)


class DividedBlock(Block):
    """Along time, then around every frame together with the class token, then the perceptron."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__(width, heads, hidden, EPS)
        self.along = Along(width, heads)

    def forward(self, x: Tensor, frames: int = 1) -> Tensor:
        """(B, 1 + ``frames``·N, C), the class token first → the same shape."""
        batch, _, width = x.shape
        first, patches = x[:, :1], x[:, 1:].reshape(batch, frames, -1, width)
        patches = patches + self.along(patches)
        pictures = torch.cat((first[:, None].expand(-1, frames, -1, -1), patches), dim=2).flatten(0, 1)
        found = self.attn(self.norm1(pictures)).view(batch, frames, -1, width)
        # Every frame has its own opinion of the class token: their mean counts.
        first = first + found[:, :, 0].mean(dim=1, keepdim=True)
        x = torch.cat((first, (patches + found[:, :, 1:]).flatten(1, 2)), dim=1)
        mixed: Tensor = x + self.mlp(self.norm2(x))
        return mixed


@dataclass(frozen=True, slots=True)
class Size:
    """``side`` of a patch in pixels; ``places`` in a frame and ``frames`` of the clips the positions were learnt on."""

    width: int
    side: int
    hidden: int
    blocks: int
    places: int
    frames: int


class TimeSformer(Transformer):
    """``kind`` says what a patch looks at. Positions are stretched, to the nearest, for clips of another size."""

    def __init__(self, kind: str, size: Size, inputs: int, classes: int) -> None:
        super().__init__(size.width, classes)
        self.kind = kind
        kernel = (1, size.side, size.side)
        self.patches = nn.Conv3d(inputs, size.width, kernel, stride=kernel)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, size.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + size.places, size.width))
        if kind != FRAME:
            self.time_embed = nn.Parameter(torch.zeros(1, size.frames, size.width))
        heads = size.width // 64
        self.blocks = nn.ModuleList(
            DividedBlock(size.width, heads, size.hidden)
            if kind == DIVIDED
            else Block(size.width, heads, size.hidden, EPS)
            for _ in range(size.blocks)
        )
        self.norm = nn.LayerNorm(size.width, eps=EPS)

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) → the class token (B, D) and the patches (B, D, T, h, w)."""
        maps = self.patches(clips)
        frames, height, width = maps.shape[2:]
        patches = maps.flatten(3).permute(0, 2, 3, 1) + self._places(height, width)
        if self.kind != FRAME:
            patches = patches + self._times(frames)
        first = (self.cls_token + self.pos_embed[:, :1]).expand(len(clips), -1, -1)
        if self.kind == FRAME:
            first = first[:, None].expand(-1, frames, -1, -1)
            x = torch.cat((first, patches), dim=2).flatten(0, 1)
        else:
            x = torch.cat((first, patches.flatten(1, 2)), dim=1)
        for block in self.blocks:
            x = block(x, frames) if self.kind == DIVIDED else block(x)
        if self.kind == FRAME:
            x = x.view(len(clips), frames, -1, x.shape[-1])
            token, x = self.norm(x[:, :, 0].mean(dim=1)), x[:, :, 1:]
        else:
            token, x = self.norm(x[:, 0]), x[:, 1:]
        return token, self.norm(x).reshape(len(clips), -1, x.shape[-1]).transpose(1, 2).reshape(maps.shape)

    def _places(self, height: int, width: int) -> Tensor:
        """The positions of a frame's patches, (1, 1, height · width, D)."""
        learnt: Tensor = self.pos_embed[:, 1:]
        side = int(learnt.shape[1] ** 0.5)
        if learnt.shape[1] != height * width:
            table = learnt.transpose(1, 2).reshape(1, -1, side, side)
            learnt = F.interpolate(table, size=(height, width), mode="nearest").flatten(2).transpose(1, 2)
        return learnt[:, None]

    def _times(self, frames: int) -> Tensor:
        """The positions of the frames, (1, frames, 1, D)."""
        learnt: Tensor = self.time_embed
        if learnt.shape[1] != frames:
            learnt = F.interpolate(learnt.transpose(1, 2), size=frames, mode="nearest").transpose(1, 2)
        return learnt[:, :, None]


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError.

    ``options["blue_first"]``: it was trained on pictures whose channels are blue, green and red. Its patches are turned
    round, which comes to the same since TimeSformer normalises all channels alike.
    """
    rules = choose(FORMATS, state, architecture)
    own = rename(state, rules.rows)
    width, inputs, *_, side = shape(own, "patches.weight", architecture)
    own["patches.weight"] = own["patches.weight"].reshape(width, inputs, 1, side, side)
    if options.get("blue_first"):
        own["patches.weight"] = own["patches.weight"].flip(1)
    kind = next((end for end in (JOINT, FRAME) if architecture.endswith(end)), DIVIDED)
    size = Size(
        width=width,
        side=side,
        hidden=shape(own, "blocks.0.mlp.fc1.weight", architecture)[0],
        blocks=count(own, "blocks."),
        places=shape(own, "pos_embed", architecture)[1] - 1,
        frames=0 if kind == FRAME else shape(own, "time_embed", architecture)[1],
    )
    classes = shape(own, "head.projection.weight", architecture)[0]
    return TimeSformer(kind, size, inputs, classes), own
