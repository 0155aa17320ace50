"""TriDet: a convolutional pyramid, and boundaries read off as the expected bin of a distribution around each point.

After "TriDet: Temporal Action Detection with Relative Boundary Modeling" (Shi et al., CVPR 2023). Reads the
checkpoints of the authors' code and of OpenTAD; what they do differently is in ``pyramid.PyramidRules``. Knows rows,
not seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vidact.errors import ModelError
from vidact.models.keys import count
from vidact.models.localization import pyramid
from vidact.models.localization.blocks import (
    ChannelNorm,
    ConvNorm,
    DropPath,
    PredictionHead,
    fuse_norms,
    halve,
    in_tiles,
)
from vidact.models.localization.keys import Table, rename
from vidact.models.localization.pyramid import Level, PyramidRules, Trunk
from vidact.models.localization.segments import Detections
from vidact.models.localization.settings import Settings

_BLOCK = (
    (r"(trunk\.(?:stem|branch)\.\d+)\.ln\.", r"\1.norm."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.gn\.", r"\1.group_norm."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.psi\.", r"\1.gate."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.fc\.", r"\1.instant."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.global_fc\.", r"\1.average."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.convw\.", r"\1.near."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.convkw\.", r"\1.wide."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.drop_path_out\.", r"\1.drop1."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.drop_path_mlp\.", r"\1.drop2."),
)
KEYS: dict[str, tuple[Table, ...]] = {
    "original": (
        (
            (r"backbone\.embd\.(\d+)\.conv\.", r"trunk.embed.\1.conv."),
            (r"backbone\.embd_norm\.(\d+)\.", r"trunk.embed.\1.norm."),
            (r"backbone\.(stem|branch)\.", r"trunk.\1."),
            (r"neck\.fpn_norms\.", "norms."),
            (r"(cls|reg|start|end)_head\.head\.(\d+)\.conv\.", r"\1.convs.\2.conv."),
            (r"(cls|reg|start|end)_head\.norm\.(\d+)\.", r"\1.convs.\2.norm."),
            (r"(cls|start|end)_head\.cls_head\.conv\.", r"\1.out."),
            (r"reg_head\.offset_head\.conv\.", "reg.out."),
            (r"reg_head\.scale\.(\d+)\.scale", r"scales.\1"),
        ),
        _BLOCK,
    ),
    "opentad": (
        (
            (r"projection\.embed\.", "trunk.embed."),
            (r"projection\.(stem|branch)\.", r"trunk.\1."),
            (r"neck\.fpn_norms\.", "norms."),
            (r"rpn_head\.(?:cls_)?(start|end)_convs\.", r"\1.convs."),
            (r"rpn_head\.(?:cls_)?(start|end)_head\.", r"\1.out."),
            (r"rpn_head\.(cls|reg)_convs\.", r"\1.convs."),
            (r"rpn_head\.(cls|reg)_head\.", r"\1.out."),
            (r"rpn_head\.scale\.(\d+)\.scale", r"scales.\1"),
            (r"rpn_head\.loss_normalizer", None),
        ),
        _BLOCK,
    ),
    "vidact": (),
}
RULES = {"original": pyramid.ORIGINAL, "opentad": pyramid.OPENTAD, "vidact": pyramid.OPENTAD}
_GROUPS = 16


class GranularityBlock(nn.Module):
    """Scalable-granularity perception: an instant branch scaled by the whole sequence, and a gated window branch.

    Convolutions, group norm and average run over padding as over anything else, so padding is part of the result.
    """

    def __init__(
        self, channels: int, hidden: int, kernel: int, wide: int, *, stride: int, drop_path: float | None
    ) -> None:
        """``drop_path`` None: the residual branches carry no scale (the published stem)."""
        super().__init__()
        self.stride = stride
        self.norm = ChannelNorm(channels)
        self.group_norm = nn.GroupNorm(_GROUPS, channels)
        self.gate, self.near, self.wide, self.instant, self.average = (
            nn.Conv1d(channels, channels, size, padding=size // 2, groups=channels)
            for size in (kernel, kernel, wide, 1, 1)
        )
        self.mlp = nn.Sequential(nn.Conv1d(channels, hidden, 1), nn.GELU(), nn.Conv1d(hidden, channels, 1))
        scaled = drop_path is not None
        self.drop1 = DropPath(channels, drop_path or 0.0) if scaled else nn.Identity()
        self.drop2 = DropPath(channels, drop_path or 0.0) if scaled else nn.Identity()

    def forward(self, x: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        if self.stride > 1:
            x, mask = F.max_pool1d(x, 3, stride=2, padding=1), halve(mask)
        y = in_tiles(lambda x, mask: self.norm(x), x, mask, halo=0)
        whole = F.relu(self.average(y.mean(dim=-1, keepdim=True)))
        x = x * mask + in_tiles(lambda y, mask: self._mixed(y, whole), y, mask, halo=self.wide.kernel_size[0] // 2)
        seen = in_tiles(lambda x, mask: self.drop2(self.mlp(x)), self.group_norm(x), mask, halo=0)
        return x + seen, mask

    def _mixed(self, y: Tensor, whole: Tensor) -> Tensor:
        """Both branches and what they are added to, scaled."""
        mixed: Tensor = self.drop1(self.instant(y) * whole + (self.near(y) + self.wide(y)) * self.gate(y) + y)
        return mixed


class TriDet(nn.Module):
    """The network. Sizes come from the checkpoint; ``codes`` is the length of the table of position codes, 0 for
    none."""

    def __init__(
        self,
        inputs: int,
        *,
        width: int,
        hidden: int,
        classes: int,
        stem: Sequence[tuple[int, int]],
        branch: Sequence[tuple[int, int]],
        bins: int,
        embed: int = 2,
        kernel: int = 3,
        head_width: int = 512,
        head_layers: int = 2,
        head_kernel: int = 3,
        boundary_kernel: int = 3,
        codes: int = 0,
        drop_path: float = 0.1,
        rules: PyramidRules = pyramid.OPENTAD,
    ) -> None:
        """``stem`` and ``branch`` hold (kernel, wide kernel) of each block; ``bins`` + 1 bins on either side of a
        point."""
        super().__init__()
        self.classes, self.bins, self.rules = classes, bins, rules
        shared: dict[str, Any] = {"eps": rules.norm_eps, "mask_after": rules.mask_after_norm, "norm": True}
        embeddings = [ConvNorm(width if row else inputs, width, kernel, **shared) for row in range(embed)]
        stems: list[nn.Module] = [
            GranularityBlock(width, hidden, near, wide, stride=1, drop_path=None) for near, wide in stem
        ]
        branches: list[nn.Module] = [
            GranularityBlock(width, hidden, near, wide, stride=2, drop_path=drop_path) for near, wide in branch
        ]
        self.trunk = Trunk(embeddings, stems, branches, width=width, codes=codes)
        self.norms = nn.ModuleList(ChannelNorm(width, rules.norm_eps) for _ in range(len(branch) + 1))
        inner = {"layers": head_layers, "kernel": head_kernel, **shared}
        outer = {"layers": head_layers, "kernel": boundary_kernel, **shared}
        self.cls = PredictionHead(width, head_width, classes, **inner)
        self.reg = PredictionHead(width, head_width, 2 * (bins + 1), **inner)
        self.start = PredictionHead(width, head_width, classes, **outer)
        self.end = PredictionHead(width, head_width, classes, **outer)
        self.scales = nn.ParameterList(torch.ones(()) for _ in self.norms)
        fuse_norms(self, rules.fused_norm)
        # The window of the published padding rule is the kernel of the block that makes the level.
        self.multiple = max([1, *(2 ** (level + 1) * near for level, (near, _) in enumerate(branch))])

    def forward(self, x: Tensor, mask: Tensor) -> list[Level]:
        """(B, C, T) and its mask (B, 1, T), T divisible by the pyramid's last stride → one ``Level`` for each length.

        Offsets are (B, T, 2 × (bins + 1)), what is added to the boundary logits of the bins on either side.
        """
        levels = []
        for (features, level_mask), norm, scale in zip(self.trunk(x, mask), self.norms, self.scales, strict=True):
            features = norm(features)
            outputs = [head(features, level_mask) for head in (self.cls, self.reg)]
            # The boundary heads learn nothing into the trunk: published so, and kept for training.
            outputs += [head(features.detach(), level_mask) for head in (self.start, self.end)]
            if self.rules.mask_outputs:
                outputs = [one * level_mask for one in outputs]
            logits, offsets, starts, ends = (one.transpose(1, 2) for one in outputs)
            levels.append(Level(logits, F.relu(offsets * scale), level_mask.squeeze(1), starts, ends))
        return levels

    def levels(self, features: Tensor, settings: Settings) -> list[Level]:
        """The raw outputs for one sequence (C, T), padded as published."""
        whole = pyramid.padded(features.shape[1], settings.length, self.multiple)
        return self(*pyramid.pad(features, whole))  # type: ignore[no-any-return]

    def find(self, features: Tensor, settings: Settings) -> Detections:
        """Candidates in one sequence (C, T): times in rows, before suppression."""
        return pyramid.candidates(self.levels(features, settings), self._distances, settings, self.rules)

    def _distances(self, level: Level, positions: Tensor, labels: Tensor) -> Tensor:
        return self.distances(level, torch.zeros_like(positions), positions, labels)

    def distances(self, level: Level, samples: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        """Expected bins before and after each point (K, 2), given which sequence of the batch, position and label it
        has (K,); the start's bins lie at and before it, the end's at and after it."""
        assert level.starts is not None and level.ends is not None
        offsets = level.offsets[samples, positions].view(len(positions), 2, self.bins + 1)
        bins = torch.arange(self.bins + 1, device=positions.device)
        sides = []
        for logits, place, side in (
            (level.starts, positions[:, None] - bins.flip(0), 0),
            (level.ends, positions[:, None] + bins, 1),
        ):
            last = logits.shape[1] - 1
            boundary = logits[samples[:, None], place.clamp(0, last), labels[:, None]]
            boundary = boundary.masked_fill((place < 0) | (place > last), 0.0)
            share = (boundary + offsets[:, side]).softmax(dim=1)
            sides.append(share @ (bins if side else bins.flip(0)).to(share.dtype))
        return torch.stack(sides, dim=1)


MARKS = (("backbone.embd.", "original"), ("projection.embed.", "opentad"), ("trunk.embed.", "vidact"))
"""Whose files have a key that begins so."""


def from_state(
    form: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network that fits these tensors, and the tensors under its names.

    ``options``: ``codes``, the length of the position table, which no tensor tells. Raises ModelError when a tensor the
    sizes are read from is missing.
    """
    tensors = dict(state)
    for table in KEYS[form]:
        tensors = rename(tensors, table)

    def kernels(part: str) -> list[tuple[int, int]]:
        blocks = (f"trunk.{part}.{row}" for row in range(count(tensors, f"trunk.{part}.")))
        return [
            (tensors[f"{block}.gate.weight"].shape[2], tensors[f"{block}.wide.weight"].shape[2]) for block in blocks
        ]

    try:
        first, last = tensors["trunk.embed.0.conv.weight"], tensors["cls.out.weight"]
        network = TriDet(
            first.shape[1],
            width=first.shape[0],
            hidden=tensors["trunk.branch.0.mlp.0.weight"].shape[0],
            classes=last.shape[0],
            stem=kernels("stem"),
            branch=kernels("branch"),
            bins=tensors["reg.out.weight"].shape[0] // 2 - 1,
            embed=count(tensors, "trunk.embed."),
            kernel=first.shape[2],
            head_width=last.shape[1],
            head_layers=count(tensors, "cls.convs."),
            head_kernel=last.shape[2],
            boundary_kernel=tensors["start.out.weight"].shape[2],
            codes=options.get("codes", 0),
            rules=RULES[form],
        )
    except KeyError as error:
        raise ModelError(
            f"the tensor {error.args[0]!r} of a TriDet is missing", hint="is the file complete?"
        ) from error
    return network, tensors
