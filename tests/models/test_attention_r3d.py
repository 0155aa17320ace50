"""The attention R3D family: shapes, where the attention stands, and that tensors alone rebuild a network."""

from __future__ import annotations

import math

import pytest
import torch

from vidact.errors import ModelError
from vidact.models.recognition import attention_r3d
from vidact.models.recognition.attention_r3d import AttentionR3D, Block, build, from_state


@pytest.mark.parametrize(("depth", "dimension"), [(10, 32), (18, 32), (34, 32), (50, 128)])
@pytest.mark.parametrize("attention", [True, False])
def test_every_member_classifies_and_gives_features(depth: int, dimension: int, attention: bool) -> None:
    network = AttentionR3D(depth, 7, width=4, attention=attention).eval()
    clips = torch.randn(2, 3, 8, 32, 32)
    with torch.inference_mode():
        assert network(clips).shape == (2, 7)
        assert network.features(clips).shape == (2, dimension) == (2, network.dimension)
        maps = network.features(clips, pool=False)
    assert maps.shape[:2] == (2, dimension)
    assert torch.allclose(maps.mean(dim=(2, 3, 4)), network.features(clips), atol=1e-5)


def test_depth_counts_weighted_layers() -> None:
    for depth in (10, 18, 34, 50):
        network = AttentionR3D(depth, 2, width=4, attention=False)
        layers = [m for m in network.modules() if isinstance(m, torch.nn.Conv3d | torch.nn.Linear)]
        shortcuts = [m for b in network.modules() if isinstance(b, Block) for m in b.shortcut.modules()]
        projections = sum(isinstance(m, torch.nn.Conv3d) for m in shortcuts)
        assert len(layers) - projections == depth


def test_time_is_kept_until_the_second_stage_and_the_last_map_is_small() -> None:
    network = AttentionR3D(10, 2, width=4, stem=(5, 7, 7), stem_stride=(1, 4, 4), stem_pool=False)
    clips = torch.randn(1, 3, 16, 96, 96)
    assert network.stem(clips).shape == (1, 4, 16, 24, 24)
    assert network.features(clips, pool=False).shape == (1, 32, 4, 3, 3)


def test_the_attention_weighs_what_the_convolutions_found_and_never_the_shortcut() -> None:
    block = Block(8, 8, (1, 1, 1), bottleneck=False, attention=True, reduction=4).eval()
    x = torch.randn(2, 8, 4, 6, 6)
    channel = block.attention[0].mlp[2]
    torch.nn.init.zeros_(channel.weight)
    torch.nn.init.constant_(channel.bias, -100.0)  # a weight of 0 for every channel
    assert torch.equal(block(x), torch.relu(x))
    torch.nn.init.constant_(channel.bias, 100.0)  # a weight of 1; the spatial one is then the half of it
    torch.nn.init.zeros_(block.attention[1].conv.weight)
    assert torch.allclose(block(x), torch.relu(block.convolutions(x) * 0.5 + x), atol=1e-6)


def test_spatial_attention_looks_7x7_in_space_and_not_through_time() -> None:
    block = Block(4, 4, (1, 1, 1), bottleneck=False, attention=True, reduction=4)
    assert block.attention[1].conv.kernel_size == (1, 7, 7)
    assert block.attention[1].conv.in_channels == 2


def test_switched_off_it_is_the_plain_network() -> None:
    plain = AttentionR3D(10, 2, width=4, attention=False)
    attending = AttentionR3D(10, 2, width=4, attention=True)
    extra = {key for key in attending.state_dict() if ".attention." in key}
    assert extra
    assert attending.state_dict().keys() - extra == plain.state_dict().keys()


@pytest.mark.parametrize("architecture", ["attention-r3d-10", "r3d-plain-18"])
def test_tensors_and_options_rebuild_the_network(architecture: str) -> None:
    options = {"width": 8, "stem": [3, 5, 5], "stem_stride": [1, 4, 4], "stem_pool": False, "reduction": 4}
    network = build(architecture, 5, options).eval()
    again, state = from_state(architecture, dict(network.state_dict()), options)
    again.load_state_dict(state)
    clips = torch.randn(1, 3, 6, 40, 40)
    assert torch.equal(again.eval()(clips), network(clips))
    assert again.classes == 5


def test_width_and_classes_come_from_the_tensors() -> None:
    state = dict(build("attention-r3d-10", 5, {"width": 8}).state_dict())
    network, _ = from_state("attention-r3d-10", state, {"width": 64})
    assert (network.classes, network.dimension) == (5, 64)


def test_strange_requests_are_refused() -> None:
    with pytest.raises(ModelError, match="depth 12"):
        AttentionR3D(12, 2)
    with pytest.raises(ModelError, match="stem must be three"):
        AttentionR3D(10, 2, stem=(3, 7))
    with pytest.raises(ModelError, match="head"):
        from_state("attention-r3d-10", {"conv1.weight": torch.zeros(1)}, {})


def test_a_fresh_stem_tells_directions_apart() -> None:
    torch.manual_seed(0)
    network = AttentionR3D(10, 2, width=16, stem=(5, 7, 7), stem_stride=(1, 4, 4), stem_pool=False).eval()
    answers = []
    for direction in (1, -1):
        x, t = torch.arange(64.0), torch.arange(16.0)
        wave = torch.sin(2 * math.pi / 6 * (x[None] - direction * 0.5 * t[:, None]))
        clip = wave[None, None, :, None, :].expand(1, 3, 16, 64, 64)
        answers.append(network.stem(clip).mean(dim=(2, 3, 4)))
    assert (answers[0] - answers[1]).abs().max() > 0.5 * answers[0].max()
    assert attention_r3d.STRIDES[0] == (1, 1, 1)
