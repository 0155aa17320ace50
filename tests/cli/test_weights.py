"""``vidact models pull|path|verify|rm|convert`` and filters of ``list``, with a mirror on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from cli.conftest import Vidact
from models.golden import Record
from models.serving import Site, serving
from models.test_convert import as_caffe2, small

from vidact import load_model
from vidact.models import cache, zoo
from vidact.models.localization.settings import Settings
from vidact.models.localization.tcn import TCN
from vidact.models.weights import write_checkpoint
from vidact.records import Contract, LocalizerSpec

NAME = "c2d-r50.k400"
FILE = f"/{NAME}/C2D_8x8_R50.pyth"
VIDEOS = Path(__file__).resolve().parents[2] / "examples" / "videos"


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setenv("VIDACT_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("VIDACT_OFFLINE", raising=False)
    state = small(Record("psf_c2d_8x8_r50"))
    head = "head.projection."
    state |= {head + "weight": torch.randn(400, 256) / 16, head + "bias": torch.zeros(400)}
    torch.save({"model_state": state}, tmp_path / "published.pyth")
    with serving(Site({FILE: (tmp_path / "published.pyth").read_bytes()})) as site:
        monkeypatch.setenv("VIDACT_MIRROR", site.address)
        yield site


def test_pull_path_verify_rm(vidact: Vidact, site: Site) -> None:
    assert vidact("models", "path", NAME).code == 3
    done = vidact("models", "pull", NAME)
    assert done.code == 0, done.err
    assert "Apache-2.0" in done.err
    assert hashlib.sha256(site.files[FILE]).hexdigest() in done.err
    file = Path(done.out.strip())
    assert file.read_bytes() == site.files[FILE]
    assert vidact("models", "path", NAME).out.strip() == str(file)
    assert f"{NAME}\t" in vidact("models", "list", "--cached").out
    assert vidact("models", "pull", NAME).out.strip() == str(file)
    assert len(site.asked) == 1
    assert vidact("models", "verify", NAME).out == f"{file}\tas downloaded\n"
    with open(file, "r+b") as changed:
        changed.seek(-1000, os.SEEK_END)
        changed.write(b"x")
    done = vidact("models", "verify")
    assert (done.code, "when it was downloaded it was" in done.out) == (3, True)
    assert vidact("models", "rm", NAME).code == 0
    assert not file.parent.exists()
    assert vidact("models", "rm", NAME).code == 3
    file.parent.mkdir()
    (file.parent / ".lock").touch()  # all that a download without a connection leaves
    done = vidact("models", "rm", NAME)
    assert (done.code, "has no file" in done.err, "Removed" in done.err) == (3, True, False)


def test_a_file_put_there_by_hand_is_used(vidact: Vidact, site: Site) -> None:
    for name, called in ((NAME, "C2D_8x8_R50.pyth"), ("s3d.k400", "anything.pt")):
        place = cache.folder(zoo.ENTRIES[name]) / called
        place.parent.mkdir(parents=True)
        torch.save({"a": torch.zeros(2)}, place)
        assert vidact("models", "path", name).out.strip() == str(place)
        done = vidact("models", "verify", name)
        assert (done.code, "nothing to compare it with" in done.out) == (0, True)
    assert site.asked == []


def test_offline_says_where_from_and_where_to(
    vidact: Vidact, site: Site, monkeypatch: pytest.MonkeyPatch, videos: Path
) -> None:
    monkeypatch.setenv("VIDACT_OFFLINE", "1")
    for command in (("models", "pull", NAME), ("classify", videos, "--model", NAME)):
        done = vidact(*command)
        assert done.code == 3
        for said in (zoo.ENTRIES[NAME].source, str(cache.folder(zoo.ENTRIES[NAME])), "--checkpoint", "bundled"):
            assert said in done.err
    assert site.asked == []


def test_by_hand_and_unknown(vidact: Vidact, site: Site) -> None:
    done = vidact("models", "pull", "s3d.k400")
    assert (done.code, "Google Drive" in done.err) == (3, True)
    assert vidact("models", "pull", "s3d.k401").code == 3
    assert site.asked == []


@pytest.mark.parametrize("body", [b"", b'{"error": "not found"}', b"\x1f\x8b\x08packed"])
def test_what_is_no_file_of_weights_does_not_get_their_name(
    vidact: Vidact, site: Site, tmp_path: Path, body: bytes
) -> None:
    site.files[FILE] = body
    done = vidact("models", "pull", NAME)
    assert done.code == 3 and "what came is no file of weights" in " ".join(done.err.split())
    assert vidact("models", "path", NAME).code == 3


def test_rm_of_a_link_takes_the_link_alone(vidact: Vidact, site: Site, tmp_path: Path) -> None:
    folder = Path(vidact("models", "pull", NAME).out.strip()).parent
    elsewhere = tmp_path / "elsewhere"
    folder.rename(elsewhere)
    folder.symlink_to(elsewhere)
    assert vidact("models", "rm", NAME).code == 0
    assert not folder.is_symlink() and elsewhere.is_dir()


def test_a_refused_pull_leaves_nothing(vidact: Vidact, site: Site, tmp_path: Path) -> None:
    del site.files[FILE]
    done = vidact("models", "pull", NAME)
    assert (done.code, "HTTP 404" in done.err) == (3, True)
    assert not cache.folder(zoo.ENTRIES[NAME]).exists()


def test_what_the_user_gives_is_looked_at_before_anything_is_fetched(
    vidact: Vidact, site: Site, videos: Path, tmp_path: Path
) -> None:
    bad, page, short, labels = (tmp_path / name for name in ("bad.pth", "page.pth", "short.safetensors", "labels.txt"))
    bad.write_bytes(b"no checkpoint")
    page.write_text("<!DOCTYPE html>")
    whole = {"__metadata__": {}, "a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 36]}}
    header = json.dumps(whole).encode()
    short.write_bytes(len(header).to_bytes(8, "little") + header + b"x")
    labels.write_bytes(b"\xff")
    two = ("classify", videos, "--model", "two-stream-i3d.k400", "--backbone-checkpoint", f"i3d.k400={bad}")
    thumos = ("localize", videos, "--model", "actionformer.thumos14-i3d")
    for arguments, said in (
        ((*thumos, "--checkpoint", bad), "is not a whole checkpoint"),
        ((*thumos, "--checkpoint", page), "is a web page"),
        ((*thumos, "--checkpoint", short), "at least 35 bytes are missing"),
        ((*thumos, "--checkpoint", tmp_path / "none.pth"), "No such file"),
        ((*thumos, "--features", tmp_path / "none"), "there is no folder"),
        (("features", videos, "--model", NAME, "--checkpoint", bad), "is not a whole checkpoint"),
        (two, "is not a whole checkpoint"),
        (("classify", videos, "--model", NAME, "--labels", labels), "cannot read the labels"),
        (("classify", tmp_path / "gone", "--model", NAME), "no such file or directory"),
    ):
        done = vidact(*arguments)
        assert done.code in (2, 3), arguments
        assert said in done.err, done.err
        assert "Downloading" not in done.err
    assert site.asked == []


def test_a_device_that_is_not_there_is_told_before_anything_is_fetched(
    vidact: Vidact, site: Site, videos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("VIDACT_DEVICE", "cuda")
    done = vidact("classify", videos, "--model", NAME)
    assert (done.code, site.asked) == (2, [])
    assert "no GPU is visible" in done.err and "VIDACT_DEVICE is 'cuda'" in done.err


def test_a_dry_run_downloads_nothing(vidact: Vidact, site: Site, videos: Path) -> None:
    done = vidact("classify", videos, "--model", NAME, "--dry-run")
    assert (done.code, f"vidact models pull {NAME}" in done.err) == (3, True)
    assert site.asked == []


def test_classify_downloads_what_it_is_asked_to_use(site: Site, tmp_path: Path) -> None:
    command = [
        "classify",
        str(VIDEOS),
        "--model",
        NAME,
        "--workers",
        "0",
        "--limit",
        "1",
        "--views",
        "1x1",
        "-o",
        "out",
    ]
    called = [sys.executable, "-m", "vidact", *command]
    done = subprocess.run(called, capture_output=True, text=True, cwd=tmp_path, env={**os.environ, "VIDACT_DEBUG": "1"})
    assert done.returncode == 0, done.stderr
    assert f"Downloading {NAME}" in done.stderr
    assert "Apache-2.0" in done.stderr
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["frozen"]["weights_hash"] == hashlib.sha256(site.files[FILE]).hexdigest()
    assert run["invocations"][-1]["settings"]["licence"] == "Apache-2.0"
    assert len(site.asked) == 1


def test_a_caffe2_file_is_used_once_it_is_converted(vidact: Vidact, site: Site, videos: Path) -> None:
    name = "slow-r50-4x16.k400-pyslowfast"
    record = Record("psf_slow_4x16_r50")
    content = as_caffe2(record, small(record))
    content["blobs"] |= {"pred_w": np.zeros((400, 256), np.float32), "pred_b": np.zeros(400, np.float32)}
    site.files[f"/{name}/SLOWONLY_4x16_R50.pkl"] = pickle.dumps(content, protocol=2)
    assert vidact("models", "pull", name).code == 0
    done = vidact("classify", videos, "--model", name, "--dry-run")
    assert (done.code, "vidact models convert" in done.err) == (3, True)
    file = vidact("models", "path", name).out.strip()
    done = vidact("models", "convert", file)
    assert done.code == 0, done.err
    assert Path(done.out.strip()).name == f"{name}.safetensors"
    assert f"vidact classify PATH --checkpoint {shlex.quote(done.out.strip())}" in done.err
    assert vidact("models", "path", name).out == done.out
    assert vidact("models", "verify", name).code == 0
    assert vidact("classify", videos, "--model", name, "--dry-run").code == 0


def test_a_trained_localizer_is_converted_and_the_next_command_is_its_own(vidact: Vidact, tmp_path: Path) -> None:
    torch.manual_seed(0)
    contract = Contract(12.0, 16, 4, 8.0, 8, "somebody's")
    settings = {"vidact": Settings(64).to_json()}
    spec = LocalizerSpec("tcn.made-up", "tcn", contract, 2, ("run", "jump"), settings=settings)
    write_checkpoint(tmp_path / "x.safetensors", TCN(8, width=6, layers=2, classes=2).state_dict(), spec)
    out = tmp_path / "a new.safetensors"
    done = vidact("models", "convert", tmp_path / "x.safetensors", "-o", out)
    assert done.code == 0, done.err
    assert f"vidact localize PATH --checkpoint '{out}'" in done.err
    assert load_model(checkpoint=out).spec == spec


def test_the_licence_is_said_before_the_download(vidact: Vidact, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", site.address)  # which has no such file
    done = vidact("models", "pull", "videomae-b16.k400")
    assert done.code == 3
    assert "CC-BY-NC-4.0, which forbids commercial use" in done.err
    assert done.err.count("HTTP 404") == len(site.asked) == 2


def test_a_composite_is_its_two_files(vidact: Vidact, site: Site) -> None:
    names = {"i3d.k400": "rgb_imagenet.pt", "i3d-flow.k400": "flow_imagenet.pt"}
    for name, file in names.items():
        site.files[f"/{name}/{file}"] = site.files[FILE]
    done = vidact("models", "pull", "two-stream-i3d.k400")
    assert [Path(line).name for line in done.out.splitlines()] == list(names.values())
    assert vidact("models", "path", "two-stream-i3d.k400").out == done.out
    cached = vidact("models", "list", "--cached", "--family", "Two-stream I3D").out
    assert cached.startswith("two-stream-i3d.k400\t")


@pytest.mark.parametrize(
    ("filters", "expected", "count"),
    [
        (("--family", "slowfast"), "slowfast-r50-8x8.k400", 11),
        (("--classes", "ucf101"), "c3d.ucf101-mmaction2", 8),
        (("--classes", "hmdb51"), "tsm-r50.hmdb51-mmaction2", 7),
        (("--classes", "diving48"), "vjepa2-l16.diving48", 6),
        (("--classes", "ssv2", "--family", "Slow"), "slow-r50-8x8.ssv2", 1),
        (("--task", "localization", "tridet"), "tridet.thumos14-i3d", 5),
        (("MIT", "--task", "recognition", "--family", "s3d"), "s3d.k400", 1),
        (("--cached",), zoo.DEFAULT, 1),
        (("no such thing",), "", 0),
    ],
)
def test_filters(
    vidact: Vidact,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    filters: tuple[str, ...],
    expected: str,
    count: int,
) -> None:
    monkeypatch.setenv("VIDACT_CACHE", str(tmp_path))
    names = [line.split("\t")[0] for line in vidact("models", "list", *filters).out.splitlines()]
    assert len(names) >= count
    assert (expected in names) == (count > 0)


def test_hub_files_come_from_the_endpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = zoo.ENTRIES["videomae-b16.k400"]
    path = "/MCG-NJU/videomae-base-finetuned-kinetics/resolve/main/model.safetensors"
    monkeypatch.delenv("HF_ENDPOINT", raising=False)
    monkeypatch.setenv("VIDACT_MIRROR", "https://one.example/zoo/ https://two.example")
    file = "/videomae-b16.k400/model.safetensors"
    mirrors = [f"https://one.example/zoo{file}", f"https://two.example{file}"]
    assert cache.addresses(entry) == [*mirrors, "https://huggingface.co" + path]
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.example/")
    assert cache.addresses(entry)[-1] == "http://hub.example" + path
    assert "http://hub.example/" in cache.wanted(entry).plain


def test_the_commands_that_only_look_import_no_torch() -> None:
    code = (
        "import sys; from vidact.cli.app import app\n"
        "for words in (['list'], ['show', 'slowfast-r50-8x8.k400'], ['path', '--help'], ['pull', '--help']):\n"
        "    app(['models', *words], standalone_mode=False)\n"
        "assert not {'torch', 'ray', 'decord', 'pyarrow', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_verify_refuses_what_is_no_file(vidact: Vidact, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    done = vidact("models", "verify", tmp_path / "pipe")
    assert done.code == 2
    assert "no file" in done.err


def test_what_is_bundled_cannot_be_removed(vidact: Vidact) -> None:
    done = vidact("models", "rm", zoo.DEFAULT)
    assert done.code == 3
    assert "is part of vidact" in done.err
