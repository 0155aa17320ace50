"""PySlowFast's Caffe2 files: a pickle of numpy arrays by blob name, read without running code in it.

The unpickler knows the few names that make up an array and refuses every other. Knows nothing of networks, but that
every weight of theirs save the classifier's is a convolution over three dimensions.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np

from vidact.errors import ModelError
from vidact.models.weights import State

CLASSIFIER = "pred_w"
_ARRAY = {
    ("numpy.core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy._core.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0],
    ("numpy.core.multiarray", "scalar"): np.float32(0).__reduce__()[0],
    ("numpy._core.multiarray", "scalar"): np.float32(0).__reduce__()[0],
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): lambda text, encoding: str(text).encode("latin1" if encoding == "latin1" else "ascii"),
}


class _Arrays(pickle.Unpickler):
    """An unpickler that makes plain Python values and numpy arrays of numbers, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ARRAY[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name}") from None


def read_blobs(path: str | os.PathLike[str]) -> State:
    """The weights in a Caffe2 file by their blob names, without what only training needs. Raises ModelError."""
    import torch

    name = os.fspath(path)
    try:
        with open(path, "rb") as file:
            content = _Arrays(file, encoding="latin1").load()
    except OSError as error:
        raise ModelError(f"cannot read {name!r}: {error.strerror or error}", hint="check the path") from error
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"{name!r} was not read: it asks for more than arrays ({error})",
            hint="a Caffe2 file of PySlowFast's zoo holds arrays alone; get it again from there",
        ) from error
    except Exception as error:  # a damaged pickle fails in any way at all
        raise ModelError(
            f"{name!r} is no whole Caffe2 file: {error}", hint="copy or download it again, and compare its size"
        ) from error
    blobs = content.get("blobs") if isinstance(content, Mapping) else None
    if not isinstance(blobs, Mapping) or CLASSIFIER not in blobs:
        raise ModelError(f"{name!r} holds no table of blobs with {CLASSIFIER}", hint="give a file of PySlowFast's zoo")
    return {
        blob: torch.from_numpy(_deep(str(blob), value))
        for blob, value in blobs.items()
        if isinstance(value, np.ndarray) and value.dtype.kind == "f" and not _only_training(str(blob))
    }


def _only_training(blob: str) -> bool:
    return blob.endswith("_momentum") or blob in ("lr", "model_iter")


def _deep(blob: str, value: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """A convolution's weight may have lost its last axes of one; they come back. Float32, own memory."""
    own = np.array(value, dtype=np.float32)
    if blob.endswith("_w") and blob != CLASSIFIER:
        return own.reshape(own.shape + (1,) * (5 - own.ndim))
    return own
