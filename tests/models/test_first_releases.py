"""Weights of mmaction2's releases 0.x (UCF-101, HMDB-51, Diving-48) load under the key names those releases wrote, and
are tested as their configurations say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from models.golden import Record
from torch import Tensor

from vidact import load_model
from vidact.errors import ModelError
from vidact.models.zoo import ENTRIES

BLOCKS = (3, 4, 6, 3)
WIDTH = 4
# name → frames, clips, crops, side of the crop; short side 256 in all of them
TESTS = {
    "tsn-r50.ucf101-mmaction2": (25, 1, 3, 256),
    "tsn-r50.hmdb51-mmaction2": (8, 1, 1, 256),
    "tsn-r50.hmdb51-mit-mmaction2": (8, 1, 1, 256),
    "tsn-r50.hmdb51-imagenet-mmaction2": (8, 1, 1, 256),
    "tsn-r50.diving48-mmaction2": (8, 1, 1, 224),
    "tsn-r50.diving48-16-mmaction2": (16, 1, 1, 224),
    "tsn-r50.k600-mmaction2": (25, 1, 3, 256),
    "tsn-r50.k700-mmaction2": (25, 1, 3, 256),
    "tsm-r50.ucf101-mmaction2": (8, 1, 1, 224),
    "tsm-r50.hmdb51-mmaction2": (8, 1, 1, 224),
    "tsm-r50.diving48-mmaction2": (8, 1, 1, 224),
    "tsm-r50-16.ucf101-mmaction2": (16, 1, 1, 224),
    "tsm-r50-16.hmdb51-mmaction2": (16, 1, 1, 224),
    "tsm-r50-16.diving48-mmaction2": (16, 1, 1, 224),
    "slow-r50-8x4.ucf101-mmaction2": (8, 10, 3, 256),
    "slow-r50-8x4.ucf101-imagenet-mmaction2": (8, 10, 3, 256),
    "slow-r50-8x4.hmdb51-mmaction2": (8, 10, 3, 256),
    "slow-r50-8x4.hmdb51-imagenet-mmaction2": (8, 10, 3, 256),
    "slow-r50-8x8.k600-mmaction2": (8, 10, 3, 256),
}


def convolutions(width: int, *, shift: bool, depth: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """ResNet-50 as releases 0.x name it: a ``ConvModule`` (name, shape of its kernel) at a time.

    ``shift``: TSM, which wraps every block's first convolution; ``depth`` > 2: Slow, whose last two stages look along
    time there.
    """
    yield "conv1", (width, 3, *(1,) * (depth - 2), 7, 7)
    inputs = width
    for stage, blocks in enumerate(BLOCKS):
        narrow, along = width << stage, 3 if stage > 1 else 1
        for block in range(blocks):
            name = f"layer{stage + 1}.{block}"
            time = (along,) if depth > 2 else ()
            flat = (1,) * (depth - 2)
            yield f"{name}.conv1" + (" shifted" if shift else ""), (narrow, inputs, *time, 1, 1)
            yield f"{name}.conv2", (narrow, narrow, *flat, 3, 3)
            yield f"{name}.conv3", (4 * narrow, narrow, *flat, 1, 1)
            if block == 0:
                yield f"{name}.downsample", (4 * narrow, inputs, *flat, 1, 1)
            inputs = 4 * narrow


def checkpoint(classes: int, *, shift: bool = False, depth: int = 2, width: int = WIDTH) -> dict[str, Tensor]:
    """The state a release 0.x saved, small and random."""
    torch.manual_seed(0)
    state = {}
    for name, kernel in convolutions(width, shift=shift, depth=depth):
        module, _, shifted = name.partition(" ")
        state[f"backbone.{module}.conv{'.net' if shifted else ''}.weight"] = torch.randn(kernel) / kernel[1] ** 0.5
        for part in ("weight", "bias", "running_mean", "running_var"):
            state[f"backbone.{module}.bn.{part}"] = torch.rand(kernel[0])
        state[f"backbone.{module}.bn.num_batches_tracked"] = torch.tensor(7)
    state["cls_head.fc_cls.weight"] = torch.randn(classes, 32 * width)
    state["cls_head.fc_cls.bias"] = torch.randn(classes)
    return state


def saved(folder: Path, state: dict[str, Tensor]) -> Path:
    file = folder / "old.pth"
    torch.save({"meta": {"mmaction_version": "0.8.0"}, "state_dict": state, "optimizer": {}}, file)
    return file


@pytest.mark.parametrize(
    ("record", "shift", "depth"),
    [("mma_tsn_r50_rgb", False, 2), ("mma_tsm_r50", True, 2), ("mma_slowonly_r50_8x8", False, 3)],
)
def test_names_and_shapes_are_those_of_the_later_releases(record: str, shift: bool, depth: int) -> None:
    ours = {key: list(value.shape) for key, value in checkpoint(400, shift=shift, depth=depth, width=64).items()}
    recorded = {key: shape for key, shape, _ in Record(record).facts["state"]}
    ends = ("num_batches_tracked",)
    assert {k: v for k, v in ours.items() if not k.endswith(ends)} == {
        k: v for k, v in recorded.items() if not k.endswith(ends)
    }


@pytest.mark.parametrize("name", TESTS)
def test_a_file_loads_strictly_and_has_names(name: str, tmp_path: Path) -> None:
    spec = ENTRIES[name].spec
    state = checkpoint(spec.classes, shift=name.startswith("tsm"), depth=3 if name.startswith("slow") else 2)
    model = load_model(name, checkpoint=saved(tmp_path, state))
    assert len(model.spec.labels) == spec.classes
    scores = model.scores(torch.randn(2, 3, 8, 32, 32))
    assert scores.shape == (2, spec.classes) and torch.allclose(scores.sum(1), torch.ones(2))
    for wrong in ({"backbone.layer4.2.conv3.conv.weight": None}, {"backbone.extra.weight": torch.zeros(1)}):
        changed = {key: value for key, value in (state | wrong).items() if value is not None}
        with pytest.raises(ModelError):
            load_model(name, checkpoint=saved(tmp_path, changed))


@pytest.mark.parametrize("name", TESTS)
def test_the_test_is_that_of_the_configuration(name: str) -> None:
    entry = ENTRIES[name]
    protocol = entry.spec.protocol
    assert protocol is not None and protocol.style == "mmaction2"
    assert (protocol.frames, protocol.clips, protocol.crops, protocol.size[0]) == TESTS[name]
    assert protocol.short_side == 256 and protocol.size[0] == protocol.size[1]
    segments = not name.startswith("slow")
    assert protocol.rule == ("mmaction2-segments" if segments else "mmaction2")
    assert protocol.stride == (1 if segments else entry.spec.sampling.stride)
    folder, _, file = entry.source.removeprefix("https://download.openmmlab.com/mmaction/recognition/").rpartition("/")
    assert folder.startswith(("tsn/", "tsm/", "slowonly/")) and file.startswith(folder.partition("/")[2])
    assert len(entry.sha256) == 8 and file.endswith(f"-{entry.sha256}.pth")


def test_tsn_averages_all_it_sees_before_the_softmax() -> None:
    """Its head has the mean over segments and crops alike; TSM's head over the segments of one crop."""
    for name, entry in ENTRIES.items():
        if name.startswith(("tsn", "tsm")):
            assert entry.spec.average == ("logits" if name.startswith("tsn") else "scores"), name


def test_the_classes_of_diving48_stand_in_the_order_of_its_vocabulary() -> None:
    labels = ENTRIES["vjepa2-l16.diving48"].described().labels
    assert labels == ENTRIES["tsn-r50.diving48-mmaction2"].described().labels
    assert (labels[0], labels[-1]) == ("Back+15som+05Twis+FREE", "Reverse+Dive+NoTwis+TUCK")
    # What the conversion of V-JEPA 2 for transformers expects these two numbers to be called.
    assert labels[22].split("+") == ["Forward", "25som", "2Twis", "PIKE"]
    assert labels[35].split("+") == ["Inward", "35som", "NoTwis", "TUCK"]
