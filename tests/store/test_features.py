"""The feature cache, and folders of features in the field's formats."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from vidact.errors import RunError, UsageError, VideoError
from vidact.records import Contract, Video, VideoFacts
from vidact.store import feature_files, matrices
from vidact.store.features import FeatureCache, Features, check_writable, differences, digest, read_entry, refuse

CONTRACT = Contract(25.0, 16, 4, 8.0, 3, "net.k400", "sha256:aa", crop="centre 224")
FACTS = VideoFacts(4.0, 0.0, 25.0, 320, 240, 0, "h264", 100)


def made(rows: int = 22, seed: int = 0) -> Features:
    array = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    return Features(array, (np.arange(rows) * 4 + 8) / 25.0, 4.0, 25.0, 0, FACTS)


def video(folder: Path, name: str = "a.mp4") -> Video:
    path = folder / name
    path.write_bytes(b"x")
    found = path.stat()
    return Video(name, str(path), found.st_size, found.st_mtime_ns)


def test_an_entry_comes_back_mapped_and_is_plain_safetensors(tmp_path: Path) -> None:
    cache, one = FeatureCache(str(tmp_path / "cache"), CONTRACT), video(tmp_path)
    assert not cache.has(one)
    path = cache.write(one, made())
    found = cache.read(one)
    assert cache.has(one) and isinstance(found.array, np.memmap)
    np.testing.assert_array_equal(found.array, made().array)
    np.testing.assert_array_equal(found.centres, made().centres)
    assert (found.duration, found.fps, found.facts) == (4.0, 25.0, FACTS)
    np.testing.assert_array_equal(load_file(path)["features"], made().array)


def test_another_contract_or_a_changed_file_is_a_miss(tmp_path: Path) -> None:
    folder, one = str(tmp_path / "cache"), video(tmp_path)
    FeatureCache(folder, CONTRACT).write(one, made())
    for field in dataclasses.fields(Contract):
        value = getattr(CONTRACT, field.name)
        other = (not value) if isinstance(value, bool) else value + 1 if isinstance(value, int | float) else value + "x"
        assert not FeatureCache(folder, dataclasses.replace(CONTRACT, **{field.name: other})).has(one), field.name
    assert not FeatureCache(folder, CONTRACT).has(dataclasses.replace(one, mtime_ns=(one.mtime_ns or 0) + 1))
    assert not FeatureCache(folder, CONTRACT).has(dataclasses.replace(one, size=2))
    assert FeatureCache(folder, CONTRACT).has(one)


def test_an_entry_that_was_cut_short_is_an_error_and_never_features(tmp_path: Path) -> None:
    cache, one = FeatureCache(str(tmp_path / "cache"), CONTRACT), video(tmp_path)
    path = cache.write(one, made())
    whole = Path(path).read_bytes()
    for size in (0, 7, 100, len(whole) - 1):
        Path(path).write_bytes(whole[:size])
        with pytest.raises(UsageError, match="no whole file of features"):
            cache.read(one)
        assert cache.find(one) is None  # a miss: it is made anew
    cache.write(one, made())
    assert cache.find(one) is not None


def test_bytes_that_changed_in_an_entry_are_seen_where_it_matters(tmp_path: Path) -> None:
    cache, one = FeatureCache(str(tmp_path / "cache"), CONTRACT), video(tmp_path)
    path = Path(cache.write(one, made()))
    whole = path.read_bytes()
    facts = whole.index(b"duration")
    for place in (facts + 12, len(whole) - made().array.nbytes - 3, len(whole) - 2):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert cache.find(one) is None
        folder = feature_files.FeatureFolder(str(tmp_path), CONTRACT, {"a": path})
        with pytest.raises(UsageError, match="its checksum is wrong"):
            folder.read("a")
    path.write_bytes(whole)
    assert cache.find(one) is not None and folder.read("a").facts == FACTS
    older = whole.replace(b'"vidact-crc32"', b'"another-key1"')
    path.write_bytes(older[:-2] + b"xx")
    assert cache.find(one) is not None, "entries of older versions have no checksum"


def test_what_lies_in_the_place_of_an_entry_is_a_miss_and_never_waited_for(tmp_path: Path) -> None:
    cache, one = FeatureCache(str(tmp_path / "cache"), CONTRACT), video(tmp_path)
    path = Path(cache.write(one, made()))
    deep = b"[" * 100_000
    for make in (
        lambda: os.mkfifo(path),
        lambda: path.symlink_to("/dev/zero"),
        lambda: path.symlink_to(path.name),
        lambda: path.symlink_to("nowhere"),
        lambda: path.write_bytes(len(deep).to_bytes(8, "little") + deep),
    ):
        path.unlink()
        make()
        assert cache.find(one) is None
        with pytest.raises(UsageError):
            cache.read(one)
        assert cache.write(one, made()) == str(path) and cache.find(one) is not None
    path.unlink()
    path.mkdir()
    assert cache.find(one) is None
    with pytest.raises(VideoError, match="is a folder"):
        cache.write(one, made())


def test_a_cache_that_cannot_be_written_says_so_and_names_its_option(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(str(tmp_path / "file"), CONTRACT)
    for attempt in (lambda: cache.write(video(tmp_path), made()), lambda: check_writable(str(tmp_path / "file" / "x"))):
        with pytest.raises(RunError, match="cannot write") as caught:
            attempt()
        assert "--cache" in caught.value.hint


def test_an_entry_moved_under_another_contract_is_refused(tmp_path: Path) -> None:
    one = video(tmp_path)
    cache, other = (FeatureCache(str(tmp_path / "c"), c) for c in (CONTRACT, dataclasses.replace(CONTRACT, stride=8)))
    os.makedirs(os.path.dirname(other.path(one)))
    os.rename(cache.write(one, made()), other.path(one))
    with pytest.raises(UsageError, match="another contract"):
        other.read(one)


def test_a_refusal_shows_both_contracts() -> None:
    wanted = dataclasses.replace(CONTRACT, stride=8, fps="native")
    with pytest.raises(UsageError) as caught:
        refuse(CONTRACT, wanted, "the features of a.mp4", "bmn.x")
    assert "stride is 4, wanted 8" in caught.value.message and "fps is 25.0, wanted 'native'" in caught.value.message
    assert [line.count("16-frame windows") for line in caught.value.details] == [1, 1]
    assert "\n" not in "".join([caught.value.message, *caught.value.details])  # each is printed as one line
    assert caught.value.hint == "vidact features PATH --model bmn.x -o DIR"
    with pytest.raises(UsageError) as caught:
        refuse(CONTRACT, wanted, "the features of a.mp4", "bmn.x", "my file.safetensors")
    assert caught.value.hint == "vidact features PATH --checkpoint 'my file.safetensors' -o DIR"


def test_a_refusal_shortens_hashes() -> None:
    one, other = (dataclasses.replace(CONTRACT, weights="sha256:" + digit * 64) for digit in "ab")
    with pytest.raises(UsageError) as caught:
        refuse(one, other, "the features of a.mp4", "bmn.x")
    said = "".join([caught.value.message, *caught.value.details])
    assert said.count("sha256:aaaaaaaaaaaa") == said.count("sha256:bbbbbbbbbbbb") == 2
    assert "a" * 13 not in said and "b" * 13 not in said


def test_what_nobody_stated_cannot_differ() -> None:
    bare = Contract(25.0, 16, 4, 8.0, 0, "")
    assert differences(bare, CONTRACT) == []
    assert differences(dataclasses.replace(bare, stride=5), CONTRACT) == ["stride is 5, wanted 4"]
    named = dataclasses.replace(CONTRACT, weights="kinetics400")
    assert differences(named, CONTRACT) == []
    assert differences(dataclasses.replace(CONTRACT, weights="sha256:bb"), CONTRACT)
    assert digest(CONTRACT) != digest(named)


def folder_of(tmp_path: Path, **manifest: object) -> Path:
    folder = tmp_path / "features"
    (folder / "day").mkdir(parents=True, exist_ok=True)
    given = {"fps": 25, "window": 16, "stride": 4, "offset": 8, **manifest}
    (folder / "manifest.json").write_text(json.dumps(given))
    return folder


@pytest.mark.parametrize("form", ["npy", "npz", "pt"])
@pytest.mark.parametrize("layout", ["TC", "CT"])
def test_formats_and_layouts_of_the_field(tmp_path: Path, form: str, layout: str) -> None:
    array = made().array if layout == "TC" else made().array.T
    folder = folder_of(tmp_path, layout=layout, dimension=3, videos={"day/a": {"duration": 4.0, "fps": 25}})
    path = folder / f"day/a.{form}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez(path, feats=array)
    else:
        import torch

        torch.save(torch.from_numpy(array.copy()), path)
    opened = feature_files.open_features(str(folder))
    assert opened.names() == ["day/a"] and opened.contract == Contract(25, 16, 4, 8, 3, "")
    found = opened.read("day/a")
    np.testing.assert_array_equal(found.array, made().array)
    assert (found.duration, found.fps) == (4.0, 25.0)
    assert opened.find("day/a.mp4") == opened.find("a.mkv") == opened.find("tapes/day/a.mkv") == "day/a"
    assert opened.find("b.mp4") is None and opened.find("elsewhere/a.mkv") is None


def test_tensors_as_networks_leave_them(tmp_path: Path) -> None:
    import torch

    folder = folder_of(tmp_path)
    tensor = torch.arange(6.0).reshape(3, 2)
    torch.save(tensor.bfloat16(), folder / "half.pt")
    torch.save({"features": torch.nn.Parameter(tensor)}, folder / "learnt.pt")
    opened = feature_files.open_features(str(folder))
    for name in ("half", "learnt"):
        np.testing.assert_array_equal(opened.read(name).array, tensor.numpy())


@pytest.mark.parametrize("kind", ["<f2", "<f4", ">f4", "<f8", "<i4", ">i2", "u1"])
def test_arrays_that_torch_saved_and_whole_numbers(tmp_path: Path, kind: str) -> None:
    import torch

    folder, array = folder_of(tmp_path), np.arange(6).reshape(3, 2).astype(kind)
    torch.save(array, folder / "a.pt")
    torch.save({"features": np.asfortranarray(array)}, folder / "b.pt")
    np.save(folder / "c.npy", array)
    torch.save(array, folder / "d.pt", _use_new_zipfile_serialization=False)
    opened = feature_files.open_features(str(folder))
    for name in "abcd":
        found = opened.read(name).array
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.arange(6).reshape(3, 2))


class Evil:
    def __reduce__(self) -> object:
        return os.mkdir, ("evil",)


@pytest.mark.parametrize(
    "found",
    [
        Evil(),
        {"features": Evil()},
        np.array([[Evil()]], object),
        np.array([["text"]]),
        np.zeros((2, 2), [("a", "f4"), ("b", "f4")]),
        np.zeros((2, 2), "M8[s]"),
        np.float32(3),
        np.dtype("f4"),
        np.zeros((2, 2), complex),
        np.zeros((2, 2), bool),
    ],
)
def test_nothing_but_numbers_is_made_of_what_torch_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, found: object
) -> None:
    import torch

    monkeypatch.chdir(tmp_path)
    folder = folder_of(tmp_path)
    torch.save(found, folder / "a.pt")
    with pytest.raises(UsageError, match="cannot read the features"):
        feature_files.open_features(str(folder)).read("a")
    assert not os.path.exists("evil")


@pytest.mark.filterwarnings("error")
def test_a_file_that_would_fill_the_memory_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(matrices, "_UNPACKED", 1 << 20)
    folder = folder_of(tmp_path)
    np.savez_compressed(folder / "a.npz", features=np.zeros((1000, 1000), np.float32))
    torch.save(torch.zeros(1, 1).expand(1000, 1000), folder / "b.pt")
    np.save(folder / "c.npy", np.zeros((1000, 1000), np.float32))
    opened = feature_files.open_features(str(folder))
    for name in "ab":
        with pytest.raises(UsageError, match=r"it unpacks to 4 MB, \d+ times its size"):
            opened.read(name)
    assert opened.read("c").array.shape == (1000, 1000)


def test_names_that_are_not_utf8_are_called_like_their_videos(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    with open(os.fsencode(folder) + b"/bad\xff.npy", "wb") as file:
        np.save(file, made().array)
    opened = feature_files.open_features(str(folder))
    assert opened.names() == [r"bad\xff"] and opened.find(r"bad\xff.mp4") == r"bad\xff"
    assert opened.read(r"bad\xff").array.shape == made().array.shape


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".pt"])
@pytest.mark.parametrize("content", [b"", b"hello", b"\x00\x05\x16\x07Mac OS X", b"[1, 2]"])
def test_what_is_no_file_of_features_is_not_taken_for_a_pickle(tmp_path: Path, suffix: str, content: bytes) -> None:
    folder = folder_of(tmp_path)
    (folder / f"a{suffix}").write_bytes(content)
    with pytest.raises(UsageError, match="cannot read the features") as caught:
        feature_files.open_features(str(folder)).read("a")
    assert not any(word in caught.value.message for word in ("allow_pickle", "weights_only", "\n"))


def test_several_matrices_in_one_file_are_named(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    np.savez(folder / "a.npz", rgb=made().array, flow=made().array)
    with pytest.raises(UsageError, match=r"it holds \['flow', 'rgb'\], and none is called features"):
        feature_files.open_features(str(folder)).read("a")


def test_one_video_in_two_formats_is_an_error_and_what_a_mac_leaves_beside_files_is_none(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    np.save(folder / "a.npy", made().array)
    (folder / "._a.npy").write_bytes(b"Mac OS X")
    assert feature_files.open_features(str(folder)).names() == ["a"]
    np.savez(folder / "a.npz", made().array)
    with pytest.raises(UsageError, match=r"features of 'a' twice, in a\.npy and a\.npz"):
        feature_files.open_features(str(folder))


@pytest.mark.parametrize("fact", ["duration", "fps"])
@pytest.mark.parametrize("value", ["60", -3, 0, True, math.inf])
def test_a_length_or_rate_that_cannot_be_is_not_passed_over(tmp_path: Path, fact: str, value: object) -> None:
    folder = folder_of(tmp_path, videos={"day/a": {fact: value}, "b": {fact: None}})
    np.save(folder / "day" / "a.npy", made().array)
    with pytest.raises(UsageError, match=f"the {fact} of 'day/a' cannot be"):
        feature_files.open_features(str(folder))


def test_one_stem_twice_is_an_error(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    for name in ("a.npy", "day/a.npy"):
        np.save(folder / name, made().array)
    opened = feature_files.open_features(str(folder))
    assert opened.find("day/a.mp4") == "day/a"
    with pytest.raises(UsageError, match="could be any of 2 videos: 'a', 'day/a'"):
        opened.find("night/a.mp4")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 22), np.float32), "transposed"),
        (np.zeros((22, 5), np.float32), "expected 3 a row"),
        (np.zeros(22, np.float32), "expected numbers"),
        (np.zeros((0, 3), np.float32), "expected numbers"),
        (np.zeros((22, 3), bool), "expected numbers"),
        (np.zeros((22, 3), np.complex64), "expected numbers"),
    ],
)
def test_matrices_that_cannot_be(tmp_path: Path, array: np.ndarray, message: str) -> None:
    folder = folder_of(tmp_path, dimension=3)
    np.save(folder / "a.npy", array)
    with pytest.raises(UsageError, match=message):
        feature_files.open_features(str(folder)).read("a")


def test_pickles_are_not_run(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    np.save(folder / "a.npy", np.array([{"no": "matrix"}], object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot read the features"):
        feature_files.open_features(str(folder)).read("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no manifest.json"),
        ("{", "cannot read"),
        ("[]", "no table"),
        ('{"fps": 25, "window": 16}', "says nothing of stride, offset"),
        ('{"fps": 0, "window": 16, "stride": 4, "offset": 8}', "cannot be"),
        ('{"fps": 25, "window": 16, "stride": 4, "offset": 8, "layout": "X"}', "layout"),
        ('{"fps": true, "window": 16, "stride": 4, "offset": 8}', "fps cannot be True"),
        ('{"fps": 25, "window": 16, "stride": Infinity, "offset": 8}', "stride cannot be inf"),
        ('{"fps": 25, "window": 16, "stride": 4, "offset": 8, "backbone": 5}', "backbone cannot be 5"),
        ('{"fps": 25, "window": 16, "stride": 4, "offset": 8, "flow": "yes"}', "flow cannot be 'yes'"),
        ('{"fps": 25, "window": 16, "stride": 4, "offset": 8, "videos": [1]}', "videos is no table"),
        ('{"fps": 25, "window": 16, "stride": 4, "offset": 8, "videos": {"a": 5}}', "videos is no table"),
    ],
)
def test_manifests_that_do_not_say_enough(tmp_path: Path, text: str | None, message: str) -> None:
    folder = folder_of(tmp_path)
    np.save(folder / "a.npy", made().array)
    if text is None:
        (folder / "manifest.json").unlink()
    else:
        (folder / "manifest.json").write_text(text)
    with pytest.raises(UsageError, match=message):
        feature_files.open_features(str(folder))


@pytest.mark.parametrize("form", ["npy", "npz", "pt"])
@pytest.mark.parametrize("turned", [False, True])
def test_what_is_exported_can_be_read_again(tmp_path: Path, form: feature_files.Format, turned: bool) -> None:
    cache, one = FeatureCache(str(tmp_path / "cache"), CONTRACT), video(tmp_path)
    source = feature_files.FeatureFolder("x", CONTRACT, {"day/a.mp4": Path(cache.write(one, made()))})
    out = str(tmp_path / "export")
    assert feature_files.export(source, out, form, turned=turned) == 1
    assert feature_files.export(source, out, form, turned=turned) == 0  # it is there already
    again = feature_files.open_features(out)
    assert again.contract == CONTRACT
    np.testing.assert_array_equal(again.read("day/a").array, made().array)
    entry, contract = read_entry(source.paths["day/a.mp4"])
    assert contract == CONTRACT and entry.missing == 0


def exported(tmp_path: Path, names: list[str]) -> feature_files.FeatureFolder:
    cache = FeatureCache(str(tmp_path / "cache"), CONTRACT)
    paths = {}
    for number, name in enumerate(names):
        paths[name] = Path(cache.write(video(tmp_path, f"{number}.mp4"), made(seed=number)))
    return feature_files.FeatureFolder("x", CONTRACT, paths)


def test_one_damaged_entry_costs_no_other_its_file(tmp_path: Path) -> None:
    cache = FeatureCache(str(tmp_path / "cache"), CONTRACT)
    paths = {name: Path(cache.write(video(tmp_path, name), made())) for name in ("a.mp4", "b.mp4", "c.mp4")}
    paths["b.mp4"].write_bytes(paths["b.mp4"].read_bytes()[:-1] + b"x")
    source, out = feature_files.FeatureFolder(str(tmp_path), CONTRACT, paths), str(tmp_path / "export")
    with pytest.raises(RunError, match=r"the features of 1 of 3 videos were not exported; the first: .*checksum"):
        feature_files.export(source, out, "npy")
    assert feature_files.open_features(out).names() == ["a", "c"]


def test_every_video_has_its_own_exported_file_inside_the_folder(tmp_path: Path) -> None:
    names = ["a.mp4", "a.mkv", "a.mp4.mov", "b.mp4", "/elsewhere/c.mp4", "/other/c.mp4"]
    source, out = exported(tmp_path, names), tmp_path / "export"
    assert feature_files.export(source, str(out), "npy") == len(names)
    assert len(list(out.rglob("*.npy"))) == len(names)
    again = feature_files.open_features(str(out))
    for number, name in enumerate(names):
        found = again.find(name)
        assert found is not None
        np.testing.assert_array_equal(again.read(found).array, made(seed=number).array)


def test_exported_anew_in_another_layout_or_format_nothing_old_is_read(tmp_path: Path) -> None:
    source, out = exported(tmp_path, ["a.mp4"]), str(tmp_path / "export")
    feature_files.export(source, out, "pt")
    assert feature_files.export(source, out, "npy", turned=True) == 1
    np.testing.assert_array_equal(feature_files.open_features(out).read("a").array, made().array)
    assert feature_files.export(source, out, "npy") == 1
    np.testing.assert_array_equal(feature_files.open_features(out).read("a").array, made().array)
    newer = os.path.getmtime(tmp_path / "export" / "a.npy") + 10
    source.paths["a.mp4"].write_bytes(Path(exported(tmp_path, ["x", "a.mp4"]).paths["a.mp4"]).read_bytes())
    os.utime(source.paths["a.mp4"], (newer, newer))
    feature_files.export(source, out, "npz")  # and a.npy, which is older, goes
    np.testing.assert_array_equal(feature_files.open_features(out).read("a").array, made(seed=1).array)
    assert sorted(os.listdir(out)) == ["a.npz", "manifest.json"]
