"""The video transformers beyond the reference records: other sizes, depths and key formats, on small networks."""

from __future__ import annotations

import math
import re

import pytest
import torch
from torch import Tensor

from vidact.errors import ModelError
from vidact.models.build import load_strictly
from vidact.models.recognition import swin, timesformer, vivit, vjepa2
from vidact.models.recognition.swin import APART, Stage, Swin, WindowAttention


def small_swin(window: tuple[int, int, int] = (4, 3, 3)) -> Swin:
    torch.manual_seed(0)
    stages = [
        Stage(width=8, heads=2, hidden=16, blocks=2, window=window, outputs=16),
        Stage(width=16, heads=4, hidden=32, blocks=3, window=window, outputs=None),
    ]
    network = Swin(stages, patch=(2, 4, 4), inputs=3, classes=5).eval()
    for name, value in network.named_parameters():
        if name.endswith("table"):
            torch.nn.init.normal_(value)
    return network.requires_grad_(False)


def as_published(state: dict[str, Tensor], publisher: str) -> dict[str, Tensor]:
    """Our keys → a publisher's, written down apart from the key maps."""
    found = {}
    for key, value in state.items():
        key = key.replace(".attn.table", ".attn.relative_position_bias_table")
        if publisher == "torchvision":
            key = re.sub(r"^stages\.(\d)\.blocks", lambda m: f"features.{2 * int(m[1])}", key)
            key = re.sub(r"^stages\.(\d)\.downsample", lambda m: f"features.{2 * int(m[1]) + 1}", key)
            key = key.replace("mlp.fc1", "mlp.0").replace("mlp.fc2", "mlp.3")
            key = key.replace("patches_norm", "patch_embed.norm").replace("patches.", "patch_embed.proj.")
            key = key.replace("head.projection", "head")
        else:
            key = key.replace("stages.", "backbone.layers.")
            key = key.replace("patches_norm", "backbone.patch_embed.norm").replace(
                "patches.", "backbone.patch_embed.proj."
            )
            key = re.sub(r"^norm\.", "backbone.norm3." if publisher == "mmaction2" else "backbone.norm.", key)
            key = key.replace("head.projection", "cls_head.fc_cls")
        found[key] = value
    return found


@pytest.mark.parametrize("publisher", ["authors", "mmaction2", "torchvision"])
@pytest.mark.parametrize("tables", [False, True])
def test_swin_depths_widths_and_windows_come_from_any_format(publisher: str, tables: bool) -> None:
    network = small_swin()
    state = as_published(network.state_dict(), publisher)
    if tables:
        state |= {k.replace("bias_table", "index"): torch.zeros(36, 36) for k in state if k.endswith("bias_table")}
    found, own = swin.from_state("swin3d-t", state, {})
    load_strictly(found, own, "file")
    clips = torch.randn(1, 3, 8, 40, 40)
    assert torch.allclose(found.eval().requires_grad_(False)(clips), network(clips), atol=1e-5)


@pytest.mark.parametrize("window", [(8, 7, 7), (16, 7, 7), (2, 7, 7), (8, 12, 12), (4, 3, 3)])
def test_swin_windows_are_told_from_the_number_of_distances(window: tuple[int, int, int]) -> None:
    assert swin._window(swin._distances(window)) == window


def attended_plainly(layer: WindowAttention, x: Tensor) -> Tensor:
    """Shifted windows by their definition: pairs of places that may see each other, one big masked attention."""
    size, (batch, width) = x.shape[1:4], (x.shape[0], x.shape[4])
    heads = layer.heads
    grids = []
    for length, side in zip(size, layer.window, strict=True):
        shift = side // 2 if layer.shifted and length > side else 0
        side, padded = min(side, length), math.ceil(length / min(side, length)) * min(side, length)
        # Where a place lands after padding and rolling, and which side of the seam it comes from.
        landed = (torch.arange(padded) - shift) % padded
        grids.append((landed // side, landed % side, landed >= padded - shift, padded))
    t, h, w = (grid[3] - length for length, grid in zip(size, grids, strict=True))
    extended = torch.nn.functional.pad(x, (0, 0, 0, w, 0, h, 0, t))
    qkv = layer.qkv(extended.flatten(1, 3)).view(batch, -1, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    window, inside, seam = (torch.cartesian_prod(*(grid[part] for grid in grids)) for part in range(3))
    whole = [min(side, length) for side, length in zip(layer.window, size, strict=True)]
    row = (inside[:, 0] * whole[1] + inside[:, 1]) * whole[2] + inside[:, 2]
    bias = layer._bias((whole[0], whole[1], whole[2]))[0][:, row[:, None], row[None]]
    split = (seam[:, None] != seam[None]).any(-1) * APART
    far = torch.where((window[:, None] != window[None]).any(-1), -math.inf, 0.0)
    weights = (qkv[0] @ qkv[1].transpose(-1, -2) * (width // heads) ** -0.5 + bias + split + far).softmax(-1)
    mixed = layer.proj((weights @ qkv[2]).transpose(1, 2).flatten(2)).view(extended.shape)
    return mixed[:, : size[0], : size[1], : size[2]]


@pytest.mark.parametrize("size", [(4, 6, 6), (8, 6, 9), (6, 7, 5), (3, 6, 6), (8, 3, 3), (2, 2, 4)])
@pytest.mark.parametrize("shifted", [False, True])
def test_swin_windows_are_those_of_the_definition(size: tuple[int, int, int], shifted: bool) -> None:
    torch.manual_seed(1)
    layer = WindowAttention(8, 2, (4, 3, 3), shifted=shifted).requires_grad_(False)
    torch.nn.init.normal_(layer.table)
    x = torch.randn(2, *size, 8)
    assert torch.allclose(layer(x), attended_plainly(layer, x), atol=1e-5)


def test_vivit_refuses_clips_of_another_size_and_loads_both_names_of_a_layer() -> None:
    size = vivit.Size(width=64, cube=(2, 16, 16), hidden=96, blocks=2, places=1 + 4 * 4, biased=True)
    network = vivit.ViViT(size, 3, 7).eval().requires_grad_(False)
    ours = network.state_dict()
    published, renewed = {}, {}
    for key, value in ours.items():
        stem = key.replace("patches.", "vivit.embeddings.patch_embeddings.projection.")
        stem = {"cls_token": "vivit.embeddings.cls_token", "places": "vivit.embeddings.position_embeddings"}.get(
            key, stem
        )
        stem = re.sub(r"^norm\.", "vivit.layernorm.", stem).replace("head.projection", "classifier")
        stem = stem.replace("norm1", "layernorm_before").replace("norm2", "layernorm_after")
        older = re.sub(r"^blocks\.", "vivit.encoder.layer.", stem)
        older = older.replace("mlp.fc1", "intermediate.dense").replace("mlp.fc2", "output.dense")
        newer = re.sub(r"^blocks\.", "vivit.layers.", stem)
        if ".attn.qkv." in key:
            for part, old, new in zip(value.chunk(3), ("query", "key", "value"), "qkv", strict=True):
                published[older.replace("attn.qkv", f"attention.attention.{old}")] = part
                renewed[newer.replace("attn.qkv", f"attention.{new}_proj")] = part
        else:
            published[older.replace("attn.proj", "attention.output.dense")] = value
            renewed[newer.replace("attn.proj", "attention.o_proj")] = value
    clips = torch.randn(1, 3, 8, 32, 32)
    for state in (published, renewed):
        found, own = vivit.from_state("vivit-b16x2", state, {})
        load_strictly(found, own, "file")
        assert torch.allclose(found.eval().requires_grad_(False)(clips), network(clips), atol=1e-5)
    with pytest.raises(ModelError, match="16 positions"):
        network(torch.randn(1, 3, 16, 32, 32))


def test_vjepa2_turns_pairs_by_time_row_and_column() -> None:
    turned = vjepa2.angles((2, 3, 4), 64)
    assert turned.shape == (24, 64)
    # Place 23 is the last of every axis; each part holds its ten speeds twice, the slowest almost still.
    speeds = 10000.0 ** (-torch.arange(10) / 10)
    for part, place in enumerate((1, 2, 3)):
        assert torch.allclose(turned[23, 20 * part : 20 * part + 20], place * speeds.repeat(2))
    assert (turned[:, 60:] == 0).all() and (turned[0] == 0).all()


def test_vjepa2_takes_any_size_the_cubes_divide() -> None:
    size = vjepa2.Size(width=64, cube=(2, 16, 16), hidden=96, blocks=2, probe_hidden=128, probe_blocks=1)
    torch.manual_seed(0)
    network = vjepa2.VJEPA2(size, 3, 7).eval().requires_grad_(False)
    torch.nn.init.normal_(network.probe.question)
    for shape in ((4, 32, 32), (8, 32, 48)):
        clips = torch.randn(2, 3, *shape)
        assert network(clips).shape == (2, 7)
        kept = network.features(clips, pool=False)
        assert kept.shape == (2, 64, shape[0] // 2, shape[1] // 16, shape[2] // 16)
        # The order of frames counts.
        assert not torch.allclose(network(clips), network(clips.flip(2)), atol=1e-3)


@pytest.mark.parametrize("kind", [timesformer.JOINT, timesformer.FRAME])
def test_timesformer_without_divided_attention_in_both_formats(kind: str) -> None:
    size = timesformer.Size(width=64, side=16, hidden=96, blocks=2, places=4, frames=4)
    torch.manual_seed(0)
    network = timesformer.TimeSformer(kind, size, 3, 7).eval().requires_grad_(False)
    authors, mmaction = {}, {}
    for key, value in network.state_dict().items():
        value = value.flatten(1, 2) if key == "patches.weight" else value
        authors["model." + key.replace("patches.", "patch_embed.proj.").replace("head.projection", "head")] = value
        key = re.sub(r"^blocks\.", "transformer_layers.layers.", key).replace("patches.", "patch_embed.projection.")
        key = key.replace("norm1", "norms.0").replace("norm2", "norms.1").replace("attn.qkv.", "attn.in_proj_")
        key = key.replace("attn.", "attentions.0.attn.").replace("attn.proj.", "attn.out_proj.")
        key = key.replace("mlp.fc1", "ffns.0.layers.0.0").replace("mlp.fc2", "ffns.0.layers.1")
        mmaction[f"cls_head.fc_cls.{key[16:]}" if key.startswith("head.") else f"backbone.{key}"] = value
    clips = torch.randn(1, 3, 4, 32, 32)
    for state in (authors, mmaction):
        found, own = timesformer.from_state("timesformer-b16" + kind, state, {})
        load_strictly(found, own, "file")
        assert torch.allclose(found.eval().requires_grad_(False)(clips), network(clips), atol=1e-5)
