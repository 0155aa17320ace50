"""Features on disk: what they are (their contract), and the cache, one file per video and contract.

A cache entry is one safetensors file, written once and atomically, mapped into memory when read: ``features`` float32
(T, C), ``centres`` float64 (T,) seconds, and in its metadata the contract, which file they were made from, and a
checksum. An entry of another contract, of a file that has changed since, or damaged, is a miss. Knows nothing of models
or of how rows are made.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shlex
import struct
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from vidact.errors import RunError, UsageError, VideoError
from vidact.records import Contract, Video, VideoFacts
from vidact.store.atomic import make_folder, remove_stale, replacing

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUFFIX = ".safetensors"
_KEY, _SUM = "vidact-features", "vidact-crc32"
_HEADER_LIMIT = 1 << 20
_CONTRACT, _SHELF = re.compile(r"[0-9a-f]{16}"), re.compile(r"[0-9a-f]{2}")
_TEMPORARY = re.compile(r"\.[0-9a-f]{40}\.[0-9a-f]{16}\.tmp")
STALE = 3600.0
"""Seconds after which an entry that is half written, and that nobody goes on writing, is a killed run's."""
_ROWS = 4096  # written at a time
_HASH = len("sha256:") + 12
_OTHER_CACHE = "make room there or choose another folder with --cache, then run the same command again"


@dataclass(frozen=True, slots=True)
class Features:
    """The features of one video: ``array`` float32 (T, C), perhaps mapped from its file.

    ``centres`` float64 (T,) are the seconds rows are centred at; ``duration`` in seconds and ``fps`` are the video's;
    ``missing`` counts rows that could not be decoded and repeat a neighbour. None: nobody said.
    """

    array: NDArray[Any]
    centres: NDArray[np.float64] | None = None
    duration: float | None = None
    fps: float | None = None
    missing: int = 0
    facts: VideoFacts | None = None


def digest(contract: Contract) -> str:
    """A name for a contract: the same for equal ones, another as soon as anything differs."""
    return hashlib.sha256(json.dumps(asdict(contract), sort_keys=True).encode()).hexdigest()[:16]


def differences(found: Contract, wanted: Contract) -> list[str]:
    """What speaks against reading features of contract ``found`` where ``wanted`` is asked for; empty: nothing.

    A text or dimension nobody stated cannot differ, and neither can weights of which only one side gives a hash.
    """
    told = []
    for field in fields(Contract):
        ours, theirs = getattr(wanted, field.name), getattr(found, field.name)
        unstated = ours in ("", 0) or theirs in ("", 0)
        if field.name in ("stride", "window", "offset", "fps", "flow"):
            unstated = field.name == "flow" and not found.backbone
        if field.name == "weights":
            unstated |= not (str(ours).startswith("sha256:") and str(theirs).startswith("sha256:"))
        if ours != theirs and not unstated:
            if field.name == "weights":
                ours, theirs = _short(ours), _short(theirs)
            told.append(f"{field.name} is {theirs!r}, wanted {ours!r}")
    return told


def _short(weights: str) -> str:
    """Which weights; of a hash the first twelve digits."""
    return weights[:_HASH] if weights.startswith("sha256:") else weights


def refuse(found: Contract, wanted: Contract, what: str, model: str, checkpoint: str | None = None) -> None:
    """UsageError with both contracts when features ``what`` cannot be read as ``wanted`` by the localizer ``model``.

    ``checkpoint`` is the localizer's file, where the user named one.
    """
    told = differences(found, wanted)
    if told:
        which = f"--checkpoint {shlex.quote(checkpoint)}" if checkpoint else f"--model {model}"
        raise UsageError(
            f"{what} do not fit {model}: {'; '.join(told)}",
            details=(f"They are: {shown(found)}", f"Wanted:   {shown(wanted)}"),
            hint=f"vidact features PATH {which} -o DIR",
        )


def shown(contract: Contract) -> str:
    """A contract in a line."""
    rate = "native fps" if contract.fps == "native" else f"{contract.fps:g} fps"
    rows = f"{contract.window}-frame windows at stride {contract.stride}, row i centred at frame {contract.stride}i + "
    texts = [
        contract.backbone or "backbone not stated",
        _short(contract.weights),
        contract.crop,
        contract.normalisation,
    ]
    size = f"{contract.dimension} numbers a row" if contract.dimension else ""
    flow = "with optical flow" if contract.flow else ""
    return ", ".join(text for text in [*texts, rate, rows + f"{contract.offset:g}", size, flow] if text)


class FeatureCache:
    """Entries of one contract below ``folder``: safe for any number of writers and readers at a time."""

    def __init__(self, folder: str, contract: Contract) -> None:
        self.contract = contract
        self._folder = os.path.join(folder, digest(contract))

    def path(self, video: Video) -> str:
        """Where the entry of this file, of this size and age, lies or would lie."""
        key = f"{os.path.abspath(video.path)}\0{video.size}\0{video.mtime_ns}"
        name = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()
        return os.path.join(self._folder, name[:2], name[:40] + SUFFIX)

    def has(self, video: Video) -> bool:
        """Whether there is an entry. A size or time that is not known never has one."""
        return video.size is not None and os.path.isfile(self.path(video))

    def find(self, video: Video) -> Features | None:
        """The entry of ``video``; None when there is none, or it is damaged: then it is made anew."""
        try:
            return self.read(video, check=True) if self.has(video) else None
        except UsageError:
            return None

    def read(self, video: Video, *, check: bool = False) -> Features:
        """The entry of ``video``. UsageError when it is damaged or of another contract; ``check`` as ``read_entry``."""
        path = self.path(video)
        features, contract = read_entry(path, check=check)
        if contract != self.contract:
            raise UsageError(f"{path!r} holds features of another contract: {shown(contract)}", hint=f"delete {path!r}")
        return features

    def write(self, video: Video, features: Features) -> str:
        """Write the entry of ``video``, whole or not at all; its path. RunError when the disk refuses, VideoError
        where a folder is in its place."""
        path = self.path(video)
        if os.path.isdir(path):
            raise VideoError("Unwritable", f"its features cannot be kept: {path!r} is a folder", stage="finish")
        try:
            make_folder(os.path.dirname(path))
            write_entry(path, features, self.contract, video)
        except RunError as error:
            raise RunError(error.message, hint=_OTHER_CACHE) from error
        return path


def check_writable(folder: str) -> None:
    """RunError when no entry can be written below ``folder``, before hours go into making some."""
    try:
        make_folder(folder)
    except RunError as error:
        raise RunError(error.message, hint=_OTHER_CACHE) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RunError(f"features cannot be kept in {folder!r}: it is read-only", hint=_OTHER_CACHE)


def tidy(folder: str) -> int:
    """Delete half entries that killed runs left below ``folder``, of every contract; how many there were."""
    return sum(
        remove_stale(shelf, _TEMPORARY, STALE)
        for contract in _folders(folder, _CONTRACT)
        for shelf in _folders(contract, _SHELF)
    )


def _folders(folder: str, name: re.Pattern[str]) -> list[str]:
    with suppress(OSError), os.scandir(folder) as entries:
        return [entry.path for entry in entries if name.fullmatch(entry.name)]
    return []


def write_entry(path: str, features: Features, contract: Contract, video: Video) -> None:
    """Replace ``path`` by an entry, atomically; ``array`` may be larger than memory. RunError when the disk refuses."""
    array, centres = features.array, np.asarray(features.centres, np.float64)
    sizes = {"features": array.shape[0] * array.shape[1] * 4, "centres": centres.nbytes}
    facts = json.dumps(
        {
            "video": video.video,
            "path": os.fsencode(video.path).hex(),
            "size": video.size,
            "mtime_ns": video.mtime_ns,
            "missing": features.missing,
            "contract": asdict(contract),
            "facts": asdict(features.facts) if features.facts else None,
        }
    )
    header = {
        "centres": {"dtype": "F64", "shape": list(centres.shape), "data_offsets": [0, sizes["centres"]]},
        "features": {
            "dtype": "F32",
            "shape": list(array.shape),
            "data_offsets": [sizes["centres"], sum(sizes.values())],
        },
    }

    def head(checksum: int) -> bytes:
        text = json.dumps({**header, "__metadata__": {_KEY: facts, _SUM: f"{checksum:08x}"}}).encode()
        text += b" " * (-len(text) % 8)
        return struct.pack("<Q", len(text)) + text

    with replacing(path) as file:
        file.write(head(0))
        block = np.ascontiguousarray(centres, "<f8").tobytes()
        checksum = zlib.crc32(block, zlib.crc32(facts.encode()))
        file.write(block)
        for first in range(0, len(array), _ROWS):
            block = np.ascontiguousarray(array[first : first + _ROWS], "<f4").tobytes()
            checksum = zlib.crc32(block, checksum)
            file.write(block)
        file.seek(0)
        file.write(head(checksum))


def read_entry(path: str | os.PathLike[str], *, check: bool = False) -> tuple[Features, Contract]:
    """An entry, its features mapped into memory, and its contract. UsageError when the file is no whole entry.

    ``check`` reads all of it and compares the checksum, which older entries have not.
    """
    name = os.fspath(path)
    try:
        if os.path.exists(name) and not os.path.isfile(name):
            raise ValueError("it is no file")  # opening a pipe would wait for ever
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
            told = header["__metadata__"].get(_SUM)
            if check and told is not None and told != _checksum(file, header["__metadata__"][_KEY]):
                raise ValueError("its checksum is wrong")
        facts = json.loads(header["__metadata__"][_KEY])
        arrays = {key: _mapped(name, 8 + length, header[key]) for key in ("features", "centres")}
        video = VideoFacts(**facts["facts"]) if facts["facts"] else None
        contract = Contract(**facts["contract"])
    except OSError as error:
        raise UsageError(
            f"cannot read the features {name!r}: {error.strerror or error}", hint="extract them"
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, struct.error) as error:
        raise UsageError(
            f"{name!r} is no whole file of features: {error!r}", hint="delete it and extract again"
        ) from error
    duration, fps = (video.duration, video.fps) if video else (None, None)
    return Features(arrays["features"], arrays["centres"], duration, fps, facts["missing"], video), contract


def _checksum(file: BinaryIO, facts: str) -> str:
    checksum = zlib.crc32(facts.encode())
    while block := file.read(1 << 20):
        checksum = zlib.crc32(block, checksum)
    return f"{checksum:08x}"


def _mapped(path: str, base: int, entry: Mapping[str, Any]) -> NDArray[Any]:
    kind = {"F32": "<f4", "F64": "<f8"}[entry["dtype"]]
    first, last = entry["data_offsets"]
    shape = tuple(entry["shape"])
    if last - first != int(np.prod(shape)) * np.dtype(kind).itemsize or os.path.getsize(path) < base + last:
        raise ValueError("it is cut short")
    if not last - first:
        return np.zeros(shape, kind)
    return np.memmap(path, kind, "r", base + first, shape)
