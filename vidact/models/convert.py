"""From a checkpoint in any format vidact knows to one safetensors file with its spec inside.

Tensors keep the names they were published under, because these also say by which rules the network runs; wrappers,
optimizer states and all else a checkpoint carries are left behind. Nothing is written unless the network loads.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vidact.errors import ModelError, RunError
from vidact.models import build, cache, caffe2, pickles, weights, zoo
from vidact.models.zoo import localizers
from vidact.records import LocalizerSpec, Spec

_TRUSTED = Path(__file__).with_name("_trusted.py")  # a program of its own: importing it would load torch


def name_of(file: str, entries: Mapping[str, zoo.Weights[Any]]) -> str:
    """The weights a file is, by its place in the cache or by what it is called. ModelError where that is not clear."""
    here = Path(file).resolve()
    if here.parent.name in entries and here.parent.parent == (cache.root() / "weights").resolve():
        return here.parent.name
    found = [name for name, entry in entries.items() if cache.file_name(entry) == here.name and not entry.bundled]
    if len(found) == 1:
        return found[0]
    raise ModelError(
        f"{file!r} does not say which weights it holds"
        + (f"; files of {', '.join(found)} are called like this" if found else ""),
        hint="name them with --model (`vidact models list` shows the names)",
    )


def convert(file: str, out: str | None = None, *, name: str | None = None, trust: bool = False) -> tuple[Path, str]:
    """Write the file again; returns where (default: beside it, in the cache ``NAME.safetensors``) and as which model.

    ``name`` as for ``load_model``; ``trust`` runs the code in a pickle. Raises ModelError; RunError when the disk
    refuses.
    """
    if not os.path.isfile(file):
        raise ModelError(f"there is no file {file!r}", hint="`vidact models path NAME` says where a model's file lies")
    inside = None if trust else weights.read_spec(file) or weights.read_localizer_spec(file)
    entries: dict[str, zoo.Weights[Any]] = {**zoo.ENTRIES, **localizers.ENTRIES}
    name = name or (inside.name if inside else name_of(file, entries))
    target = Path(out) if out else _beside(Path(file), name)
    if target.suffix != ".safetensors":
        raise ModelError(f"{str(target)!r} does not end in .safetensors", hint="give -o a name that does")
    if target.exists() and target.resolve() == Path(file).resolve():
        raise ModelError(f"{file!r} is a safetensors file already", hint="give the new file another name with -o")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".convert") as folder:
            if trust:
                file = _trusting(file, folder)
            _write(file, target, name)
    except OSError as error:
        told = f"cannot write {str(target)!r}: {error.strerror or error}"
        raise RunError(told, hint="make room there or choose another place with -o") from error
    return target, name


def _beside(file: Path, name: str) -> Path:
    if file.resolve().parent == (cache.root() / "weights" / name).resolve():
        return file.with_name(f"{name}.safetensors")
    return file.with_suffix(".safetensors")


def _trusting(file: str, folder: str) -> str:
    """The tensors of a pickle that needs to run code, read by a process of its own."""
    target = os.path.join(folder, "tensors.pth")
    command = [sys.executable, "-I", str(_TRUSTED), os.path.abspath(file), target]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, stdin=subprocess.DEVNULL)
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise ModelError(f"{file!r} could not be read: {told}", hint="copy or download it again")
    return target


def _write(file: str, target: Path, name: str) -> None:
    loaded = caffe2.read_blobs(file) if pickles.is_caffe2(file) else weights.read_tensors(file)
    state = build.unwrap(loaded, file)
    spec: Spec | LocalizerSpec
    if build.is_localizer(name, file):
        from vidact.models import localizer

        spec = build.describe_localizer(name, file).spec
        spec = localizer.of_state(spec, state, file).spec
    else:
        spec = build.describe(name, file).spec
        spec = build.of_state(spec, state, file)[1]
    # What a note says about the published file no longer holds; tensors that share memory are parted.
    spec = dataclasses.replace(spec, notes="" if pickles.is_caffe2(file) else spec.notes)
    weights.write_checkpoint(target, {key: value.clone() for key, value in state.items()}, spec)
