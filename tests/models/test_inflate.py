"""A boring video is a fixed point: inflated filters see one repeated picture as the filters of images do."""

from __future__ import annotations

import pytest
import torch

from vidact.errors import ModelError
from vidact.models.recognition.i3d import I3D
from vidact.models.recognition.inflate import inflate, inflate_state


def test_the_sum_over_time_is_the_filter() -> None:
    weight = torch.randn(4, 3, 7, 7)
    assert torch.allclose(inflate(weight, 5).sum(2), weight, atol=1e-6)


def test_a_filter_needs_four_axes() -> None:
    with pytest.raises(ModelError, match="filter"):
        inflate(torch.zeros(3, 3), 2)


def test_a_tensor_of_another_size_is_refused() -> None:
    with pytest.raises(ModelError, match="does not inflate"):
        inflate_state({"head.projection.bias": torch.zeros(3)}, I3D(3, 2))


@torch.inference_mode()
def test_boring_video() -> None:
    torch.manual_seed(0)
    network = I3D(3, 2).eval()
    images = {
        key: value.sum(2) * 5 if value.ndim == 5 else torch.rand_like(value) + 0.5 if "running_var" in key else value
        for key, value in network.state_dict().items()
    }
    picture = torch.randn(1, 3, 1, 32, 32)

    network.load_state_dict({**images, **_centred(images, network)})
    expected = network.maps(picture)[0]

    network.load_state_dict(inflate_state(images, network))
    found = network.maps(picture.expand(-1, -1, 160, -1, -1))[0]

    middle = found[:, :, found.shape[2] // 2]
    assert expected.std() > 0.01
    assert torch.allclose(middle, expected[:, :, 0], rtol=1e-4, atol=1e-4 * float(expected.std()))
    assert not torch.allclose(found[:, :, 0], expected[:, :, 0], rtol=1e-2), "at the border the padding shows"


def _centred(images: dict[str, torch.Tensor], network: I3D) -> dict[str, torch.Tensor]:
    """The filters of images at the middle of otherwise empty filters: on a single frame, exactly the image network."""
    own = network.state_dict()
    centred = {}
    for key, value in images.items():
        if value.ndim == 4:
            centred[key] = torch.zeros_like(own[key])
            centred[key][:, :, own[key].shape[2] // 2] = value
    return centred
