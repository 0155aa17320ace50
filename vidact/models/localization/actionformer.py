"""ActionFormer: a transformer with local attention over a pyramid of lengths, one classifier and one regressor for all.

After "ActionFormer: Localizing Moments of Actions with Transformers" (Zhang, Wu and Li, ECCV 2022). Reads the
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
from vidact.models.localization.blocks import ChannelNorm, ConvNorm, PredictionHead, TransformerBlock, fuse_norms
from vidact.models.localization.keys import Table, rename
from vidact.models.localization.pyramid import Level, PyramidRules, Trunk
from vidact.models.localization.segments import Detections
from vidact.models.localization.settings import Settings

_BLOCK = (
    (r"(trunk\.(?:stem|branch)\.\d+)\.ln([12])\.", r"\1.norm\2."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.attn\.(query|key|value)_conv\.conv\.", r"\1.attention.\2_conv."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.attn\.proj\.", r"\1.attention.out."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.attn\.", r"\1.attention."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.drop_path_attn\.", r"\1.drop1."),
    (r"(trunk\.(?:stem|branch)\.\d+)\.drop_path_mlp\.", r"\1.drop2."),
)
KEYS: dict[str, tuple[Table, ...]] = {
    "original": (
        (
            (r"backbone\.proj\.(\d+)\.conv\.", r"project.\1."),
            (r"backbone\.embd\.(\d+)\.conv\.", r"trunk.embed.\1.conv."),
            (r"backbone\.embd_norm\.(\d+)\.", r"trunk.embed.\1.norm."),
            (r"backbone\.(stem|branch)\.", r"trunk.\1."),
            (r"neck\.fpn_norms\.", "norms."),
            (r"(cls|reg)_head\.head\.(\d+)\.conv\.", r"\1.convs.\2.conv."),
            (r"(cls|reg)_head\.norm\.(\d+)\.", r"\1.convs.\2.norm."),
            (r"cls_head\.cls_head\.conv\.", "cls.out."),
            (r"reg_head\.offset_head\.conv\.", "reg.out."),
            (r"reg_head\.scale\.(\d+)\.scale", r"scales.\1"),
        ),
        _BLOCK,
    ),
    "opentad": (
        (
            (r"projection\.proj\.(\d+)\.conv\.", r"project.\1."),
            (r"projection\.embed\.", "trunk.embed."),
            (r"projection\.(stem|branch)\.", r"trunk.\1."),
            (r"neck\.fpn_norms\.", "norms."),
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


class ActionFormer(nn.Module):
    """The network. Arguments are what its checkpoints do not tell, or the shapes that do."""

    def __init__(
        self,
        inputs: Sequence[int],
        *,
        width: int | Sequence[int],
        classes: int,
        windows: Sequence[int],
        heads: int = 4,
        embed: int = 2,
        stem: int = 2,
        kernel: int = 3,
        head_width: int = 512,
        head_layers: int = 2,
        head_kernel: int = 3,
        codes: int = 0,
        norm: bool = True,
        drop_path: float = 0.1,
        rules: PyramidRules = pyramid.OPENTAD,
    ) -> None:
        """``windows`` holds one attention window a pyramid level (1 or less: no window); ``codes`` the length of the
        table of position codes, 0 for none. Several ``inputs`` are projected to the same number of ``width`` first."""
        super().__init__()
        self.inputs, self.classes, self.rules = tuple(inputs), classes, rules
        widths = [width] if isinstance(width, int) else list(width)
        channels, first = sum(widths), self.inputs[0]
        self.project = nn.ModuleList()
        if len(self.inputs) > 1:
            pairs = zip(self.inputs, widths, strict=True)
            self.project = nn.ModuleList(nn.Conv1d(before, after, 1) for before, after in pairs)
            first = channels
        embeddings = [
            ConvNorm(
                channels if row else first,
                channels,
                kernel,
                eps=rules.norm_eps,
                mask_after=rules.mask_after_norm,
                norm=norm,
            )
            for row in range(embed)
        ]
        stems: list[nn.Module] = [
            TransformerBlock(channels, heads, windows[0], drop_path=drop_path) for _ in range(stem)
        ]
        branches: list[nn.Module] = [
            TransformerBlock(channels, heads, window, stride=2, drop_path=drop_path) for window in windows[1:]
        ]
        self.trunk = Trunk(embeddings, stems, branches, width=channels, codes=codes)
        self.norms = nn.ModuleList(ChannelNorm(channels, rules.norm_eps) for _ in windows)
        head: dict[str, Any] = {
            "layers": head_layers,
            "kernel": head_kernel,
            "eps": rules.norm_eps,
            "mask_after": rules.mask_after_norm,
            "norm": norm,
        }
        self.cls = PredictionHead(channels, head_width, classes, **head)
        self.reg = PredictionHead(channels, head_width, 2, **head)
        self.scales = nn.ParameterList(torch.ones(()) for _ in windows)
        fuse_norms(self, rules.fused_norm)
        # Lengths that every local attention and every halving divides evenly, as the published code pads them.
        self.multiple = max(2**level * (2 * (w // 2) if w > 1 else 1) for level, w in enumerate(windows))

    def forward(self, x: Tensor, mask: Tensor, whole: int = 0) -> list[Level]:
        """(B, C, T) and its mask (B, 1, T), T divisible by the pyramid's last stride → one ``Level`` for each length.

        ``whole`` is the length position codes are made for where it is above T. Offsets are (B, T, 2): distances to
        start and end, in positions of the level.
        """
        if len(self.project):
            parts = torch.split(x, list(self.inputs), dim=1)
            x = torch.cat([one(part) * mask for one, part in zip(self.project, parts, strict=True)], dim=1)
        levels = []
        for (features, level_mask), norm, scale in zip(
            self.trunk(x, mask, whole), self.norms, self.scales, strict=True
        ):
            features = norm(features)
            logits, offsets = self.cls(features, level_mask), self.reg(features, level_mask)
            if self.rules.mask_outputs:
                logits, offsets = logits * level_mask, offsets * level_mask
            levels.append(Level(logits.transpose(1, 2), F.relu(offsets * scale).transpose(1, 2), level_mask.squeeze(1)))
        return levels

    def levels(self, features: Tensor, settings: Settings) -> list[Level]:
        """The raw outputs for one sequence (C, T), as if it were padded as published.

        Real positions see at most the first padded one of their level (kernels of 3, masks after every layer), so the
        padding beyond it is left out.
        """
        length = features.shape[1]
        whole = pyramid.padded(length, settings.length, self.multiple)
        last = 2 ** (len(self.norms) - 1)
        enough = (-(-length // last) + self.cls.out.kernel_size[0] // 2) * last
        return self(*pyramid.pad(features, min(whole, enough)), whole)  # type: ignore[no-any-return]

    def find(self, features: Tensor, settings: Settings) -> Detections:
        """Candidates in one sequence (C, T): times in rows, before suppression."""
        return pyramid.candidates(self.levels(features, settings), _distances, settings, self.rules)


def _distances(level: Level, positions: Tensor, labels: Tensor) -> Tensor:
    return level.offsets[0, positions]


MARKS = (("backbone.embd.", "original"), ("projection.embed.", "opentad"), ("trunk.embed.", "vidact"))
"""Whose files have a key that begins so."""


def from_state(
    form: str, state: Mapping[str, Tensor], options: Mapping[str, Any]
) -> tuple[nn.Module, dict[str, Tensor]]:
    """The network that fits these tensors, and the tensors under its names.

    ``options``: ``heads``, ``window`` (a number or one a level) and ``codes`` (length of the position table), which no
    tensor tells. Raises ModelError when a tensor the sizes are read from is missing.
    """
    tensors = dict(state)
    for table in KEYS[form]:
        tensors = rename(tensors, table)
    levels = count(tensors, "trunk.branch.") + 1
    window = options["window"]
    windows = list(window) if isinstance(window, (list, tuple)) else [window] * levels
    try:
        projections = [tensors[f"project.{row}.weight"] for row in range(count(tensors, "project."))]
        first = tensors["trunk.embed.0.conv.weight"]
        network = ActionFormer(
            [one.shape[1] for one in projections] or [first.shape[1]],
            width=[one.shape[0] for one in projections] or first.shape[0],
            classes=tensors["cls.out.weight"].shape[0],
            windows=windows[:levels] + windows[-1:] * (levels - len(windows)),
            heads=options["heads"],
            embed=count(tensors, "trunk.embed."),
            stem=count(tensors, "trunk.stem."),
            kernel=first.shape[2],
            head_width=tensors["cls.out.weight"].shape[1],
            head_layers=count(tensors, "cls.convs."),
            head_kernel=tensors["cls.out.weight"].shape[2],
            codes=options.get("codes", 0),
            norm="trunk.embed.0.norm.weight" in tensors,
            rules=RULES[form],
        )
    except KeyError as error:
        raise ModelError(
            f"the tensor {error.args[0]!r} of an ActionFormer is missing", hint="is the file complete?"
        ) from error
    return network, tensors
