"""Files of weights: reading them safely, hashing them, writing our own.

A checkpoint of our own is one ``.safetensors`` file whose metadata carries the spec (key ``vidact``), so that the file
alone is enough to run it. The header is read here without torch, for dry runs and idle reruns. Knows nothing of
networks: tensors go in and out by name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import struct
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vidact.errors import ModelError
from vidact.models import declared, pickles
from vidact.records import Contract, Flow, Geometry, LocalizerSpec, Protocol, Published, Sampling, Spec

if TYPE_CHECKING:
    from torch import Tensor

State = dict[str, "Tensor"]
S = TypeVar("S", Spec, LocalizerSpec)
_HEADER_LIMIT = 100 << 20
_LARGEST = 1 << 16
_METADATA_KEY = "vidact"
_LOCALIZER_KEY = "vidact-localizer"


def bundled(file: str) -> Path:
    """The path of a file of weights that ships inside the package."""
    return Path(str(resources.files("vidact.assets").joinpath(file)))


def file_hash(path: str | os.PathLike[str]) -> str:
    """The SHA-256 of a file as 64 hex digits. Raises ModelError when it cannot be read."""
    try:
        with open(path, "rb") as file:
            return _digest(file)
    except OSError as error:
        raise _unreadable(path, error) from error


def _digest(file: Any) -> str:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def read_spec(path: str | os.PathLike[str]) -> Spec | None:
    """The spec inside a checkpoint of our own; None for a file of another format. Never imports torch."""
    return _described(path, _METADATA_KEY, spec_from_json)


def read_localizer_spec(path: str | os.PathLike[str]) -> LocalizerSpec | None:
    """The spec inside a localizer's checkpoint of our own; None for any other file. Never imports torch."""
    return _described(path, _LOCALIZER_KEY, _localizer_spec)


def _described(path: str | os.PathLike[str], key: str, parse: Callable[[Any], S]) -> S | None:
    """What ``parse`` makes of the JSON a safetensors file holds under ``key``; None where there is none."""
    name = os.fspath(path)
    text = _header(name).get("__metadata__", {}).get(key) if name.endswith(".safetensors") else None
    if text is None:
        return None
    try:
        return parse(json.loads(text))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ModelError(
            f"the description inside {name!r} cannot be read: {error!r}",
            hint="the file was written by another version of vidact or is damaged; train or convert it again",
        ) from error


def _header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The header of a safetensors file: eight bytes of length, then a JSON table; its free metadata is a table too."""
    try:
        with open(path, "rb") as file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _HEADER_LIMIT:
                raise ValueError(f"its header claims {length} bytes")
            header = json.loads(file.read(length))
            if not isinstance(header, dict) or not isinstance(header.get("__metadata__", {}), dict):
                raise ValueError("its metadata is not a table")
            return header
    except OSError as error:
        raise _unreadable(path, error) from error
    except (struct.error, ValueError, RecursionError) as error:
        raise ModelError(
            f"{os.fspath(path)!r} is not a whole safetensors file: {error}",
            hint="copy or download it again, and compare its size with the original's",
        ) from error


def check(path: str | os.PathLike[str], called: str = "") -> None:
    """ModelError for a file that cannot be weights: missing, cut short, a web page, neither pickle nor safetensors.

    Reads its beginning and its table of contents, and never imports torch; whether its tensors fit shows later.
    ``called``: the name it will have, if it has another now.
    """
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        raise ModelError(
            f"{os.fspath(path)!r} is a pipe or a device, and weights are read more than once",
            hint="write them to a file first",
        )
    try:
        if not (called or os.fspath(path)).endswith(".safetensors"):
            pickles.check(os.fspath(path))
            return
        size = os.path.getsize(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    offsets = [entry.get("data_offsets") for entry in _header(path).values() if isinstance(entry, dict)]
    ends = [pair[-1] for pair in offsets if isinstance(pair, list) and pair]
    with open(path, "rb") as file:
        begin = 8 + struct.unpack("<Q", file.read(8))[0]
    missing = begin + max((end for end in ends if isinstance(end, int)), default=0) - size
    if missing > 0:
        raise ModelError(
            f"{os.fspath(path)!r} is not a whole safetensors file: at least {missing} bytes are missing",
            hint="copy or download it again, and compare its size with the original's",
        )


def key_names(path: str | os.PathLike[str]) -> frozenset[str]:
    """Every string in a checkpoint's table of contents, its keys among them, without loading it or importing torch.

    Empty where the file is no checkpoint torch wrote; loading it will say why.
    """
    if os.fspath(path).endswith(".safetensors"):
        return frozenset(_header(path))
    return pickles.strings(path)


def read_tensors(path: str | os.PathLike[str]) -> Any:
    """What a checkpoint file holds, loaded without running any code in it.

    Returns a dict of tensors for safetensors, else whatever torch's restricted loader returns (usually nested dicts).
    Raises ModelError for a missing, damaged or unsafe file.
    """
    name = os.fspath(path)
    if name.endswith(".safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(name)
        except OSError as error:
            raise _unreadable(path, error) from error
        except SafetensorError as error:
            raise ModelError(
                f"{name!r} is not a whole safetensors file: {error}",
                hint="copy or download it again, and compare its size with the original's",
            ) from error
    try:
        return pickles.read(name)
    except OSError as error:
        raise _unreadable(name, error) from error


def write_checkpoint(path: str | os.PathLike[str], tensors: State, spec: Spec | LocalizerSpec) -> None:
    """Write tensors and their spec as one safetensors file; readers see the old file or the whole new one."""
    from safetensors.torch import save

    key = _METADATA_KEY if isinstance(spec, Spec) else _LOCALIZER_KEY
    data = save(
        {key: value.detach().contiguous().cpu() for key, value in tensors.items()},
        metadata={key: json.dumps(spec_to_json(spec))},  # one entry: safetensors writes several in any order
    )
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise ModelError(
            f"cannot write {os.fspath(path)!r}: {error.strerror or error}",
            hint="free some space or choose another folder",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def spec_to_json(spec: Spec | LocalizerSpec) -> dict[str, Any]:
    """A spec as plain JSON values."""
    facts = dataclasses.asdict(spec)
    facts["network"] = dict(spec.network)
    if isinstance(spec, Spec) and spec.protocol is None:
        del facts["protocol"]  # readers that have never heard of protocols can use the file
    return facts


def spec_from_json(facts: Mapping[str, Any]) -> Spec:
    """The inverse of :func:`spec_to_json`; unknown names are an error, because ignoring one could change scores."""
    known = {f.name for f in dataclasses.fields(Spec)}
    if unknown := sorted(set(facts) - known):
        raise ValueError(f"unknown entries {unknown}")
    values = dict(facts)
    values["sampling"] = Sampling(**values["sampling"])
    geometry = dict(values["geometry"])
    geometry["size"] = tuple(geometry["size"])
    values["geometry"] = Geometry(**geometry)
    for name in ("mean", "std", "labels", "streams"):
        values[name] = tuple(values.get(name, ()))
    for name, kind in (("published", Published), ("flow", Flow)):
        if values.get(name) is not None:
            values[name] = kind(**values[name])
    if values.get("protocol") is not None:
        protocol = dict(values["protocol"])
        values["protocol"] = Protocol(**{**protocol, "size": tuple(protocol["size"])})
    spec = Spec(**values)
    declared.check(spec)
    height, width = spec.geometry.size
    _refuse_sizes(height=height, width=width, short_side=spec.geometry.short_side, classes=spec.classes)
    _refuse_sizes(fields=spec.flow.fields if spec.flow else 1)
    _refuse_sizes(frames=spec.sampling.frames, stride=spec.sampling.stride, fps=spec.sampling.fps)
    if len(spec.mean) != len(spec.std) or not spec.mean or min(spec.std) <= 0 or spec.feature_dimension < 0:
        raise ValueError(f"mean {spec.mean}, std {spec.std}, feature dimension {spec.feature_dimension}")
    return spec


def _localizer_spec(facts: Mapping[str, Any]) -> LocalizerSpec:
    """As :func:`spec_from_json`, for a localizer's."""
    spec = LocalizerSpec(**{**facts, "contract": Contract(**facts["contract"]), "labels": tuple(facts["labels"])})
    declared.check(spec)
    contract = spec.contract
    rate = 1.0 if contract.fps == "native" else contract.fps
    _refuse_sizes(window=contract.window, stride=contract.stride, classes=spec.classes, fps=rate)
    if contract.dimension < 0 or not 0 <= spec.min_score <= 1:
        raise ValueError(f"dimension {contract.dimension}, min_score {spec.min_score}")
    return spec


def _refuse_sizes(**sizes: float) -> None:
    """ValueError for a size no network has; what is made of it would fill the memory, or be nothing."""
    for name, size in sizes.items():
        if not 0 < size <= _LARGEST:
            raise ValueError(f"{name} cannot be {size:g}")


def _unreadable(path: str | os.PathLike[str], error: OSError) -> ModelError:
    return ModelError(
        f"cannot read the weights {os.fspath(path)!r}: {error.strerror or error}",
        hint="check the path given to --checkpoint; `vidact models list` names the weights vidact knows",
    )
