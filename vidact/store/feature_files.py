"""Folders of features: a run of ``vidact features``, or files in the field's formats beside a ``manifest.json``.

``.npy``, ``.npz`` and ``.pt`` hold (T, C) or, where the manifest says ``"layout": "CT"``, (C, T). The manifest tells
what such files cannot: ``fps`` (a number or "native"), ``window``, ``stride`` and ``offset`` in frames, and whatever
else of the contract is known; under ``videos`` it may give a video's ``duration`` and ``fps``.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np

from vidact.errors import RunError, UsageError
from vidact.records import Contract
from vidact.store.atomic import make_folder, replacing, write_json
from vidact.store.features import Features, named, read_entry, shown
from vidact.store.manifest import load_run

MANIFEST = "manifest.json"
SUFFIXES = (".npy", ".npz", ".pt")
Format = Literal["npy", "npz", "pt"]
_EXAMPLE = '{"fps": 30, "window": 16, "stride": 4, "offset": 8, "layout": "TC"}'
_NAMES = ("features", "feats", "feat", "arr_0")


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

    def find(self, video: str) -> str | None:
        """The name that means ``video``: equal, equal without the suffix, or the only one with its stem; else None.

        UsageError when several have its stem.
        """
        return named(self.paths, video)

    def read(self, name: str) -> Features:
        """The features of one video. UsageError when the file is damaged, holds no matrix, or NaN."""
        path = self.paths[name]
        if path.suffix == ".safetensors":
            features, contract = read_entry(path)
            if contract != self.contract:
                raise UsageError(
                    f"{str(path)!r} holds features of another contract: {shown(contract)}",
                    hint="extract them again with `vidact features`",
                )
            return features
        array = _matrix(path)
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
    paths = {
        path.relative_to(top).with_suffix("").as_posix(): path
        for path in sorted(top.rglob("*"))
        if path.suffix in SUFFIXES and path.is_file()
    }
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
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read {str(path)!r}: {error}", hint=f"write it anew, such as {_EXAMPLE}") from error
    if not isinstance(facts, dict):
        raise UsageError(f"{str(path)!r} holds no table", hint=f"write it anew, such as {_EXAMPLE}")
    return facts


def _contract(top: Path, manifest: Mapping[str, Any]) -> Contract:
    given = {field.name: manifest[field.name] for field in fields(Contract) if field.name in manifest}
    missing = [name for name in ("fps", "window", "stride", "offset") if name not in given]
    numbers = [given[name] for name in ("window", "stride", "offset", "dimension") if name in given]
    fps = given.get("fps", 1)
    good = all(isinstance(number, int | float) and number >= 0 for number in numbers) and given.get("stride", 1) > 0
    if missing or not good or not (fps == "native" or (isinstance(fps, int | float) and fps > 0)):
        what = f"says nothing of {', '.join(missing)}" if missing else "holds values that cannot be"
        raise UsageError(f"{str(top / MANIFEST)!r} {what}", hint=f"write it like {_EXAMPLE}")
    if manifest.get("layout", "TC") not in ("TC", "CT"):
        raise UsageError(f"{str(top / MANIFEST)!r}: layout {manifest['layout']!r}", hint="write TC or CT")
    return Contract(**{"dimension": 0, "backbone": "", **given})


def _matrix(path: Path) -> np.ndarray[Any, Any]:
    """The one matrix in a file."""
    try:
        if path.suffix == ".pt":
            import torch

            found: Any = torch.load(path, map_location="cpu", weights_only=True)
            found = found.numpy() if isinstance(found, torch.Tensor) else found
        else:
            found = np.load(path, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            keys = list(found)
            found = found[next((name for name in _NAMES if name in keys), keys[0] if len(keys) == 1 else "features")]
        matrix: np.ndarray[Any, Any] = np.asarray(found)
    except Exception as error:  # three libraries, each with errors of its own
        raise UsageError(f"cannot read the features {str(path)!r}: {error}", hint="extract them again") from error
    if matrix.ndim == 3 and matrix.shape[0] == 1:
        matrix = matrix[0]
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind != "f":
        raise UsageError(
            f"{str(path)!r} holds {matrix.dtype} of shape {matrix.shape}, expected float (rows, dimension)",
            hint="extract it again",
        )
    return matrix


def _positive(facts: Mapping[str, Any], name: str) -> float | None:
    value = facts.get(name)
    return float(value) if isinstance(value, int | float) and value > 0 else None


def export(source: FeatureFolder, folder: str, form: Format, *, turned: bool = False) -> int:
    """Write every video's features to ``folder`` as ``form`` with a manifest; how many were written.

    Files that are there and not older than their source stay. ``turned``: (C, T). RunError when the disk refuses.
    """
    make_folder(folder)
    videos, written = {}, 0
    for name in source.names():
        features = source.read(name)
        videos[os.path.splitext(name)[0]] = {"duration": features.duration, "fps": features.fps}
        path = os.path.join(folder, f"{os.path.splitext(name)[0]}.{form}")
        if os.path.exists(path) and os.path.getmtime(path) >= source.paths[name].stat().st_mtime:
            continue
        make_folder(os.path.dirname(path))
        with replacing(path) as file:
            _save(file, features.array.T if turned else features.array, form)
        written += 1
    facts = {**asdict(source.contract), "layout": "CT" if turned else "TC", "videos": videos}
    write_json(os.path.join(folder, MANIFEST), facts)
    return written


def _save(file: Any, array: np.ndarray[Any, Any], form: Format) -> None:
    if form == "npy":
        np.lib.format.write_array(file, np.ascontiguousarray(array), allow_pickle=False)
    elif form == "npz":
        np.savez(file, features=array)
    else:
        import torch

        torch.save(torch.from_numpy(np.array(array)), file)
