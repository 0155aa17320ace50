"""Packed layers give what plain ones give, whatever is beside them; where torch cannot pack, nothing is."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from vidact.models import layout
from vidact.models.layout import PackedLinear, PackedPatches, lay_out

needs_packing = pytest.mark.skipif(not layout._can_pack(), reason="this torch or CPU packs no layers")


class Small(nn.Module):
    """Patches, then two layers; and convolutions that are no patches."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = nn.Conv3d(3, 40, (2, 8, 8), stride=(2, 8, 8))
        self.layers = nn.Sequential(nn.Linear(40, 96, bias=False), nn.GELU(), nn.Linear(96, 7))
        self.others = nn.ModuleList(
            (
                nn.Conv3d(3, 4, 1),
                nn.Conv3d(3, 4, (2, 4, 4), stride=(2, 4, 4)),
                nn.Conv3d(3, 4, (1, 8, 8), stride=(1, 4, 4)),
                nn.Conv3d(3, 4, (1, 8, 8), stride=(1, 8, 8), padding=(0, 1, 1)),
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layers(self.patches(x).flatten(2).transpose(1, 2))
        return found


def small() -> Small:
    torch.manual_seed(0)
    return Small().bfloat16().eval().requires_grad_(False)


@needs_packing
@pytest.mark.parametrize("size", [(4, 16, 24), (5, 19, 31)])
def test_packed_layers_give_what_plain_ones_do(size: tuple[int, int, int]) -> None:
    plain, packed = small(), small()
    lay_out(packed)
    kinds = {name: type(module) for name, module in packed.named_modules()}
    assert kinds["patches"] is PackedPatches and kinds["layers.0"] is kinds["layers.2"] is PackedLinear
    assert all(type(layer) is nn.Conv3d for layer in packed.others)
    clips = torch.randn(3, 3, *size).bfloat16()
    exact = copy.deepcopy(plain).double()(clips.double())
    close = {"rtol": 0.02, "atol": 0.004}
    torch.testing.assert_close(plain(clips).double(), exact, **close)
    torch.testing.assert_close(packed(clips).double(), exact, **close)
    assert packed(clips).shape == plain(clips).shape


@needs_packing
def test_a_clip_is_scored_alike_wherever_it_lies() -> None:
    network = small()
    lay_out(network)
    clips = torch.randn(5, 3, 4, 16, 24).bfloat16()
    together = network(clips)
    assert torch.equal(network(clips.flip(0)).flip(0), together)
    assert torch.equal(torch.cat([network(clip[None]) for clip in clips]), together)


@pytest.mark.parametrize("reason", ["torch has no such layers", "float16"])
def test_what_cannot_be_packed_stays(reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = small()
    if reason == "float16":
        network.half()
    else:
        monkeypatch.setattr(layout, "_can_pack", lambda: False)
    before = {name: type(module) for name, module in network.named_modules()}
    lay_out(network)
    assert {name: type(module) for name, module in network.named_modules()} == before
    assert network.patches.weight.is_contiguous(memory_format=torch.channels_last_3d)
