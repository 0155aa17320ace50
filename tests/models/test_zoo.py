"""The zoo as data: every name can be built, every label list fits, a user's file is fed as its publisher does."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from vidact.errors import ModelError
from vidact.models import weights, zoo
from vidact.models.build import describe, load_model
from vidact.models.networks import NETWORKS
from vidact.models.weights import spec_from_json, spec_to_json
from vidact.video.protocols import RULES
from vidact.video.transform import STYLES

# The bundled models have no published views, and nobody says what S3D's score was reached with.
WITHOUT_PROTOCOL = ("attention-r3d-10", "shots-r3d-10", "s3d")
# Scores of the original authors' tests; what is run here is the hub's pipeline, and stacks instead of whole videos.
OTHER_PROTOCOL = ("vivit-b16x2", "i3d", "i3d-flow", "two-stream-i3d")
ENTRIES = [pytest.param(entry, id=name) for name, entry in zoo.ENTRIES.items()]
PACKAGE = Path(weights.__file__).parent


@pytest.mark.parametrize("entry", ENTRIES)
def test_every_set_of_weights_has_a_network(entry: zoo.Entry) -> None:
    spec = entry.spec
    assert spec.architecture in NETWORKS or {zoo.ENTRIES[name].spec.architecture for name in spec.streams} <= set(
        NETWORKS
    )
    assert bool(spec.streams) == (spec.architecture not in NETWORKS)
    assert (len(spec.mean) == 3) == (spec.flow is None)
    assert spec.name.startswith(spec.architecture + ".")
    assert len(spec.mean) == len(spec.std)
    assert entry.tested or not entry.bundled
    assert spec.licence
    if spec.published is not None:
        assert spec.published.protocol and spec.published.source
    protocol = spec.protocol
    if protocol is None:
        assert spec.architecture in WITHOUT_PROTOCOL
        return
    assert protocol.rule in RULES and protocol.style in STYLES
    assert spec_from_json(json.loads(json.dumps(spec_to_json(spec)))) == spec
    if spec.published is not None and spec.architecture not in OTHER_PROTOCOL:
        assert spec.published.protocol == zoo.told(protocol)


@pytest.mark.parametrize("entry", [param for param in ENTRIES if param.values[0].labels])
def test_labels_fit(entry: zoo.Entry) -> None:
    assert entry.spec.labels == ()
    assert len(entry.described().labels) == entry.spec.classes


def test_what_a_name_holds_of_a_hash_is_known() -> None:
    named = {name: entry.sha256 for name, entry in zoo.ENTRIES.items()}
    assert named["swin3d-t.k400-torchvision"] == "7615ae03"
    assert named["slowfast-r50-8x8.k400-mmaction2"] == "1cb6dfc8"
    assert named["slowfast-r50-8x8.k400"] == ""


def test_classes_in_an_unknown_order_have_no_names() -> None:
    for name in (
        "mvit-b-32x3.k600-pyslowfast",
        "timesformer-b16.k600",
        "r3d-50.k700",
        "i3d.charades",
        "videomae-b16.ucf101-original",
    ):
        entry = zoo.ENTRIES[name]
        assert (entry.labels, entry.described().labels) == ("", ())
        assert "--labels" in entry.spec.notes


def test_every_network_is_in_the_zoo_and_in_its_module() -> None:
    known = {entry.spec.architecture for entry in zoo.ENTRIES.values()}
    ours = {name for name in NETWORKS if not name.startswith(("attention-r3d", "r3d-plain"))}
    assert ours <= known
    for module in set(NETWORKS.values()):
        path = PACKAGE / "recognition" / (module.rpartition(".")[2] + ".py")
        functions = [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.FunctionDef)]
        assert "from_state" in functions, module


def test_listing_and_describing_needs_no_torch(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"state_dict": {"blocks.0.conv.weight": torch.zeros(2)}}, file)
    code = (
        "import sys; from vidact.models import build, zoo; assert len(zoo.ENTRIES) > 50;"
        f"spec = build.describe('slow-r50-8x8.k400', {str(file)!r}).spec; assert len(spec.labels) == 400;"
        f"assert build.describe('slow-r50-8x8', {str(file)!r}).spec.classes == 0;"
        "assert not {'torch', 'ray', 'decord', 'pyarrow', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_missing_weights_name_the_address() -> None:
    with pytest.raises(ModelError) as caught:
        load_model("slowfast-r50-8x8.k400")
    assert "https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/SLOWFAST_8x8_R50.pyth" in caught.value.hint
    assert "--checkpoint FILE" in caught.value.hint


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "before 2020"])
@pytest.mark.parametrize(
    ("key", "mean"),
    [
        ("backbone.slow_path.conv1.conv.weight", 0.485),
        ("s1.pathway0_stem.conv.weight", 0.45),
        ("blocks.0.multipathway_blocks.0.conv.weight", 0.45),
    ],
)
def test_the_key_format_decides_the_normalisation(tmp_path: Path, key: str, mean: float, legacy: bool) -> None:
    file = tmp_path / "x.pth"
    content = {"epoch": 3, "state_dict": {key: torch.zeros(2)}}
    torch.save(content, file, _use_new_zipfile_serialization=not legacy)
    spec = describe("slowfast-r50-8x8", str(file)).spec
    assert spec.mean[0] == mean
    assert (spec.name, spec.labels, spec.classes) == ("slowfast-r50-8x8", (), 0)


def test_a_file_of_another_format_is_refused_with_its_keys(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    torch.save({"state_dict": {"encoder.weight": torch.zeros(2)}}, file)
    with pytest.raises(ModelError, match=r"encoder\.weight"):
        load_model("slowfast-r50-8x8", checkpoint=file)


def test_something_that_is_no_checkpoint_has_no_keys(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    for content in (b"", b"<html>", b"PK\x03\x04 cut short"):
        file.write_bytes(content)
        assert weights.key_names(file) == frozenset()
