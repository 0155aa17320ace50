"""Where a training starts: fresh networks, checkpoints of our own, and published ones, written back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from models.golden import Record
from training.made import SPEC

from vidact.errors import ModelError, UsageError
from vidact.models.build import load_model
from vidact.models.recognition.attention_r3d import build
from vidact.models.weights import bundled, write_checkpoint
from vidact.training.recognizer import fresh, from_checkpoint


def own_checkpoint(folder: Path) -> Path:
    torch.manual_seed(1)
    write_checkpoint(folder / "own.safetensors", build("attention-r3d-10", 3, SPEC.network).state_dict(), SPEC)
    return folder / "own.safetensors"


def test_a_fresh_network_follows_from_its_seed() -> None:
    starts = [fresh("r3d-plain-10", "My run!", "ab", frames=8, fps=6.0, size=32, width=4, seed=s) for s in (1, 1, 2)]
    first, same, other = (start.network.state_dict()["stages.1.0.convolutions.0.weight"] for start in starts)
    assert torch.equal(first, same) and not torch.equal(first, other)
    spec = starts[0].spec
    assert (spec.name, spec.classes, spec.sampling.frames, spec.sampling.seconds) == (
        "r3d-plain-10.my-run",
        2,
        8,
        8 / 6,
    )
    assert not any(".attention." in key for key in starts[0].network.state_dict())


def test_the_same_labels_keep_the_last_layer(tmp_path: Path) -> None:
    path = own_checkpoint(tmp_path)
    start = from_checkpoint(str(path), None, "x", SPEC.labels)
    clips = torch.randn(2, 3, 4, 16, 16)
    expected = load_model(checkpoint=path)(clips)
    assert torch.equal(start.network.eval()(clips), expected)
    assert len(start.notes) == 1
    assert all(parameter.requires_grad for parameter in start.network.parameters())


@pytest.mark.parametrize("labels", [("red", "blue"), ("red", "green", "blue")])
def test_other_labels_get_a_new_one_and_it_is_said(tmp_path: Path, labels: tuple[str, ...]) -> None:
    start = from_checkpoint(str(own_checkpoint(tmp_path)), "attention-r3d-10", "x", labels)
    assert start.network(torch.randn(2, 3, 4, 16, 16)).shape == (2, len(labels))
    assert "last layer is new" in start.notes[1]
    old = load_model(checkpoint=own_checkpoint(tmp_path)).network.state_dict()
    new = start.network.state_dict()
    assert all(torch.equal(new[key], value) for key, value in old.items() if not key.startswith("head."))


def test_a_published_format_is_written_as_it_came(tmp_path: Path) -> None:
    record = Record("psf_x3d_xs")
    path = record.write_checkpoint(tmp_path)
    start = from_checkpoint(str(path), record.model, "x", ("one", "two", "three"))
    start.network.eval()
    clips = torch.randn(1, 3, 4, 64, 64)
    write_checkpoint(tmp_path / "tuned.safetensors", start.named(start.network.state_dict()), start.spec)
    again = load_model(checkpoint=tmp_path / "tuned.safetensors")
    assert again.spec.labels == ("one", "two", "three")
    with torch.inference_mode():
        assert torch.allclose(again.network(clips), start.network(clips), atol=1e-6)


def test_what_cannot_be_written_again_is_refused_before_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vidact.training.recognizer.FRESH", ())  # as if our own family were a publisher's
    monkeypatch.setattr(
        "vidact.models.recognition.attention_r3d.from_state",
        lambda architecture, state, options: (
            build(architecture, 3, options),
            {key: value.clone() for key, value in state.items()},
        ),
    )
    with pytest.raises(ModelError, match="can be read but not written"):
        from_checkpoint(str(own_checkpoint(tmp_path)), None, "x", SPEC.labels)


def test_unknown_architectures() -> None:
    with pytest.raises(UsageError, match="there is no architecture"):
        fresh("resnet", "x", "ab", frames=8, fps=6.0, size=32, width=4)
    with pytest.raises(UsageError, match=r"not trained from nothing"):
        fresh("x3d-s", "x", "ab", frames=8, fps=6.0, size=32, width=4)


def test_a_localizer_is_no_start() -> None:
    with pytest.raises(UsageError, match="is not a recogniser"):
        from_checkpoint(bundled("actionformer.camera-motion-1.safetensors"), None, "x", SPEC.labels)
