"""``convert``: PySlowFast's Caffe2 files, wrapped checkpoints, pickles that run code; and what it refuses."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from models.golden import FOLDER, Record

from vidact import load_model
from vidact.errors import ModelError
from vidact.models import caffe2, pickles, weights
from vidact.models.convert import convert

BLOBS = sorted(path.stem for path in FOLDER.glob("psf_*.json") if Record(path.stem).facts.get("caffe2_names"))


class Harmful:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.write_text, (self.path, "owned")


def as_caffe2(record: Record, state: dict[str, torch.Tensor]) -> dict[str, Any]:
    """What the publisher's file holds: arrays by blob name, with fewer axes, beside what training needs."""
    blobs: dict[str, Any] = {}
    for blob, key in record.facts["caffe2_names"]:
        value = state[key].numpy()
        while value.ndim > 2 and blob != "pred_w" and value.shape[-1] == 1:
            value = value[..., 0]
        blobs[blob], blobs[blob + "_momentum"] = value, np.zeros(1, np.float32)
    return {"blobs": {**blobs, "lr": np.float32(0.1), "model_iter": np.int64(7)}, "cfg": "a text"}


def small(record: Record) -> dict[str, torch.Tensor]:
    """Tensors as the record's with an eighth of the channels and three classes: networks read both from the file."""
    random = torch.Generator().manual_seed(1)
    state = {}
    for key, shape, _ in record.facts["state"]:
        if not shape:
            continue
        outputs = 3 if key.startswith("head.projection.") else shape[0] // 8
        inputs = [size // 8 if size > 3 else size for size in shape[1:2]]
        drawn = torch.randn(outputs, *inputs, *shape[2:], generator=random)
        positive = key.endswith("running_var") or (len(shape) == 1 and key.endswith("weight"))
        state[key] = drawn.abs() + 0.5 if positive else drawn / drawn[0].numel() ** 0.5
    return state


def test_there_are_records_with_blobs() -> None:
    assert len(BLOBS) >= 6


@pytest.mark.parametrize("name", BLOBS)
def test_caffe2(name: str, tmp_path: Path) -> None:
    """A made Caffe2 file gives, bit for bit, the tensors and the scores of the .pyth file."""
    record = Record(name)
    state = small(record)
    blobs = tmp_path / "x.pkl"
    blobs.write_bytes(pickle.dumps(as_caffe2(record, state), protocol=2))
    torch.save({"model_state": state}, tmp_path / "x.pyth")
    target, held = convert(str(blobs), name=record.model)
    assert (target, held) == (tmp_path / "x.safetensors", record.model)
    expected = load_model(record.model, checkpoint=tmp_path / "x.pyth")
    found = load_model(checkpoint=target)
    assert found.spec.classes == 3
    ours, theirs = found.network.state_dict(), expected.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    clip = torch.randn(1, 3, record.facts["input"]["shape"][2], 32, 32, generator=torch.Generator().manual_seed(1))
    logits = expected(clip)
    assert logits.isfinite().all()
    assert logits.std() > 0
    assert torch.equal(found(clip), logits)


def test_caffe2_files_are_told_from_torchs(tmp_path: Path) -> None:
    plain, new, old = (tmp_path / f"{name}.pkl" for name in ("plain", "new", "old"))
    plain.write_bytes(pickle.dumps({"blobs": {}}))
    torch.save({"state_dict": {}}, new)
    torch.save({"state_dict": {}}, old, _use_new_zipfile_serialization=False)
    assert [pickles.is_caffe2(path) for path in (plain, new, old)] == [True, False, False]
    assert not pickles.is_caffe2(tmp_path / "none.pkl")


@pytest.mark.parametrize("what", ["harmful", "object array", "cut short", "no blobs"])
def test_a_caffe2_file_that_is_none(tmp_path: Path, what: str) -> None:
    file, owned = tmp_path / "x.pkl", tmp_path / "owned"
    content = {
        "harmful": pickle.dumps({"blobs": {"pred_w": Harmful(owned)}}),
        "object array": pickle.dumps({"blobs": {"pred_w": np.array([Harmful(owned)], object)}}),
        "cut short": pickle.dumps({"blobs": {"pred_w": np.zeros(100)}})[:-50],
        "no blobs": pickle.dumps({"weights": np.zeros(3)}),
    }
    file.write_bytes(content[what])
    with pytest.raises(ModelError) as caught:
        caffe2.read_blobs(file)
    assert not owned.exists()
    if what == "harmful":
        assert "pathlib" in caught.value.message


def checkpoint(path: Path, extra: dict[str, Any]) -> dict[str, torch.Tensor]:
    """A published checkpoint of the smallest record of the I3D family, wrapped, with something beside it."""
    state = {f"module.{key}": value for key, value in small(Record("psf_c2d_8x8_r50")).items()}
    torch.save({"model_state": state, "optimizer_state": {"state": {0: torch.zeros(9)}}, **extra}, path)
    return state


def test_a_checkpoint_loses_its_wrappers_and_keeps_its_names(tmp_path: Path) -> None:
    file = tmp_path / "x.pyth"
    state = checkpoint(file, {})
    target, _ = convert(str(file), str(tmp_path / "sub" / "y.safetensors"), name="c2d-r50")
    written = weights.read_tensors(target)
    assert written.keys() == {key.removeprefix("module.") for key in state}
    spec = weights.read_spec(target)
    assert spec is not None
    assert (spec.architecture, spec.classes, spec.labels) == ("c2d-r50", 3, ())
    assert spec.mean == (0.45,) * 3
    assert [path.name for path in (tmp_path / "sub").iterdir()] == ["y.safetensors"]


def test_a_pickle_that_runs_code_is_refused_by_name_and_read_only_with_trust(tmp_path: Path) -> None:
    file, owned = tmp_path / "x.pyth", tmp_path / "owned"
    checkpoint(file, {"hooks": Harmful(owned)})
    with pytest.raises(ModelError, match=r"pathlib\.") as caught:
        convert(str(file), name="c2d-r50")
    assert "--trust" in caught.value.hint
    assert not owned.exists()
    assert not (tmp_path / "x.safetensors").exists()
    target, _ = convert(str(file), name="c2d-r50", trust=True)
    assert owned.exists()
    assert load_model(checkpoint=target).spec.classes == 3


def test_trust_does_not_need_the_classes_of_who_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    from types import ModuleType

    foreign = ModuleType("foreign")
    exec("class Config(dict):\n    pass", foreign.__dict__)
    monkeypatch.setitem(sys.modules, "foreign", foreign)
    file = tmp_path / "x.pyth"
    checkpoint(file, {"cfg": foreign.Config(a=1)})
    target, _ = convert(str(file), name="c2d-r50", trust=True)
    assert load_model(checkpoint=target).spec.classes == 3


def test_what_the_file_is_called_says_what_it_is(tmp_path: Path) -> None:
    for called, told in (("I3D_8x8_R50.pyth", None), ("SLOW_8x8_R50.pyth", "ssv2"), ("x.pyth", "name them")):
        (tmp_path / called).write_bytes(b"no checkpoint")
        with pytest.raises(ModelError) as caught:
            convert(str(tmp_path / called))
        text = f"{caught.value.message} {caught.value.hint}"
        assert (told in text) if told else "is not a checkpoint" in text or "asks for more" in text


def test_nothing_is_written_over_or_under_another_name(tmp_path: Path) -> None:
    file = tmp_path / "x.pyth"
    checkpoint(file, {})
    with pytest.raises(ModelError, match=r"does not end in \.safetensors"):
        convert(str(file), str(tmp_path / "y.pth"), name="c2d-r50")
    target, _ = convert(str(file), name="c2d-r50")
    with pytest.raises(ModelError, match="a safetensors file already"):
        convert(str(target))
    with pytest.raises(ModelError, match="there is no file"):
        convert(str(tmp_path / "z.pth"), name="c2d-r50")
