"""The one matrix in a file of the field's formats: ``.npy``, ``.npz`` or ``.pt``.

Nothing in a file is run, and no file is let fill the memory with many times its size. Knows nothing of contracts.
"""

from __future__ import annotations

import os
import pickle
import threading
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vidact.errors import UsageError

_NAMES = ("features", "feats", "feat", "arr_0")
_UNPACKED, _RATIO = 256 << 20, 20
"""What grows beyond both, in bytes and times, was made to fill the memory."""
_NUMBERS = frozenset(f"{kind}{size}" for kind in "fiu" for size in (1, 2, 4, 8)) - {"f1"}
_ONE_AT_A_TIME = threading.Lock()
"""What torch is allowed to make, and which warnings are shown, holds for all threads."""


class _Array:
    """In the place of numpy's array where torch unpickles: keeps what is said of it, and makes nothing."""

    def __init__(self, *made: object) -> None:
        self.state: Any = ()

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Kind:
    """The same for numpy's kinds of numbers."""

    def __init__(self, name: object, *more: object) -> None:
        self.name, self.order = name, "|"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


_ALLOWED = [
    (_Array, "numpy.ndarray"),
    (_Array, "numpy.core.multiarray._reconstruct"),
    (_Array, "numpy._core.multiarray._reconstruct"),
    (_Kind, "numpy.dtype"),
]


def read(path: Path) -> np.ndarray[Any, Any]:
    """The matrix in a file, of whatever numbers. UsageError when it holds none, several, or something else."""
    try:
        with open(path, "rb") as file:
            _refuse_growth(_unpacked(file), file)
            found = _loaded(path, file)
            if isinstance(found, Mapping):
                names = [name for name in _NAMES if name in found] or (list(found) if len(found) == 1 else [])
                if not names:
                    raise ValueError(f"it holds {sorted(map(str, found))[:8]}, and none is called {_NAMES[0]}")
                found = found[names[0]]
            matrix = _array(found, file)
    except pickle.UnpicklingError as error:
        raise UsageError(
            f"cannot read the features {str(path)!r}: it holds something else than tensors and arrays",
            hint="write the tensor alone, torch.save(features, FILE), or .npy",
        ) from error
    except Exception as error:  # three libraries, each with errors of its own
        told = (str(error).splitlines() or [type(error).__name__])[0]
        raise UsageError(f"cannot read the features {str(path)!r}: {told}", hint="extract them again") from error
    if matrix.ndim == 3 and matrix.shape[0] == 1:
        matrix = matrix[0]
    if matrix.ndim != 2 or not matrix.size or matrix.dtype.kind not in "fiu":
        raise UsageError(
            f"{str(path)!r} holds {matrix.dtype} of shape {matrix.shape}, expected numbers (rows, dimension)",
            hint="extract it again",
        )
    return matrix


def _loaded(path: Path, file: Any) -> Any:
    """An array, a tensor, or several by name; nothing in a file is run. (numpy.load guesses the format, and takes what
    is none for a pickle.)"""
    if path.suffix == ".npz":
        return np.lib.npyio.NpzFile(file, allow_pickle=False)
    if path.suffix == ".npy":
        return np.lib.format.read_array(file, allow_pickle=False)
    import torch

    with _ONE_AT_A_TIME, torch.serialization.safe_globals(list(_ALLOWED)), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about formats of torch's own, which are read nevertheless
        return torch.load(file, map_location="cpu", weights_only=True)


def _array(found: Any, file: Any) -> np.ndarray[Any, Any]:
    if isinstance(found, _Array):
        return _rebuilt(found)
    if hasattr(found, "detach"):
        found = found.detach()
        _refuse_growth(found.numel() * found.element_size(), file)  # a tensor may repeat what it holds
        found = (found.float() if found.is_floating_point() else found).numpy()  # numpy knows no bfloat16
    if not isinstance(found, np.ndarray):
        raise ValueError(f"it holds a {type(found).__name__}, not a matrix")
    array: np.ndarray[Any, Any] = found
    return array


def _rebuilt(found: _Array) -> np.ndarray[Any, Any]:
    """A plain array of numbers from what its pickle says of it; numpy's own way from there trusts what it is told."""
    _, shape, kind, fortran, data = found.state
    if not isinstance(kind, _Kind) or kind.name not in _NUMBERS or kind.order not in ("<", ">", "|"):
        raise ValueError(f"it holds an array of {getattr(kind, 'name', kind)!s:.40}, not of numbers")
    if not isinstance(data, bytes) or not all(type(side) is int for side in shape):
        raise ValueError("it holds an array without numbers")
    numbers: np.ndarray[Any, Any] = np.frombuffer(data, f"{kind.order}{kind.name}")
    return numbers.reshape(tuple(shape), order="F" if fortran else "C")


def _unpacked(file: Any) -> int:
    """Bytes that the packed parts of an archive unpack to; 0 for any other file."""
    try:
        with zipfile.ZipFile(file) as archive:
            return sum(part.file_size for part in archive.infolist() if part.compress_type != zipfile.ZIP_STORED)
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile):
        return 0
    finally:
        file.seek(0)


def _refuse_growth(size: int, file: Any) -> None:
    own = os.fstat(file.fileno()).st_size
    if size > max(_UNPACKED, _RATIO * own):
        raise ValueError(f"it unpacks to {size / 1e6:.0f} MB, {size // max(own, 1)} times its size")
