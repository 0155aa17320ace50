"""Where weights lie on this machine, and from where they can be had. Never imports torch, never opens a connection.

Below the cache folder every set of weights has a folder of its own, ``weights/NAME/``, with the file as published and,
beside it, a note on where it came from (``FILE.json``). What ``vidact models convert`` makes of a file there is called
``NAME.safetensors`` and is preferred. Any such folder served over HTTP is a mirror.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from vidact.errors import MissingWeights, ModelError
from vidact.models import pickles, weights
from vidact.models.download import Wanted
from vidact.models.zoo.entry import Weights

HUB = "https://huggingface.co"


def root() -> Path:
    """The cache folder: ``VIDACT_CACHE``, else ``vidact`` in the platform's."""
    own = os.environ.get("VIDACT_CACHE")
    if own:
        return Path(own)
    base = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return Path(os.environ.get("XDG_CACHE_HOME") or base) / "vidact"


def folder(entry: Weights[Any]) -> Path:
    """Where the files of a set of weights lie."""
    return root() / "weights" / str(entry.spec.name)


def offline() -> bool:
    """Whether the user forbade every connection (``VIDACT_OFFLINE``)."""
    return os.environ.get("VIDACT_OFFLINE", "").lower() not in ("", "0", "false", "no")


def address(entry: Weights[Any]) -> str:
    """Where the file is published; empty where a program cannot get it."""
    kind, _, rest = entry.source.partition(":")
    if kind == "hub":
        owner, repository, file = rest.split("/", 2)
        endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
        return f"{endpoint}/{owner}/{repository}/resolve/main/{file}"
    return "" if kind == "bundled" else entry.source


def addresses(entry: Weights[Any]) -> list[str]:
    """Where to try, in this order: the mirrors in ``VIDACT_MIRROR`` (separated by spaces), then the publisher."""
    published = address(entry)
    if not published:
        return []
    path = f"{quote(entry.spec.name)}/{quote(file_name(entry))}"
    mirrors = os.environ.get("VIDACT_MIRROR", "").split()
    for mirror in mirrors:
        if not mirror.startswith(("https://", "http://")):
            raise ModelError(f"VIDACT_MIRROR names {mirror!r}, which is no address", hint="begin it with https://")
    return [*(f"{mirror.rstrip('/')}/{path}" for mirror in mirrors), published]


def file_name(entry: Weights[Any]) -> str:
    """What the published file is called. Empty where nobody said; never taken from a server."""
    return unquote(entry.source.partition("?")[0].rpartition("/")[2])


def cached(entry: Weights[Any]) -> Path | None:
    """The file of these weights in the cache: the converted one if there is one, else the published one."""
    here = folder(entry)
    names = [f"{entry.spec.name}.safetensors", file_name(entry)]
    if not file_name(entry):  # got by hand, and called what its publisher liked
        names += sorted(path.name for path in here.glob("[!.]*") if path.suffix != ".json")
    return next((here / name for name in names if name and (here / name).is_file()), None)


def streams(entry: Weights[Any]) -> list[Weights[Any]]:
    """The sets of weights a composite is made of; empty for all else."""
    from vidact.models import zoo

    return [zoo.ENTRIES[name] for name in getattr(entry.spec, "streams", ())]


def status(entry: Weights[Any]) -> str:
    """``bundled``, ``cached``, ``to download``, ``by hand`` (a person gets it) or ``no file`` (none is published)."""
    parts = [status(part) for part in streams(entry)]
    if parts:
        return next((state for state in ("no file", "by hand", "to download") if state in parts), "cached")
    if entry.bundled:
        return "bundled"
    if cached(entry):
        return "cached"
    if entry.source:
        return "to download"
    return "by hand" if entry.where else "no file"


def note(file: Path) -> Mapping[str, Any]:
    """What was noted when a file was downloaded (``url``, ``sha256``, ``size``, ``etag``); empty for other files."""
    try:
        found = json.loads(file.with_name(file.name + ".json").read_text(encoding="utf-8"))
        same = isinstance(found, dict) and found.get("size") == file.stat().st_size
    except (OSError, ValueError):
        return {}
    return found if same else {}


def wanted(entry: Weights[Any]) -> Wanted:
    """What to download to have these weights in the cache."""
    named = [*os.environ.get("VIDACT_MIRROR", "").split(), os.environ.get("HF_ENDPOINT", "")]
    target = folder(entry) / file_name(entry)
    return Wanted(
        addresses(entry),
        target,
        entry.sha256,
        entry.size,
        plain=[text for text in named if text],
        check=lambda file: weights.check(file, called=target.name),
    )


def file_of(entry: Weights[Any]) -> str:
    """The path of the file of these weights on this machine. Raises ModelError; MissingWeights if a download helps."""
    if entry.bundled:
        file = weights.bundled(entry.bundled)
        if not file.exists():
            raise ModelError(
                f"the bundled weights {entry.bundled!r} are not in this installation",
                hint="install vidact again: `pip install --force-reinstall vidact`",
            )
        return str(file)
    found = cached(entry)
    if found is None:
        raise missing(entry)
    if pickles.is_caffe2(found):
        raise ModelError(
            f"{str(found)!r} is a Caffe2 file, which vidact does not run as it is",
            hint=f"vidact models convert {shlex.quote(str(found))}",
        )
    return str(found)


def hash_of(entry: Weights[Any], file: str) -> str:
    """The SHA-256 of the file of these weights: as noted when it was downloaded, else computed now."""
    if entry.bundled:
        return entry.sha256
    return str(note(Path(file)).get("sha256") or weights.file_hash(file))


def missing(entry: Weights[Any]) -> ModelError:
    """The error for weights that are not here: how they get here, and what works without them."""
    name, url = entry.spec.name, address(entry)
    where = f"put it at '{folder(entry) / (file_name(entry) or 'FILE')}' or give it to the run with --checkpoint FILE"
    without = "without any download work the bundled weights (`vidact models list --cached`) and files of your own"
    if not url:
        how = f"get it ({entry.where}) and {where}" if entry.where else "give a file of your own with --checkpoint FILE"
        return ModelError(
            f"the weights {name} are not on this machine, and vidact cannot download them", hint=f"{how}; {without}"
        )
    if offline():
        return ModelError(
            f"the weights {name} are not on this machine, and VIDACT_OFFLINE forbids to download them",
            hint=f"get {url} on another machine and {where}; {without}",
        )
    return MissingWeights(
        f"the weights {name} are not on this machine",
        name=name,
        hint=f"`vidact models pull {name}` downloads them; or get {url} and {where}; {without}",
    )
