"""What the video transformers share: attention, perceptron, block, and a classifier that sees one vector a clip."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vidact.models.recognition.blocks import Classifier, Head


class Perceptron(nn.Module):
    """Two layers with a GELU between."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(inputs, hidden)
        self.fc2 = nn.Linear(hidden, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → (B, N, C')."""
        found: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return found


class SelfAttention(nn.Module):
    """Every token looks at every other."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, C) → the same shape."""
        batch, tokens, _ = x.shape
        q, k, v = self.qkv(x).view(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        found: Tensor = self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return found


class Block(nn.Module):
    """Attention and perceptron, each behind a norm and beside a shortcut."""

    def __init__(self, width: int, heads: int, hidden: int, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = SelfAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Perceptron(width, hidden, width)

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

    def positions(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) → logits (B, 1, classes)."""
        return self.head.positions(self.head.pool(self.maps(clips)))
