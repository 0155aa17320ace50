"""MViT and MViTv2: transformers whose queries, keys and values are pooled: channels grow while the clip shrinks.

v1 adds positions to the patches and widens in the perceptron; v2 has positions relative to the key, a residual around
the pooled query, and widens in the attention. Published by PySlowFast, pytorchvideo (v1) and mmaction2 (v2).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vidact.errors import ModelError
from vidact.models.keys import Rows, choose, count, rename, shape
from vidact.models.recognition.blocks import Triple
from vidact.models.recognition.transformer import Perceptron, Transformer, attend

EPS = 1e-6
KEYS_SHRINK = 8
"""Keys and values of the first stage are this much smaller, in height and width, than the patches; later ones less."""


@dataclass(frozen=True, slots=True)
class Rules:
    """One publisher's key names; the network is told from the shapes."""

    mark: str
    rows: Rows


PYSLOWFAST = Rules(mark=r"patch_embed\.proj\.", rows=((r"^patch_embed\.proj\.", "patches."),))
PYTORCHVIDEO = Rules(
    mark=r"patch_embed\.patch_model\.",
    rows=(
        (r"^patch_embed\.patch_model\.", "patches."),
        (r"^cls_positional_encoding\.", ""),
        (r"^norm_embed\.", "norm."),
        (r"^head\.proj\.", "head.projection."),
    ),
)
MMACTION = Rules(
    mark=r"backbone\.patch_embed\.projection\.",
    rows=(
        (r"^backbone\.patch_embed\.projection\.", "patches."),
        (r"^backbone\.norm3\.", "norm."),
        (r"^backbone\.", ""),
        (r"^cls_head\.fc_cls\.", "head.projection."),
    ),
)
FORMATS = (PYSLOWFAST, PYTORCHVIDEO, MMACTION)


@dataclass(frozen=True, slots=True)
class Layer:
    """The sizes of one block.

    Channels at its start, in its attention and at its end; how queries are pooled, and keys and values (a kernel of
    None: not at all); the lengths of the tables of relative positions (height, width, time).
    """

    inputs: int
    inner: int
    outputs: int
    heads: int
    stride: int
    kernel: Triple | None
    keys_stride: int
    keys_kernel: Triple | None
    relative: tuple[int, int, int] | None


class Pool(nn.Module):
    """A depthwise convolution over the patches of every head; the class token passes by; a norm behind."""

    def __init__(self, channels: int, kernel: Triple, stride: int) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.pool = nn.Conv3d(
            channels, channels, kernel, stride=(1, stride, stride), padding=padding, groups=channels, bias=False
        )
        self.norm = nn.LayerNorm(channels, eps=EPS)

    def forward(self, x: Tensor, size: Triple) -> tuple[Tensor, Triple]:
        """(B, heads, 1 + T·H·W, C) of ``size`` (T, H, W) → the same with fewer patches, and their new size."""
        batch, heads, _, channels = x.shape
        maps = x[:, :, 1:].reshape(batch * heads, *size, channels).permute(0, 4, 1, 2, 3)
        maps = self.pool(maps)
        pooled = maps.flatten(2).transpose(1, 2).reshape(batch, heads, -1, channels)
        joined: Tensor = self.norm(torch.cat((x[:, :, :1], pooled), dim=2))
        return joined, (maps.shape[2], maps.shape[3], maps.shape[4])


class Relative(nn.Module):
    """Learnt vectors for the distance between query and key, apart for height, width and time."""

    def __init__(self, lengths: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        self.h = nn.Parameter(torch.zeros(lengths[0], channels))
        self.w = nn.Parameter(torch.zeros(lengths[1], channels))
        self.t = nn.Parameter(torch.zeros(lengths[2], channels))

    def extend(self, q: Tensor, k: Tensor, queries: Triple, keys: Triple) -> tuple[Tensor, Tensor]:
        """Channels to put behind q and k, so that their product gains what query and distance say.

        The query's channels hold its product with each distance, the key's say where the key is; those of the class
        tokens are zero.
        """
        patches = q[:, :, 1:].unflatten(2, queries)  # type: ignore[no-untyped-call]
        along_t = torch.einsum("bnthwc,tkc->bnthwk", patches, self._between(self.t, queries[0], keys[0]))
        along_h = torch.einsum("bnthwc,hkc->bnthwk", patches, self._between(self.h, queries[1], keys[1]))
        along_w = torch.einsum("bnthwc,wkc->bnthwk", patches, self._between(self.w, queries[2], keys[2]))
        said = F.pad(torch.cat((along_t, along_h, along_w), dim=-1).flatten(2, 4), (0, 0, 1, 0))
        places = [torch.eye(length, dtype=k.dtype, device=k.device) for length in keys]
        at_t = places[0][:, None, None].expand(*keys, -1)
        at_h = places[1][None, :, None].expand(*keys, -1)
        at_w = places[2][None, None, :].expand(*keys, -1)
        where = F.pad(torch.cat((at_t, at_h, at_w), dim=-1).flatten(0, 2), (0, 0, 1, 0))
        return said, where.expand(*k.shape[:2], -1, -1)

    @staticmethod
    def _between(table: Tensor, queries: int, keys: int) -> Tensor:
        """The vector of every query and key along one axis, (queries, keys, C).

        A table of another length (clips that do not halve evenly) is stretched to fit.
        """
        length = 2 * max(queries, keys) - 1
        if len(table) != length:
            table = F.interpolate(table.T[None], size=length, mode="linear")[0].T
        query_step, key_step = max(keys / queries, 1.0), max(queries / keys, 1.0)
        steps = torch.arange(queries)[:, None] * query_step - torch.arange(keys) * key_step + (keys - 1) * key_step
        return table[steps.long().to(table.device)]


class Attention(nn.Module):
    """Attention between pooled queries and pooled keys."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.inner // layer.heads
        self.heads, self.scale = layer.heads, channels**-0.5
        self.qkv = nn.Linear(layer.inputs, 3 * layer.inner)
        self.proj = nn.Linear(layer.inner, layer.inner)
        self.pool_q = None if layer.kernel is None else Pool(channels, layer.kernel, layer.stride)
        self.pool_k = None if layer.keys_kernel is None else Pool(channels, layer.keys_kernel, layer.keys_stride)
        self.pool_v = None if layer.keys_kernel is None else Pool(channels, layer.keys_kernel, layer.keys_stride)
        self.relative = None if layer.relative is None else Relative(layer.relative, channels)

    def forward(self, x: Tensor, size: Triple) -> tuple[Tensor, Triple]:
        """(B, 1 + T·H·W, C) → the same of as many patches as there are pooled queries, and their size."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        queries = keys = size
        if self.pool_q is not None:
            q, queries = self.pool_q(q, size)
        if self.pool_k is not None and self.pool_v is not None:
            k, keys = self.pool_k(k, size)
            v, _ = self.pool_v(v, size)
        if self.relative is None:
            found = attend(q, k, v)
        else:
            said, where = self.relative.extend(q, k, queries, keys)
            longer_q, longer_k = torch.cat((q * self.scale, said), dim=-1), torch.cat((k, where), dim=-1)
            # The fast kernels want values as long as keys.
            longer_v = F.pad(v, (0, where.shape[-1]))
            found = attend(longer_q, longer_k, longer_v, scale=1.0)[..., : v.shape[-1]]
            # Version 2 keeps the pooled query, but for the class token's.
            found = torch.cat((found[:, :, :1], found[:, :, 1:] + q[:, :, 1:]), dim=2)
        mixed: Tensor = self.proj(found.transpose(1, 2).flatten(2))
        return mixed, queries


class Block(nn.Module):
    """Attention and perceptron, each beside a shortcut that pools or widens as they do."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.stride = layer.stride
        self.norm1 = nn.LayerNorm(layer.inputs, eps=EPS)
        self.attn = Attention(layer)
        self.norm2 = nn.LayerNorm(layer.inner, eps=EPS)
        self.mlp = Perceptron(layer.inner, 4 * layer.inner, layer.outputs)
        self.widens_early = layer.inner != layer.inputs
        self.proj = nn.Linear(layer.inputs, layer.outputs) if layer.inputs != layer.outputs else None

    def forward(self, x: Tensor, size: Triple) -> tuple[Tensor, Triple]:
        """(B, 1 + T·H·W, C) → (B, 1 + T·H'·W', C') and the new size."""
        normed = self.norm1(x)
        found, pooled = self.attn(normed, size)
        if self.proj is not None and self.widens_early:
            x = self.proj(normed)
        x = self._shrunk(x, size) + found
        normed = self.norm2(x)
        if self.proj is not None and not self.widens_early:
            x = self.proj(normed)
        return x + self.mlp(normed), pooled

    def _shrunk(self, x: Tensor, size: Triple) -> Tensor:
        if self.stride == 1:
            return x
        maps = x[:, 1:].transpose(1, 2).unflatten(2, size)  # type: ignore[no-untyped-call]
        step = self.stride
        maps = F.max_pool3d(maps, (1, step + 1, step + 1), (1, step, step), (0, (step + 1) // 2, (step + 1) // 2))
        return torch.cat((x[:, :1], maps.flatten(2).transpose(1, 2)), dim=1)


class MViT(Transformer):
    """``size`` is that of the patches (T, H, W); ``added`` says whether positions are added to them (version 1)."""

    def __init__(self, layers: list[Layer], inputs: int, classes: int, size: Triple, *, added: bool) -> None:
        dimension, width = layers[-1].outputs, layers[0].inputs
        super().__init__(dimension, classes)
        self.size = size
        self.patches = nn.Conv3d(inputs, width, (3, 7, 7), stride=(2, 4, 4), padding=(1, 3, 3))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.added = added
        if added:
            self.pos_embed_class = nn.Parameter(torch.zeros(1, 1, width))
            self.pos_embed_temporal = nn.Parameter(torch.zeros(1, size[0], width))
            self.pos_embed_spatial = nn.Parameter(torch.zeros(1, size[1] * size[2], width))
        self.blocks = nn.ModuleList(Block(layer) for layer in layers)
        self.norm = nn.LayerNorm(dimension, eps=EPS)

    def tokens(self, clips: Tensor) -> tuple[Tensor, Triple]:
        """(B, C, T, H, W) → class token and patches (B, 1 + t·h·w, D), and (t, h, w).

        Raises ModelError for clips of another size than the positions were learnt for.
        """
        x = self.patches(clips)
        size: Triple = (x.shape[2], x.shape[3], x.shape[4])
        if size != self.size:
            frames, height, width = 2 * self.size[0], 4 * self.size[1], 4 * self.size[2]
            raise ModelError(
                f"these weights take clips of {frames} frames of {height}x{width}, not {tuple(clips.shape[2:])}"
            )
        first: Tensor = self.cls_token
        x = x.flatten(2).transpose(1, 2)
        if self.added:
            x = x + (self.pos_embed_temporal[:, :, None] + self.pos_embed_spatial[:, None]).flatten(1, 2)
            first = first + self.pos_embed_class
        x = torch.cat((first.expand(len(x), -1, -1), x), dim=1)
        for block in self.blocks:
            x, size = block(x, size)
        return self.norm(x), size

    def encode(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """(B, C, T, H, W) → the class token (B, D) and the patches beside it (B, D, t, h, w)."""
        x, size = self.tokens(clips)
        patches: Tensor = x[:, 1:].transpose(1, 2).unflatten(2, size)  # type: ignore[no-untyped-call]
        return x[:, 0], patches


def _layers(own: Mapping[str, Tensor], architecture: str) -> list[Layer]:
    layers: list[Layer] = []
    heads, keys_stride = 0, KEYS_SHRINK
    channels = shape(own, "blocks.0.attn.pool_k.norm.weight", architecture)[0]
    for number in range(count(own, "blocks.")):
        prefix = f"blocks.{number}."
        inner = shape(own, prefix + "attn.proj.weight", architecture)[0]
        # Wherever heads are added, the queries are halved in height and width.
        stride = 2 if 0 < heads < inner // channels else 1
        heads, keys_stride = inner // channels, max(keys_stride // stride, 1)
        relative = None
        if prefix + "attn.relative.h" in own:
            lengths = [shape(own, f"{prefix}attn.relative.{axis}", architecture)[0] for axis in "hwt"]
            relative = (lengths[0], lengths[1], lengths[2])
        layers.append(
            Layer(
                inputs=shape(own, prefix + "norm1.weight", architecture)[0],
                inner=inner,
                outputs=shape(own, prefix + "mlp.fc2.weight", architecture)[0],
                heads=heads,
                stride=stride,
                kernel=_kernel(own, prefix + "attn.pool_q.pool.weight"),
                keys_stride=keys_stride,
                keys_kernel=_kernel(own, prefix + "attn.pool_k.pool.weight"),
                relative=relative,
            )
        )
    return layers


def _kernel(own: Mapping[str, Tensor], key: str) -> Triple | None:
    if key not in own:
        return None
    frames, height, width = own[key].shape[2:]
    return frames, height, width


_BLOCKS: Rows = (
    (r"\.attn\.(pool|norm)_([qkv])\.", r".attn.pool_\2.\1."),
    (r"\.attn\.rel_pos_", ".attn.relative."),
)


def _single(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without pytorchvideo's second names for pooling layers, and with its three projections as one."""
    found = {key: value for key, value in state.items() if "._attention_pool_" not in key}
    for key in [key for key in found if ".attn.q." in key]:
        parts = [found.pop(key.replace(".attn.q.", f".attn.{name}.")) for name in "qkv"]
        found[key.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
    return found


def from_state(
    architecture: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network these tensors belong to, and the tensors under its key names. Raises ModelError."""
    rules = choose(FORMATS, state, architecture)
    own = rename(_single(state), (*rules.rows, *_BLOCKS))
    layers = _layers(own, architecture)
    inputs = shape(own, "patches.weight", architecture)[1]
    classes = shape(own, "head.projection.weight", architecture)[0]
    added = "pos_embed_temporal" in own
    if added:
        frames = shape(own, "pos_embed_temporal", architecture)[1]
        side = int(shape(own, "pos_embed_spatial", architecture)[1] ** 0.5)
    else:
        side = (shape(own, "blocks.0.attn.relative.h", architecture)[0] + 1) // 2
        frames = (shape(own, "blocks.0.attn.relative.t", architecture)[0] + 1) // 2
    return MViT(layers, inputs, classes, (frames, side, side), added=added), own
