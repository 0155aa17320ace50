"""The blocks that most 3-D convolutional networks share: convolution with norm, bottleneck, non-local block, head.

Knows nothing of formats: what publishers do differently comes in as arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Triple = tuple[int, int, int]
"""Time, height, width."""

ONE: Triple = (1, 1, 1)
WHOLE = 1 << 30
"""A window's side that takes the whole axis."""
VECTORS = 64
"""Numbers that fill whole vectors on every CPU, in every type."""


class Normed(nn.Module):
    """Convolutions with batch norms behind them: ``pairs`` are their names."""

    pairs: tuple[tuple[str, str], ...] = (("conv", "norm"),)

    def fold(self) -> None:
        """Multiply the norms into the convolutions: the same sums with one pass less over the maps. Ends training."""
        for convolution, norm in self.pairs:
            if isinstance(found := getattr(self, norm), nn.BatchNorm2d | nn.BatchNorm3d):
                setattr(self, convolution, fuse_conv_bn_eval(getattr(self, convolution).eval(), found.eval()))
                setattr(self, norm, nn.Identity())


class ConvNorm(Normed):
    """A convolution that keeps the size (but for its stride), a batch norm and, by default, a ReLU."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: Triple,
        stride: Triple = ONE,
        *,
        groups: int = 1,
        eps: float = 1e-5,
        relu: bool = True,
    ) -> None:
        super().__init__()
        padding = (kernel[0] // 2, kernel[1] // 2, kernel[2] // 2)
        self.conv = nn.Conv3d(inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False)
        self.norm = nn.BatchNorm3d(outputs, eps=eps)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T', H', W')."""
        x = self.norm(self.conv(x))
        return x.relu_() if self.relu else x


class Factorised(Normed):
    """Two convolutions in place of one of ``kernel``, a norm and a ReLU between and, by default, behind.

    ``middle`` channels lie between them; ``between_eps`` is the eps of the norm there.
    """

    def __init__(
        self,
        inputs: int,
        middle: int,
        outputs: int,
        kernel: Triple,
        stride: Triple = ONE,
        *,
        time_first: bool = False,
        eps: float = 1e-5,
        between_eps: float = 1e-5,
        relu: bool = True,
    ) -> None:
        super().__init__()
        frames, height, width = kernel
        ends = (middle, outputs), (inputs, middle)
        (space_in, space_out), (time_in, time_out) = ends if time_first else reversed(ends)
        self.space = nn.Conv3d(
            space_in,
            space_out,
            (1, height, width),
            stride=(1, stride[1], stride[2]),
            padding=(0, height // 2, width // 2),
            bias=False,
        )
        self.time = nn.Conv3d(
            time_in, time_out, (frames, 1, 1), stride=(stride[0], 1, 1), padding=(frames // 2, 0, 0), bias=False
        )
        self.between = nn.BatchNorm3d(middle, eps=between_eps)
        self.norm = nn.BatchNorm3d(outputs, eps=eps)
        self.time_first, self.relu = time_first, relu
        self.pairs = (
            (("time", "between"), ("space", "norm")) if time_first else (("space", "between"), ("time", "norm"))
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T', H', W')."""
        first, second = (self.time, self.space) if self.time_first else (self.space, self.time)
        x = self.norm(second(self.between(first(x)).relu_()))
        return x.relu_() if self.relu else x


def equal_size(inputs: int, outputs: int, area: int, frames: int = 3) -> int:
    """Channels between, so that both convolutions have the parameters of one of ``frames`` by ``area`` pixels."""
    return frames * inputs * outputs * area // (inputs * area + frames * outputs)


def factorised(
    inputs: int, outputs: int, kernel: Triple, stride: Triple = ONE, *, eps: float = 1e-5, relu: bool = True
) -> Factorised:
    """A factorised convolution with as many parameters as the whole one."""
    middle = equal_size(inputs, outputs, kernel[1] * kernel[2], kernel[0])
    return Factorised(inputs, middle, outputs, kernel, stride, eps=eps, relu=relu)


class Basic(nn.Module):
    """A residual block of two convolutions; ``shortcut`` None passes the input on."""

    def __init__(self, a: nn.Module, b: nn.Module, shortcut: nn.Module | None) -> None:
        super().__init__()
        self.a, self.b, self.shortcut = a, b, shortcut

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T', H', W')."""
        rest = x if self.shortcut is None else self.shortcut(x)
        summed: Tensor = self.b(self.a(x)).add_(rest)
        return summed.relu_()


class Bottleneck(nn.Module):
    """A residual block: 1x1x1 (``kernel`` frames long), 1x3x3 (or ``middle``), 1x1x1, then the shortcut is added.

    The stride is the middle convolution's; the shortcut is a convolution where the size or the channels change.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        outputs: int,
        *,
        kernel: int = 1,
        stride: Triple = ONE,
        middle: nn.Module | None = None,
        eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.a = ConvNorm(inputs, width, (kernel, 1, 1), eps=eps)
        self.b = middle or ConvNorm(width, width, (1, 3, 3), stride, eps=eps)
        self.c = ConvNorm(width, outputs, ONE, eps=eps, relu=False)
        same = inputs == outputs and stride == ONE
        self.shortcut = None if same else ConvNorm(inputs, outputs, ONE, stride, eps=eps, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T', H', W')."""
        rest = x if self.shortcut is None else self.shortcut(x)
        summed: Tensor = self.c(self.b(self.a(x))).add_(rest)
        return summed.relu_()


class NonLocal(nn.Module):
    """Every place looks at every other (averaged pairwise in space), by softmax or by the plain dot product."""

    def __init__(self, channels: int, *, softmax: bool) -> None:
        super().__init__()
        self.inner = channels // 2
        self.softmax = softmax
        self.theta = nn.Conv3d(channels, self.inner, 1)
        self.phi = nn.Conv3d(channels, self.inner, 1)
        self.g = nn.Conv3d(channels, self.inner, 1)
        self.out = nn.Conv3d(self.inner, channels, 1)
        self.norm = nn.BatchNorm3d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → the same shape."""
        seen = F.max_pool3d(x, (1, 2, 2))
        theta = self.theta(x).flatten(2).transpose(1, 2)
        phi, g = self.phi(seen).flatten(2), self.g(seen).flatten(2).transpose(1, 2)
        affinity = theta @ phi
        affinity = (affinity * self.inner**-0.5).softmax(-1) if self.softmax else affinity / affinity.shape[-1]
        found = (affinity @ g).transpose(1, 2).reshape(x.shape[0], self.inner, *x.shape[2:])
        mixed: Tensor = self.norm(self.out(found))
        return mixed.add_(x)


class Head(nn.Module):
    """Averages each pathway's maps, joins them, and classifies what is left at every position.

    ``windows`` are the averaging kernels (frames, height, width), one for each pathway, which slide by one: on pictures
    larger than those of the training several positions are left. None averages whole clips.
    """

    def __init__(self, dimension: int, classes: int, windows: Sequence[Triple] | None) -> None:
        super().__init__()
        self.windows = windows
        self.projection = nn.Linear(dimension, classes)

    def pool(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, T, H, W) of every pathway → (B, D, t, h, w), one vector a position."""
        if self.windows is None:
            pooled = [x.mean(dim=(2, 3, 4), keepdim=True) for x in maps]
        else:
            pooled = [window_mean(x, window) for x, window in zip(maps, self.windows, strict=True)]
        return torch.cat(pooled, dim=1)

    def joined(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps (B, C, T, H, W) of every pathway → (B, D, t, h, w): what ``pool`` averages, as one.

        A pathway that sees more frames is averaged to the rate of the slowest.
        """
        frames = min(x.shape[2] for x in maps)
        return torch.cat([slid_mean(x, (x.shape[2] // frames, 1, 1), (x.shape[2] // frames, 1, 1)) for x in maps], 1)

    def positions(self, pooled: Tensor) -> Tensor:
        """(B, D, t, h, w) → logits (B, t·h·w, classes), time first."""
        logits: Tensor = self.projection(pooled.flatten(2).transpose(1, 2))
        return logits


class Classifier(nn.Module):
    """A network whose head classifies positions. A subclass gives ``maps`` and sets ``head``.

    ``score_first``: probabilities are taken at every position and then averaged (else logits are averaged first).
    """

    def __init__(self, head: Head, *, score_first: bool = False) -> None:
        super().__init__()
        self.head = head
        self.classes = head.projection.out_features
        self.score_first = score_first

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        """(B, C, T, H, W) → the last maps (B, D, T', H', W') of every pathway, in the head's order."""
        raise NotImplementedError

    def features(self, clips: Tensor, pool: bool = True) -> Tensor:
        """What the classifier sees: (B, D), or (B, D, t, h, w) with ``pool=False``: before anything is averaged."""
        maps = self.maps(clips)
        return self.head.pool(maps).mean(dim=(2, 3, 4)) if pool else self.head.joined(maps)

    def positions(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) → logits at every position of the head, (B, P, classes), time first."""
        return self.head.positions(self.head.pool(self.maps(clips)))

    def forward(self, clips: Tensor) -> Tensor:
        """(B, C, T, H, W) normalised → (B, classes) logits."""
        return self.positions(clips).mean(dim=1)

    def scores(self, clips: Tensor, activate: Callable[[Tensor], Tensor]) -> Tensor:
        """(B, C, T, H, W) normalised → (B, classes) probabilities, as the publisher takes them."""
        positions = self.positions(clips).float()
        return activate(positions).mean(dim=1) if self.score_first else activate(positions.mean(dim=1))


def window_mean(x: Tensor, window: Triple) -> Tensor:
    """The mean over every window of that size, or over the whole axis where it is shorter."""
    kernel = [min(size, length) for size, length in zip(window, x.shape[2:], strict=True)]
    if kernel == list(x.shape[2:]):
        return x.mean(dim=(2, 3, 4), keepdim=True)
    return slid_mean(x, (kernel[0], kernel[1], kernel[2]), ONE)


def sigmoid(x: Tensor) -> Tensor:
    """As torch's, but no number's last bit depends on where it lies.

    On CPUs torch computes the last numbers of a tensor, those that fill no vector, in a way of their own. A clip's
    score would depend on its place in the batch, and so on which other clips happened to be ready.
    """
    short = -x.numel() % VECTORS
    if not short or x.device.type != "cpu":
        return x.sigmoid()
    return F.pad(x.flatten(), (0, short)).sigmoid()[: x.numel()].view_as(x)


def slid_mean(x: Tensor, kernel: Triple, stride: Triple) -> Tensor:
    """The mean over windows, computed in float32: torch averages no shorter numbers on CPUs."""
    return F.avg_pool3d(x.float(), kernel, stride).to(x.dtype)
