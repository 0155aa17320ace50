"""PyTorch's pickled checkpoints: loaded without running any code in them, and listed without torch.

Knows nothing of networks or of how tensors are wrapped.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import pickle
import pickletools
import re
import shlex
import warnings
import zipfile
from collections.abc import Iterable, Iterator
from typing import IO, Any

from vidact.errors import ModelError

# What training frameworks leave in their checkpoints beside tensors. Each name is replaced by a stand-in that does
# nothing; what it would have held is lost, and none of it is a weight.
INERT = (
    "mmengine.logging.history_buffer.HistoryBuffer",
    "numpy.core.multiarray._reconstruct",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
    "numpy.ndarray",
    "numpy.dtype",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
    "_codecs.encode",
    "__builtin__.getattr",
    "builtins.getattr",
)


# torch's own names that hold tensors together; only what lies beyond them is told.
_TENSORS = re.compile(
    r"torch(\.\w*Storage|\._utils\._rebuild_\w+|\.nn\.parameter\.\w+|\.(Size|device|Tensor|\w+\d))"
    r"|collections\.OrderedDict"
)
_UNPACKED, _RATIO = 256 << 20, 20
"""A packed archive that grows beyond both, in bytes and times, was made to fill the memory; torch packs nothing."""


class Inert:
    """Takes whatever it is made with, keeps nothing, does nothing."""

    def __init__(self, *arguments: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


class _Anything(Inert):
    """Does nothing with whatever a pickle may do to an object."""

    def __call__(self, *arguments: object) -> _Anything:
        return self

    append = extend = add = __setitem__ = __call__


class _Names(pickle.Unpickler):
    """Runs nothing and makes nothing: keeps the names a pickle asks for."""

    def __init__(self, file: IO[bytes], found: set[str]) -> None:
        super().__init__(file, encoding="latin1")
        self._found = found

    def find_class(self, module: str, name: str) -> Any:
        self._found.add(f"{module}.{name}")
        return _Anything

    def persistent_load(self, key: Any) -> Any:
        return _Anything()


def read(path: str) -> Any:
    """What a checkpoint holds, by torch's restricted loader (usually nested dicts of tensors).

    Raises OSError when it cannot be read, ModelError when it is damaged or asks for more than tensors.
    """
    import torch

    _refuse_other_files(path)
    # torch takes pairs of a stand-in and the name it stands for.
    allowed: list[Any] = [(type(f"Inert{number}", (Inert,), {}), name) for number, name in enumerate(INERT)]
    try:
        with torch.serialization.safe_globals(allowed), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about formats of torch's own, which are read nevertheless
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        trust = f"if you trust who made it, run `vidact models convert --trust {shlex.quote(path)}`"
        if named := _beyond_tensors(path):
            raise ModelError(
                f"{path!r} was not loaded: it asks for more than tensors ({', '.join(named[:8])})",
                hint="a checkpoint that needs to run code is not opened: get one with the state_dict alone, or, "
                + trust,
            ) from error
        raise ModelError(
            f"{path!r} is not a checkpoint torch can read: {_reason(error)}",
            hint=f"copy or download it again, and compare its size with the original's; or, {trust}",
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError) as error:
        raise ModelError(
            f"{path!r} is not a checkpoint torch can read: {_first_line(error)}",
            hint="copy or download it again, and compare its size with the original's",
        ) from error


def check(path: str) -> None:
    """ModelError for a file that is no pickle and no archive of torch's, without torch; OSError when unreadable."""
    _refuse_other_files(path)
    with open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            return
        file.seek(0)
        try:
            whole = file.read(4) != b"PK\x03\x04" and not file.seek(0) and bool(list(_few(file)))
        except ValueError:
            whole = False
    if not whole:
        raise ModelError(
            f"{path!r} is not a whole checkpoint: it is neither an archive nor a pickle torch can read",
            hint="copy or download it again, and compare its size with the original's",
        )


def _refuse_other_files(path: str) -> None:
    """ModelError for what a download often leaves instead of weights, where torch has only riddles to say, and for
    archives that would fill the memory."""
    with open(path, "rb") as file:
        head = file.read(200).lstrip().lower()
        packed = _packed(file)
    if packed > max(_UNPACKED, _RATIO * os.path.getsize(path)):
        raise ModelError(
            f"{path!r} was not opened: it unpacks to {packed / 1e6:.0f} MB, {packed // os.path.getsize(path)} times "
            "its size",
            hint="get the weights from somebody else: torch packs nothing",
        )
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise ModelError(f"{path!r} is a web page, not weights", hint="download the file itself, not the page about it")
    if head.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path!r} is a pointer of Git LFS, not weights", hint="fetch the file with `git lfs pull`")


def _packed(file: IO[bytes]) -> int:
    """The bytes that the packed entries of an archive unpack to; 0 for any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(entry.file_size for entry in archive.infolist() if entry.compress_type != zipfile.ZIP_STORED)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return 0


def _beyond_tensors(path: str) -> list[str]:
    """The names a checkpoint asks for that are neither torch's own nor harmless; of a damaged one those before the
    damage. It may be an archive, or one pickle behind the other as torch wrote them before."""
    found: set[str] = set()
    with contextlib.suppress(Exception), open(path, "rb") as file:  # it may be anything
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                contents = next(name for name in archive.namelist() if name.endswith("data.pkl"))
                _Names(io.BytesIO(archive.read(contents)), found).load()
        else:
            file.seek(0)
            for _ in range(4):
                _Names(file, found).load()
    return sorted(name for name in found - set(INERT) if not _TENSORS.fullmatch(name))


def _reason(error: BaseException) -> str:
    """What torch's restricted loader stumbled over, without its advice to do without it."""
    found = re.search(r"WeightsUnpickler error: *(.+)", str(error))
    return found[1][:200] if found else _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def strings(path: str | os.PathLike[str]) -> frozenset[str]:
    """Every string in a checkpoint's table of contents, its keys among them, without loading it or importing torch.

    Empty where the file is no checkpoint torch wrote.
    """
    try:
        if not zipfile.is_zipfile(path):
            with open(path, "rb") as file:
                # The older format begins with a magic number, a version and the system, each a pickle of its own.
                return frozenset(text for _ in range(4) for text in _strings(pickletools.genops(file)))
        with zipfile.ZipFile(path) as archive:
            contents = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            return frozenset(_strings(pickletools.genops(archive.read(contents))))
    except (OSError, ValueError, StopIteration, zipfile.BadZipFile):
        return frozenset()


def is_caffe2(path: str | os.PathLike[str]) -> bool:
    """Whether a file is a plain pickle called ``.pkl``, as Caffe2 wrote them, and none that torch wrote."""
    if not os.fspath(path).endswith(".pkl"):
        return False
    try:
        with open(path, "rb") as file:
            if zipfile.is_zipfile(file):
                return False
            file.seek(0)
            # torch's older format begins with a number, a Caffe2 file with a table.
            return not any(isinstance(argument, int) and argument > 1 << 64 for _, argument, _ in _few(file))
    except (OSError, ValueError):
        return False


def _few(file: IO[bytes]) -> Iterator[tuple[Any, Any, int | None]]:
    return itertools.islice(pickletools.genops(file), 4)


def _strings(operations: Iterable[tuple[Any, Any, int | None]]) -> Iterator[str]:
    return (argument for _, argument, _ in operations if isinstance(argument, str))
