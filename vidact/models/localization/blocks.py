"""Layers for sequences of features that several localizers share: masked convolutions, attention, position codes.

Sequences are (B, C, T); masks are (B, 1, T) float, 1 on real positions and 0 on padding. Knows no checkpoint format:
where published networks differ (the floor of a norm, whether a norm's output is masked), the difference is an
argument. What a convolution or a norm gives is changed in place where its gradient does not need it: memory is what
long sequences wait for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidact.models.localization.attention import attention, local_attention

_TILE = 2304  # rows: what a layer keeps between its steps then stays in memory that is reused


class ChannelNorm(nn.Module):
    """Layer norm over the channels of (B, C, T).

    ``fused`` norms with the channels last, as torch does; otherwise by hand, which spares two transpositions. The two
    round differently: a network follows whoever published it, so that candidates of nearly equal score keep their
    order.
    """

    fused = False

    def __init__(self, channels: int, eps: float = 1e-5) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and x.dtype == torch.float32 and x.device.type == "cpu":
            return _Learnable.apply(x, self.weight, self.bias, self.eps)  # type: ignore[no-any-return, no-untyped-call]
        if self.fused or x.dtype != torch.float32:
            return F.layer_norm(x.transpose(1, 2), self.weight.shape, self.weight, self.bias, self.eps).transpose(1, 2)
        x = x - x.mean(dim=1, keepdim=True)
        spread = (x.square().mean(dim=1, keepdim=True) + self.eps).sqrt()
        return x.div_(spread).mul_(self.weight[:, None]).add_(self.bias[:, None])


class _Learnable(torch.autograd.Function):
    """The norm of (B, C, T) with its gradients: no transposition, and one tensor as large as the input kept."""

    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        x = x - x.mean(dim=1, keepdim=True)
        steepness = (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()
        x.mul_(steepness)
        context.save_for_backward(x, steepness, weight)
        return (x * weight[:, None]).add_(bias[:, None])

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, None]:
        x, steepness, weight = context.saved_tensors
        along = gradient * x
        share = weight / len(weight)
        found = gradient * weight[:, None]
        found.sub_((share @ gradient).unsqueeze(1)).addcmul_(x, (share @ along).unsqueeze(1), value=-1)
        return found.mul_(steepness), along.sum((0, 2)), gradient.sum((0, 2)), None


def fuse_norms(network: nn.Module, fused: bool) -> None:
    """Choose the rounding of every channel norm in a network."""
    for module in network.modules():
        if isinstance(module, ChannelNorm):
            module.fused = fused


def in_tiles(
    layer: Callable[[Tensor, Tensor], Tensor], x: Tensor, mask: Tensor, *, halo: int, stride: int = 1, unit: int = 1
) -> Tensor:
    """``layer(x, mask)`` tile by tile, for a layer that shortens sequences by ``stride``.

    An output sees at most ``halo`` outputs' rows to either side; tiles begin at multiples of ``unit`` outputs, so that
    what a layer counts from the beginning falls as in the whole. Training goes whole.
    """
    length, tile = -(-x.shape[-1] // stride), max(_TILE // unit, 1) * unit
    if torch.is_grad_enabled() or length <= tile or x.device.type != "cpu":
        return layer(x, mask)
    found: Tensor | None = None
    for first in range(0, length, tile):
        last = min(first + tile, length)
        low, high = max(first - halo, 0), min(last + halo, length)
        seen = slice(low * stride, high * stride)
        part = layer(x[:, :, seen], mask[:, :, seen])
        if found is None:
            found = part.new_empty(*part.shape[:2], length)
        found[:, :, first:last] = part[:, :, first - low : last - low]
    assert found is not None
    return found


def halve(mask: Tensor) -> Tensor:
    """The mask one pyramid level up: every second entry."""
    return mask[:, :, ::2]


class ConvNorm(nn.Module):
    """Convolution, mask, norm, ReLU; and the mask again where ``mask_after`` (a norm makes zeros into its bias)."""

    def __init__(
        self, before: int, after: int, kernel: int, *, eps: float, mask_after: bool, norm: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, kernel, padding=kernel // 2, bias=not norm)
        self.norm = ChannelNorm(after, eps) if norm else nn.Identity()
        self.mask_after = mask_after

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return in_tiles(self._whole, x, mask, halo=self.conv.kernel_size[0] // 2)

    def _whole(self, x: Tensor, mask: Tensor) -> Tensor:
        x = F.relu(self.norm(self.conv(x).mul_(mask)), inplace=True)
        return x * mask if self.mask_after else x


class ConvAttention(nn.Module):
    """Multi-head attention whose queries, keys and values first pass a depthwise convolution, which may halve the
    length.

    ``window`` > 1 lets each position see the ``window // 2`` positions on either side; otherwise it sees all.
    """

    def __init__(self, channels: int, heads: int, window: int, stride: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.reach = window // 2 if window > 1 else 0
        self.stride = stride
        self.query_conv, self.key_conv, self.value_conv = (
            nn.Conv1d(channels, channels, 3, stride=stride, padding=1, groups=channels, bias=False) for _ in range(3)
        )
        self.query_norm, self.key_norm, self.value_norm = (ChannelNorm(channels) for _ in range(3))
        self.query, self.key, self.value, self.out = (nn.Conv1d(channels, channels, 1) for _ in range(4))

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, C, T) and the mask of the *output* (B, 1, T / stride) → (B, C, T / stride)."""
        query = self._split(self.query(self.query_norm(self.query_conv(x).mul_(mask))))
        key = self._split(self.key(self.key_norm(self.key_conv(x).mul_(mask))))
        value = self._split(self.value(self.value_norm(self.value_conv(x).mul_(mask))))
        query = query.div_(math.sqrt(query.shape[-1]))
        seen = (
            local_attention(query, key, value, mask, self.reach) if self.reach else attention(query, key, value, mask)
        )
        joined: Tensor = self.out(seen.transpose(2, 3).flatten(1, 2)).mul_(mask)
        return joined

    def _split(self, x: Tensor) -> Tensor:
        """(B, C, T) → (B, heads, T, C / heads)."""
        return x.view(x.shape[0], self.heads, -1, x.shape[2]).transpose(2, 3)


class DropPath(nn.Module):
    """A residual branch scaled per channel and, in training, left out for some samples."""

    def __init__(self, channels: int, probability: float = 0.0, scale: float = 1e-4) -> None:
        super().__init__()
        self.probability = probability
        self.scale = nn.Parameter(torch.full((1, channels, 1), scale))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.probability == 0:
            return self.scale * x
        keep = 1 - self.probability
        kept = torch.empty((x.shape[0], 1, 1), dtype=x.dtype, device=x.device).bernoulli_(keep)
        return x * (self.scale * (kept / keep))


class TransformerBlock(nn.Module):
    """Pre-norm attention and MLP; with stride 2 it halves the length, the skip by max pooling."""

    def __init__(
        self, channels: int, heads: int, window: int, *, stride: int = 1, drop_path: float = 0.0, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm1, self.norm2 = ChannelNorm(channels), ChannelNorm(channels)
        self.attention = ConvAttention(channels, heads, window, stride)
        self.mlp = nn.Sequential(
            nn.Conv1d(channels, 4 * channels, 1),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(4 * channels, channels, 1),
            nn.Dropout(dropout),
        )
        self.drop1, self.drop2 = DropPath(channels, drop_path), DropPath(channels, drop_path)

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        after = halve(mask) if self.stride > 1 else mask
        reach = self.attention.reach
        if not reach:
            return self._whole(x, mask), after
        return in_tiles(self._whole, x, mask, halo=2 * reach, stride=self.stride, unit=reach), after

    def _whole(self, x: Tensor, mask: Tensor) -> Tensor:
        if self.stride > 1:
            after = halve(mask)
            skip = F.max_pool1d(x, 3, stride=2, padding=1) * after
        else:
            after = mask
            skip = x * mask
        x = skip + self.drop1(self.attention(self.norm1(x), after))
        found: Tensor = x + self.drop2(self.mlp(self.norm2(x)).mul_(after))
        return found


def sinusoids(length: int, channels: int) -> Tensor:
    """Position codes (1, channels, length): sines on even channels, cosines on odd, over sqrt(channels)."""
    channel = torch.arange(channels, dtype=torch.float64)
    angles = torch.arange(length, dtype=torch.float64)[None, :] / 10000 ** (2 * (channel[:, None] // 2) / channels)
    codes = torch.where(channel[:, None] % 2 == 0, angles.sin(), angles.cos())
    scaled: Tensor = (codes.float() / channels**0.5).unsqueeze(0)
    return scaled


def position_codes(codes: Tensor, length: int) -> Tensor:
    """Codes for ``length`` positions: cut when there are more, linearly resized when there are not."""
    if length < codes.shape[-1]:
        return codes[:, :, :length]
    return F.interpolate(codes, length, mode="linear", align_corners=False)


class PredictionHead(nn.Module):
    """Convolutions shared by all pyramid levels, then one to ``outputs`` channels."""

    def __init__(
        self,
        channels: int,
        width: int,
        outputs: int,
        *,
        layers: int,
        kernel: int,
        eps: float,
        mask_after: bool,
        norm: bool,
    ) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            ConvNorm(width if row else channels, width, kernel, eps=eps, mask_after=mask_after, norm=norm)
            for row in range(layers)
        )
        self.out = nn.Conv1d(width, outputs, kernel, padding=kernel // 2)
        self.halo = (layers + 1) * (kernel // 2)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        return in_tiles(self._whole, x, mask, halo=self.halo)

    def _whole(self, x: Tensor, mask: Tensor) -> Tensor:
        for conv in self.convs:
            x = conv(x, mask)
        outputs: Tensor = self.out(x)
        return outputs
