"""Reading and writing files of weights: nothing runs code, everything damaged says so."""

from __future__ import annotations

import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from vidact.errors import ModelError
from vidact.models import weights, zoo
from vidact.models.labels import read_labels

SPEC = zoo.ENTRIES[zoo.DEFAULT].spec


@pytest.mark.parametrize("name", list(zoo.ENTRIES))
def test_every_spec_survives_json(name: str) -> None:
    spec = zoo.ENTRIES[name].spec
    assert weights.spec_from_json(weights.spec_to_json(spec)) == spec


def test_a_checkpoint_of_our_own_carries_its_spec(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    weights.write_checkpoint(file, {"x": torch.arange(3.0)}, SPEC)
    assert weights.read_spec(file) == SPEC
    assert weights.read_tensors(file)["x"].tolist() == [0.0, 1.0, 2.0]
    assert os.listdir(tmp_path) == ["a.safetensors"]


def test_the_same_weights_make_the_same_file(tmp_path: Path) -> None:
    hashes = set()
    for number in range(8):  # two entries beside each other would change places
        file = tmp_path / f"{number}.safetensors"
        weights.write_checkpoint(file, {"x": torch.arange(3.0), "y": torch.zeros(2)}, SPEC)
        hashes.add(weights.file_hash(file))
    assert len(hashes) == 1


def test_a_spec_from_another_version_is_refused(tmp_path: Path) -> None:
    facts = weights.spec_to_json(SPEC)
    with pytest.raises(ValueError, match="colour_space"):
        weights.spec_from_json({**facts, "colour_space": "hsv"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x01",
        struct.pack("<Q", 1 << 60),
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 1 << 17) + b"[" * (1 << 17),
    ],
    ids=["empty", "one byte", "huge header", "no json", "not a table", "nested"],
)
def test_damaged_safetensors(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        weights.read_spec(file)
    with pytest.raises(ModelError):
        weights.read_tensors(file)


def test_a_truncated_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "a.safetensors"
    weights.write_checkpoint(file, {"x": torch.zeros(100)}, SPEC)
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ModelError, match="not a whole safetensors file"):
        weights.read_tensors(file)


class Evil:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.target),)


def test_a_pickle_never_runs_code(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    torch.save({"state_dict": {"x": torch.zeros(1)}, "extra": Evil(tmp_path / "owned")}, file)
    with pytest.raises(ModelError, match="more than tensors"):
        weights.read_tensors(file)
    file.write_bytes(pickle.dumps(Evil(tmp_path / "owned")))
    with pytest.raises(ModelError):
        weights.read_tensors(file)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_the_names_a_pickle_asks_for_are_told_in_every_format(tmp_path: Path, protocol: int) -> None:
    file = tmp_path / "a.pth"
    content = {"state_dict": {"x": torch.zeros(1)}, "extra": Evil(tmp_path / "owned")}
    file.write_bytes(pickle.dumps([Evil(tmp_path / "owned"), print], protocol=protocol))
    told = "__builtin__.print, posix.mkdir" if protocol < 3 else "builtins.print, posix.mkdir"
    with pytest.raises(ModelError, match=rf"more than tensors \({told}\)"):
        weights.read_tensors(file)
    for archive in (True, False):
        torch.save(content, file, pickle_protocol=max(protocol, 1), _use_new_zipfile_serialization=archive)
        with pytest.raises(ModelError, match=r"more than tensors \(posix.mkdir\)") as caught:
            weights.read_tensors(file)
        assert "convert --trust" in caught.value.hint
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("content", [b"hello", b"not a checkpoint", b"\x93NUMPY", pickle.dumps(7, protocol=4)])
def test_what_is_no_checkpoint_is_not_said_to_run_code(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.pth"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="not a checkpoint torch can read") as caught:
        weights.read_tensors(file)
    assert "weights_only" not in caught.value.message + caught.value.hint


def test_an_archive_that_would_fill_the_memory(tmp_path: Path) -> None:
    file = tmp_path / "a.pth"
    with (
        zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive,
        archive.open("a/data.pkl", "w") as entry,
    ):
        for _ in range(300):
            entry.write(bytes(1 << 20))
    for look in (weights.check, weights.read_tensors):
        with pytest.raises(ModelError, match="unpacks to 315 MB"):
            look(file)


def test_what_training_leaves_behind_is_inert(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("mmengine.logging"), ModuleType("mmengine.logging.history_buffer")

    class HistoryBuffer:
        def __init__(self) -> None:
            self.history, self.last, self.how = np.arange(3.0), np.float64(2), {"mean": HistoryBuffer.mean}

        def mean(self) -> float:
            return float(self.history.mean())

    HistoryBuffer.__module__, HistoryBuffer.__qualname__ = module.__name__, "HistoryBuffer"
    HistoryBuffer.mean.__module__, HistoryBuffer.mean.__qualname__ = module.__name__, "HistoryBuffer.mean"
    module.HistoryBuffer = HistoryBuffer  # type: ignore[attr-defined]
    for name, content in (("mmengine", package), (package.__name__, package), (module.__name__, module)):
        monkeypatch.setitem(sys.modules, name, content)
    file = tmp_path / "a.pth"
    torch.save({"message_hub": {"loss": HistoryBuffer()}, "state_dict": {"x": torch.ones(2)}}, file)
    monkeypatch.undo()
    assert weights.read_tensors(file)["state_dict"]["x"].tolist() == [1.0, 1.0]


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_missing_file_names_itself(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(ModelError, match="gone"):
        weights.read_tensors(tmp_path / f"gone{suffix}")


def test_text_is_not_a_checkpoint(tmp_path: Path) -> None:
    file = tmp_path / "a.pt"
    file.write_text("<html>not found</html>")
    with pytest.raises(ModelError):
        weights.read_tensors(file)


def test_labels(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("0 archery\n1 arm wrestling\n\n")
    assert read_labels(file) == ("archery", "arm wrestling")
    file.write_text("archery\n7 minutes\n")
    assert read_labels(file) == ("archery", "7 minutes")
    file.write_text("1 archery\n2 arm wrestling\n")  # UCF-101's classInd.txt
    assert read_labels(file) == ("archery", "arm wrestling")
    with pytest.raises(ModelError, match="2 names, the model has 3"):
        read_labels(file, classes=3)
    file.write_text("a\nb\na\n")
    with pytest.raises(ModelError, match="'a' twice"):
        read_labels(file)


def test_labels_of_json(tmp_path: Path) -> None:
    file = tmp_path / "labels.json"
    file.write_text('{"Moving something up": "1", "Hitting something": "0"}')
    assert read_labels(file) == ("Hitting something", "Moving something up")
    file.write_text('["a", "b"]')
    assert read_labels(file, classes=2) == ("a", "b")
    for content in ('{"a": 1, "b": 2}', '{"a": "x"}', '{"a": 0', "7", '{"a": null}'):
        file.write_text(content)
        with pytest.raises(ModelError, match="cannot read the labels"):
            read_labels(file)
