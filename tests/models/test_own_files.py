"""A user's own checkpoint: classes, depth and width come from the file, labels only from whoever gives them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vidact.errors import ModelError
from vidact.models.build import load_model
from vidact.models.recognition.resnet2d import TSN, ResNet2D

NAMES = ("run", "jump", "swim", "sleep", "eat")
BACK = (
    (r"^stem\.", "backbone.conv1."),
    (r"^stages\.0\.", "backbone.layer1."),
    (r"^stages\.1\.", "backbone.layer2."),
    (r"^stages\.2\.", "backbone.layer3."),
    (r"^stages\.3\.", "backbone.layer4."),
    (r"\.a\.", ".conv1."),
    (r"\.b\.", ".conv2."),
    (r"\.c\.", ".conv3."),
    (r"\.shortcut\.", ".downsample."),
    (r"\.norm\.", ".bn."),
    (r"^head\.projection\.", "cls_head.fc_cls."),
)


@pytest.fixture
def network() -> ResNet2D:
    torch.manual_seed(0)
    return ResNet2D(TSN, 3, len(NAMES), 8, (1, 2, 1, 1)).eval()


@pytest.fixture
def state(network: ResNet2D) -> dict[str, Tensor]:
    found = {}
    for key, value in network.state_dict().items():
        for pattern, replacement in BACK:
            key = re.sub(pattern, replacement, key)
        found[key] = value
    return found


def save(folder: Path, state: dict[str, Tensor]) -> Path:
    file = folder / "own.pth"
    torch.save({"meta": {"epoch": 1}, "state_dict": state}, file)
    return file


def test_size_and_classes_come_from_the_file(tmp_path: Path, network: ResNet2D, state: dict[str, Tensor]) -> None:
    model = load_model("tsn-r50", checkpoint=save(tmp_path, state))
    clips = torch.randn(2, 3, 3, 64, 64)
    assert torch.allclose(model(clips), network(clips), atol=1e-6)
    assert (model.spec.name, model.spec.classes, model.spec.labels) == ("tsn-r50", 5, ())
    assert model.features(clips).shape == (2, 256)


def test_prefixes_of_wrapped_networks(tmp_path: Path, state: dict[str, Tensor]) -> None:
    file = save(tmp_path, {f"module.{key}": value for key, value in state.items()})
    assert load_model("tsn-r50", checkpoint=file).spec.classes == 5


def test_counters_may_be_absent(tmp_path: Path, state: dict[str, Tensor]) -> None:
    file = save(tmp_path, {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")})
    assert load_model("tsn-r50", checkpoint=file).spec.classes == 5


def test_labels(tmp_path: Path, state: dict[str, Tensor]) -> None:
    file = save(tmp_path, state)
    assert load_model("tsn-r50", checkpoint=file, labels=NAMES).spec.labels == NAMES
    with pytest.raises(ModelError, match="4 labels"):
        load_model("tsn-r50", checkpoint=file, labels=NAMES[:4])
    listed = tmp_path / "labels.txt"
    listed.write_text("\n".join(NAMES[:4]), encoding="utf-8")
    with pytest.raises(ModelError, match="5 classes"):
        load_model("tsn-r50", checkpoint=file, labels=str(listed))


def test_published_labels_do_not_go_with_other_classes(tmp_path: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match="5 classes") as caught:
        load_model("tsn-r50.k400-mmaction2", checkpoint=save(tmp_path, state))
    assert "--model tsn-r50" in caught.value.hint


@pytest.mark.parametrize("change", ["missing", "unexpected", "misshapen"])
def test_what_does_not_fit_is_named(tmp_path: Path, state: dict[str, Tensor], change: str) -> None:
    if change == "missing":
        del state["backbone.layer3.0.conv2.bn.bias"]
    elif change == "unexpected":
        state["backbone.layer3.0.conv9.conv.weight"] = torch.zeros(1)
    else:
        state["backbone.layer3.0.conv2.bn.bias"] = torch.zeros(3)
    with pytest.raises(ModelError, match=f"1 {change}.*stages.2.0"):
        load_model("tsn-r50", checkpoint=save(tmp_path, state))


def test_a_shifting_network_wants_its_own_files(tmp_path: Path, state: dict[str, Tensor]) -> None:
    with pytest.raises(ModelError, match="no format tsm-r50"):
        load_model("tsm-r50", checkpoint=save(tmp_path, state))
