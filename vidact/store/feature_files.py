"""Folders of features: a run of ``vidact features``, or files in the field's formats beside a ``manifest.json``.

``.npy``, ``.npz`` and ``.pt`` hold (T, C) or, where the manifest says ``"layout": "CT"``, (C, T). The manifest tells
what such files cannot: ``fps`` (a number or "native"), ``window``, ``stride`` and ``offset`` in frames, and whatever
else of the contract is known; under ``videos`` it may give a video's ``duration`` and ``fps``.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidact.errors import RunError, UsageError
from vidact.records import Contract
from vidact.store import matrices
from vidact.store.atomic import make_folder, remove, replacing, write_json
from vidact.store.features import Features, read_entry, shown
from vidact.store.manifest import load_run
from vidact.store.matching import Names

MANIFEST = "manifest.json"
SUFFIXES = (".npy", ".npz", ".pt")
Format = Literal["npy", "npz", "pt"]
_EXAMPLE = '{"fps": 30, "window": 16, "stride": 4, "offset": 8, "layout": "TC"}'


@dataclass(frozen=True)
class FeatureFolder:
    """Features of many videos, all of one contract. ``paths``: name of the video → its file."""

    folder: str
    contract: Contract
    paths: Mapping[str, Path]
    turned: bool = False  # (C, T) files
    videos: Mapping[str, Mapping[str, Any]] | None = None

    def names(self) -> list[str]:
        """The videos there are features of, sorted."""
        return sorted(self.paths)

    def find(self, video: str, *, file: bool = True) -> str | None:
        """The name that means ``video``, a file's or (not ``file``) an annotation's; None where there is none.

        UsageError when it could be any of several.
        """
        return self._names.find(video, file=file)

    @cached_property
    def _names(self) -> Names:
        """Sorted out once, since every video of a large archive may have to be looked up so."""
        return Names(self.paths, "name features by the whole path of their video")

    @cached_property
    def _checked(self) -> set[Path]:
        """Entries that were read once."""
        return set()

    def read(self, name: str, *, check: bool = True) -> Features:
        """The features of one video. UsageError when the file is damaged, holds no matrix, or NaN.

        ``check``: whether the checksum of an entry of the cache is compared when it is read for the first time.
        """
        path = self.paths[name]
        if path.suffix == ".safetensors":
            features, contract = read_entry(path, check=check and path not in self._checked)
            self._checked.add(path)
            if contract != self.contract:
                raise UsageError(
                    f"{str(path)!r} holds features of another contract: {shown(contract)}",
                    hint="extract them again with `vidact features`",
                )
            return features
        array = matrices.read(path)
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite, and is refused as such
            array = np.ascontiguousarray(array.T if self.turned else array, np.float32)
        if self.contract.dimension and array.shape[1] != self.contract.dimension:
            self._refuse_shape(path, array)
        facts = (self.videos or {}).get(name, {})
        return Features(array, None, _positive(facts, "duration"), _positive(facts, "fps"))

    def _refuse_shape(self, path: Path, array: np.ndarray[Any, Any]) -> None:
        layout = "TC" if self.turned else "CT"
        turned = array.shape[0] == self.contract.dimension
        raise UsageError(
            f"{str(path)!r} holds {array.shape[0]} rows of {array.shape[1]} numbers, expected "
            f"{self.contract.dimension} a row" + ("; it seems to be transposed" if turned else ""),
            hint=f'write "layout": "{layout}" into {MANIFEST}' if turned else "extract the features again",
        )


def open_features(folder: str) -> FeatureFolder:
    """Open a run of ``vidact features`` or a folder of feature files with a manifest.

    UsageError when it is neither, or its manifest does not say enough.
    """
    if not os.path.isdir(folder):
        raise UsageError(f"there is no folder {folder!r}", hint="give the folder `vidact features -o` wrote")
    try:
        run = load_run(folder)
    except RunError as error:
        raise UsageError(error.message, hint=error.hint) from error
    if run is not None:
        return _of_run(folder, run)
    top = Path(folder)
    manifest = _manifest(top)
    paths: dict[str, Path] = {}
    for path in sorted(top.rglob("[!.]*")):  # what begins with a point is not the user's
        if path.suffix not in SUFFIXES or not path.is_file():
            continue
        # As videos are named: bytes that are not UTF-8 are written out.
        name = os.fsencode(path.relative_to(top).with_suffix("").as_posix()).decode("utf-8", "backslashreplace")
        if (other := paths.setdefault(name, path)) != path:
            raise UsageError(
                f"{folder!r} holds features of {name!r} twice, in {other.name} and {path.name}", hint="keep one of them"
            )
    if not paths:
        raise UsageError(f"{folder!r} holds no features ({', '.join(SUFFIXES)})", hint="extract them: vidact features")
    return FeatureFolder(
        folder, _contract(top, manifest), paths, manifest.get("layout", "TC") == "CT", manifest.get("videos")
    )


def _of_run(folder: str, run: Mapping[str, Any]) -> FeatureFolder:
    from vidact.store.reader import Reader

    if run["frozen"]["command"] != "features":
        raise UsageError(
            f"{folder!r} is a run of `vidact {run['frozen']['command']}`, not of `vidact features`",
            hint="give the folder `vidact features -o` wrote",
        )
    rows = Reader(folder).detail(columns=["video", "file"]).to_pydict()
    paths = {video: Path(file) for video, file in zip(rows["video"], rows["file"], strict=True)}
    facts = json.loads(run["frozen"]["contract"])
    return FeatureFolder(folder, Contract(**facts), paths)


def _manifest(top: Path) -> dict[str, Any]:
    path = top / MANIFEST
    try:
        facts = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise UsageError(
            f"{str(top)!r} has no {MANIFEST} that says what its features are",
            hint=f"write one, such as {_EXAMPLE}; frames are counted at fps, row i is centred at i x stride + offset",
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(
            f"cannot read {str(path)!r}: {getattr(error, 'strerror', None) or error}",
            hint=f"write it anew, such as {_EXAMPLE}",
        ) from error
    if not isinstance(facts, dict):
        raise UsageError(f"{str(path)!r} holds no table", hint=f"write it anew, such as {_EXAMPLE}")
    return facts


def _contract(top: Path, manifest: Mapping[str, Any]) -> Contract:
    given = {field.name: manifest[field.name] for field in fields(Contract) if field.name in manifest}
    missing = [name for name in ("fps", "window", "stride", "offset") if name not in given]
    if missing:
        told = f"{str(top / MANIFEST)!r} says nothing of {', '.join(missing)}"
        raise UsageError(told, hint=f"write it like {_EXAMPLE}")
    for name, value in given.items():
        if not _can_be(name, value):
            raise UsageError(
                f"{str(top / MANIFEST)!r}: {name} cannot be {value!r:.80}", hint=f"write it like {_EXAMPLE}"
            )
    videos = manifest.get("videos") or {}
    like = 'write it like "videos": {"day1/a": {"duration": 212.3, "fps": 25}}, or leave it out'
    if not isinstance(videos, dict) or not all(isinstance(facts, dict) for facts in videos.values()):
        raise UsageError(f"{str(top / MANIFEST)!r}: videos is no table of tables", hint=like)
    for name, facts in videos.items():
        for fact in ("duration", "fps"):
            if facts.get(fact) is not None and _positive(facts, fact) is None:
                told = f"{str(top / MANIFEST)!r}: the {fact} of {name!r} cannot be {facts[fact]!r:.80}"
                raise UsageError(told, hint=like)
    if manifest.get("layout", "TC") not in ("TC", "CT"):
        raise UsageError(f"{str(top / MANIFEST)!r}: layout {manifest['layout']!r}", hint="write TC or CT")
    return Contract(**{"dimension": 0, "backbone": "", **given})


def _can_be(name: str, value: Any) -> bool:
    """Whether a field of a contract can have this value."""
    if name == "flow":
        return isinstance(value, bool)
    if name in ("backbone", "weights", "normalisation", "crop"):
        return isinstance(value, str)
    if name == "fps" and value == "native":
        return True
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    return value > 0 if name in ("fps", "stride") else value >= 0


def _positive(facts: Mapping[str, Any], name: str) -> float | None:
    value = facts.get(name)
    good = isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf
    return float(value) if good else None  # type: ignore[arg-type]


def export(source: FeatureFolder, folder: str, form: Format, *, turned: bool = False) -> int:
    """Write every video's features to ``folder`` as ``form`` with a manifest; how many were written.

    Files that are there and not older than their source stay, unless they are of another contract or layout.
    ``turned``: (C, T). RunError when the disk refuses, or for features that are damaged, after all others are written.
    """
    make_folder(folder)
    about = {**asdict(source.contract), "layout": "CT" if turned else "TC"}
    same = _same_as_before(Path(folder), about)
    if not same:
        remove(os.path.join(folder, MANIFEST))  # until it is written anew, nobody can misread what lies here
    videos, written, damaged = {}, 0, []
    for name, target in _targets(source.names()).items():
        fresh = _fresh(source.paths[name], os.path.join(folder, target)) if same else dict.fromkeys(SUFFIXES, False)
        try:
            features = source.read(name, check=not fresh["." + form])
        except UsageError as error:
            damaged.append(error.message)
            continue
        videos[target] = {"duration": features.duration, "fps": features.fps}
        for suffix in (suffix for suffix, good in fresh.items() if not good):
            if os.path.exists(os.path.join(folder, target + suffix)):
                remove(os.path.join(folder, target + suffix))
        if fresh["." + form]:
            continue
        path = os.path.join(folder, f"{target}.{form}")
        make_folder(os.path.dirname(path))
        with replacing(path) as file:
            _save(file, features.array.T if turned else features.array, form)
        written += 1
    write_json(os.path.join(folder, MANIFEST), {**about, "videos": videos})
    if damaged:
        raise RunError(
            f"the features of {len(damaged)} of {len(source.paths)} videos were not exported; the first: {damaged[0]}",
            hint="delete that file, then run the same command again: what is gone is extracted anew",
        )
    return written


def _fresh(source: Path, target: str) -> dict[str, bool]:
    """Which of the files ``target`` is there with each suffix, not older than its source."""
    found = {}
    for suffix in SUFFIXES:
        try:
            found[suffix] = os.path.getmtime(target + suffix) >= os.path.getmtime(source)
        except OSError:
            found[suffix] = False
    return found


def _same_as_before(top: Path, about: Mapping[str, Any]) -> bool:
    """Whether the manifest that is there says the same of its files."""
    try:
        before = _manifest(top)
    except UsageError:
        return False
    return {name: before.get(name) for name in about} == dict(about)


def _targets(names: Sequence[str]) -> dict[str, str]:
    """Video → where its file goes, without its suffix: named like the video, with its suffix where two share a stem.

    A video outside the root has an absolute name; its file stays inside the folder nevertheless.
    """
    bare = {name: os.path.splitext(name)[0].lstrip("/") for name in names}
    counts = Counter(bare.values())
    whole = {name.lstrip("/") for name in names}
    return {name: stem if counts[stem] == 1 and stem not in whole else name.lstrip("/") for name, stem in bare.items()}


def _save(file: Any, array: np.ndarray[Any, Any], form: Format) -> None:
    if form == "npy":
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    elif form == "npz":
        np.savez(file, features=array)
    else:
        import torch

        torch.save(torch.from_numpy(np.array(array)), file)
