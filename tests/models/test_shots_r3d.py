"""Shots R3D: what its branch sees, how cuts are told by their place, and that tensors alone rebuild a network."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from vidact import load_model
from vidact.errors import ModelError
from vidact.models import weights, zoo
from vidact.models.recognition import attention_r3d
from vidact.models.recognition.shots_r3d import SCALE, FrameBranch, ShotsR3D, arranged, differences, from_state

TRUNK = {"width": 4, "stem": [5, 7, 7], "stem_stride": [1, 4, 4], "stem_pool": False, "reduction": 8}


@pytest.fixture(scope="module")
def network() -> ShotsR3D:
    torch.manual_seed(0)
    trunk = attention_r3d.build("attention-r3d-10", 3, TRUNK)
    return ShotsR3D(trunk, FrameBranch((4, 8), 6), frames=16).eval()


def test_features_are_the_trunks_of_every_second_frame_and_the_branchs_of_all(network: ShotsR3D) -> None:
    clips = torch.randn(2, 3, 16, 96, 96)
    with torch.inference_mode():
        found = network.features(clips)
        assert found.shape == (2, network.dimension) == (2, 32 + 2 * 16 + 6)
        assert torch.equal(found[:, :32], network.trunk.features(clips[:, :, ::2]))
        assert torch.equal(network(clips), network.trunk(clips[:, :, ::2]))
        assert network.features(clips, pool=False).shape == (2, network.dimension, 1, 1, 1)
        odd = clips.clone()
        odd[:, :, 7] += 1  # the trunk does not look at it
        changed = network.features(odd)
    assert torch.equal(changed[:, :32], found[:, :32])
    assert not torch.equal(changed[:, 32:], found[:, 32:])


def test_differences_tell_a_cut_from_a_flash() -> None:
    torch.manual_seed(1)
    one, other = torch.randn(3, 1, 24, 24), torch.randn(3, 1, 24, 24)
    cut = torch.cat([one.expand(3, 8, 24, 24), other.expand(3, 8, 24, 24)], dim=1)[None]
    flash = one.repeat(1, 16, 1, 1)[None].clone()
    flash[:, :, 8] += 3
    near, far = differences(cut)[0, 0], differences(cut)[0, 6]
    assert near.nonzero().flatten().tolist() == [8]
    assert far.nonzero().flatten().tolist() == list(range(5, 12))
    assert differences(flash)[0, 0, 8] > 1
    assert differences(flash)[0, 6, 8] == 0


def test_the_place_of_a_cut_is_told_from_the_centre_and_by_the_side() -> None:
    logits = torch.full((3, 2, 32), -20.0)
    for row, frame in enumerate((16 + 3, 16 - 2, 4)):
        logits[row, 0, frame] = 20.0
    left, middle, right = arranged(logits)[:, 64:].reshape(3, 3, 2).unbind(1)
    assert torch.allclose(middle, torch.tensor([[1.0, 0.75], [1.0, -0.5], [0.0, 0.0]]), atol=1e-4)
    assert torch.allclose(left[2], torch.tensor([1.0, -3.0]), atol=1e-4)
    assert right.abs().max() < 1e-4
    assert torch.equal(arranged(logits)[:, :64], SCALE * logits.flatten(1))


def test_tensors_rebuild_the_network(network: ShotsR3D) -> None:
    state = network.state_dict()
    again, mapped = from_state("shots-r3d-10", state, {"trunk": TRUNK, "frames": 16})
    again.load_state_dict(mapped)
    clips = torch.randn(1, 3, 16, 96, 96)
    with torch.inference_mode():
        assert torch.equal(again.eval().features(clips), network.features(clips))
    del state["branch.over_time.0.weight"]
    with pytest.raises(ModelError, match=r"branch\.over_time\.0\.weight is missing"):
        from_state("shots-r3d-10", state, {"trunk": TRUNK})


def test_the_bundled_file_is_the_one_described_and_its_trunk_is_the_bundled_recogniser() -> None:
    entry = zoo.ENTRIES["shots-r3d-10.camera-motion-1"]
    file = weights.bundled(str(entry.bundled))
    assert (file.stat().st_size, weights.file_hash(file)) == (entry.size, entry.sha256)
    inside = weights.read_spec(file)
    assert inside is not None
    assert dataclasses.replace(inside, notes="") == dataclasses.replace(entry.spec, notes="")
    own, trunk = load_model(zoo.DEFAULT).network.state_dict(), load_model(entry.spec.name).network.trunk.state_dict()
    assert trunk.keys() == own.keys()
    assert all(torch.equal(trunk[key], own[key]) for key in own)
