"""``run.json``: what a run is, what may not change during its life, and who worked on it when.

Reads and compares without pyarrow, so that a command can ask a folder for its root and settings before anything else.
"""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import datetime, timezone
from typing import Any

from vidact import __version__
from vidact.errors import RunError
from vidact.records import RunSettings
from vidact.store import lock
from vidact.store.atomic import TEMPORARY, disk_errors, sync_folder, write_json

NAME = "run.json"
SUMMARY = "summary.json"
DETAIL = {"classify": "predictions", "localize": "segments", "features": "features"}
"""Command → the name of the table, and folder, that holds its rows."""
FOLDERS = ("videos", *DETAIL.values())
SCHEMA = 1
"""Version of the tables (see schemas.py); here because a newer folder is refused before pyarrow is loaded."""

_PART = re.compile(r"part-\d{6,}\.(?:parquet|jsonl)")
_KEPT = 200
_SHOWN = 50
_PACKAGES = ("numpy", "pyarrow", "torch", "ray", "av", "decord")


def load_run(out: str) -> dict[str, Any] | None:
    """The content of ``out/run.json``; None when there is none yet.

    RunError when ``out`` is no folder, when the file is not a run of ours or damaged, or its schema is newer than ours.
    """
    path = os.path.join(out, NAME)
    try:
        with open(path, "rb") as file:
            run = json.loads(file.read())
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise RunError(f"{out!r} is not a folder", hint="choose another folder with -o") from None
    except OSError as error:
        raise RunError(f"cannot read {path!r}: {error.strerror}", hint="choose another folder with -o") from error
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path!r} is damaged: {error}", hint="choose another folder with -o, or --overwrite") from error
    if not _is_run(run):
        raise RunError(f"{path!r} was not written by vidact", hint="choose another folder with -o")
    if not isinstance(run.get("schema"), int) or run["schema"] > SCHEMA:
        raise RunError(
            f"{out!r} was written by vidact {run['vidact']} with schema {run.get('schema')}; this is {__version__}, "
            f"which knows schema {SCHEMA}",
            hint="upgrade vidact, or choose another folder with -o",
        )
    whole: dict[str, Any] = run
    return whole


def inspect(out: str, *, overwrite: bool = False) -> dict[str, Any] | None:
    """The run in ``out``, or None when a run may begin there: no such folder, or an empty one.

    Changes nothing. RunError for a file, a folder with other things in it, parts without a readable run.json (unless
    ``overwrite``), and whatever ``load_run`` refuses.
    """
    try:
        names = os.listdir(out)
    except FileNotFoundError:
        if os.path.islink(out):
            raise RunError(f"{out!r} is a link to nothing", hint="choose another folder with -o") from None
        return None
    except NotADirectoryError:
        raise RunError(f"{out!r} is not a folder", hint="choose another folder with -o") from None
    except OSError as error:
        raise RunError(f"cannot read {out!r}: {error.strerror}", hint="choose another folder with -o") from error
    ours = own_parts(out)
    try:
        run = load_run(out)
    except RunError:
        if not (overwrite and ours and _damaged(out)):
            raise
        return None
    if run is not None:
        return run
    if ours and overwrite:
        return None
    if ours:
        hint = "choose another folder with -o, or delete these results with --overwrite"
        raise RunError(f"{out!r} holds parts of a run but no {NAME}", hint=hint)
    others = sorted(name for name in names if not _ignored(out, name))
    if others:
        raise RunError(
            f"{out!r} is not empty and no run of vidact: it holds {others[0]!r}"
            + (f" and {len(others) - 1} more" if len(others) > 1 else ""),
            hint="choose an empty or new folder with -o",
        )
    return None


def own_parts(out: str) -> list[str]:
    """Paths of the parts in ``out``, those of ``videos`` first: without them the others count for nothing."""
    paths = []
    for folder in FOLDERS:
        try:
            names = os.listdir(os.path.join(out, folder))
        except OSError:
            continue
        paths += [os.path.join(out, folder, name) for name in sorted(names) if _PART.fullmatch(name)]
    return paths


def differences(run: Mapping[str, Any], settings: RunSettings, *, new_root: bool = False) -> list[str]:
    """Each frozen setting in which ``settings`` differ from ``run``, as ``name: old → new``.

    A setting the run does not know (it is older) counts as its default. With ``new_root`` the root may differ.
    """
    old = dict(run["frozen"])
    new = _plain(settings.frozen_values())
    defaults = _plain({field.name: field.default for field in fields(RunSettings)})
    if old["command"] != new["command"]:  # then the others have no meaning side by side
        return [f"command: {_shown(old['command'])} → {_shown(new['command'])}"]
    found = []
    for name in sorted(set(old) | set(new)):
        before = old.get(name, defaults.get(name))
        after = new.get(name)
        if before == after or (name == "root" and new_root):
            continue
        if name == "contract" and before and after:
            found += _inside(name, json.loads(before), json.loads(after))
        else:
            found.append(f"{name}: {_shown(before)} → {_shown(after)}")
    return found


def _inside(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs inside a setting that is a table of its own."""
    return [
        f"{name}.{key}: {_shown(before.get(key))} → {_shown(after.get(key))}"
        for key in sorted({*before, *after})
        if before.get(key) != after.get(key)
    ]


def refuse_differences(out: str, run: Mapping[str, Any], settings: RunSettings, *, new_root: bool = False) -> None:
    """RunError naming every difference between ``settings`` and the ``run`` in ``out``; nothing when there is none."""
    found = differences(run, settings, new_root=new_root)
    if not found or not own_parts(out):  # nothing was ever committed: there is nothing the settings could contradict
        return
    before, now = run["frozen"]["command"], settings.command
    if before != now:
        raise RunError(
            f"{out!r} holds a run of `vidact {before}`, and this is `vidact {now}`",
            hint="choose another folder with -o, or begin anew there with --overwrite, which deletes the results in it",
        )
    hint = (
        "repeat the old settings, choose another folder with -o, or begin anew with --overwrite, which deletes the "
        "results there"
    )
    if any(text.startswith("root: ") for text in found):
        hint += "; if the same videos stand elsewhere now, name the new place with --root"
    raise RunError(
        f"{out!r} holds a run with other settings: {'; '.join(found)}",
        hint=hint,
    )


def begin(run: Mapping[str, Any] | None, settings: RunSettings, facts: Mapping[str, Any]) -> dict[str, Any]:
    """The content of run.json for an invocation that starts now, on ``run`` or, when None, on a new folder."""
    now = _now()
    made = dict(run or {"vidact": __version__, "schema": SCHEMA, "created": now, "invocations": []})
    made["frozen"] = _plain(settings.frozen_values())
    free = {name: value for name, value in asdict(settings).items() if name not in made["frozen"]}
    record = {
        "started": now,
        "vidact": __version__,
        "command_line": list(sys.argv),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "versions": _versions(),
        "settings": free,
        **facts,
    }
    made["invocations"] = [*map(_shortened, _recent(made["invocations"])), _plain(record)]
    return made


def end(run: dict[str, Any], counts: Mapping[str, Any]) -> None:
    """Note in the last invocation of ``run`` that it ended now, and with what."""
    run["invocations"][-1] |= {"finished": _now(), **_plain(counts)}


def save(out: str, run: Mapping[str, Any]) -> None:
    """Write ``run`` to ``out/run.json``, atomically."""
    write_json(os.path.join(out, NAME), run)


def load_summary(path: str) -> dict[str, Any] | None:
    """The counts of the whole run in an earlier summary.json; None when there are none to rely on."""
    try:
        with open(path, "rb") as file:
            counts = json.loads(file.read())["run"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return counts if isinstance(counts, dict) else None


def delete_run(out: str) -> None:
    """Delete the summary and the parts of the run in ``out``, and no file that vidact did not make.

    ``run.json`` stays until it is replaced, so that a deletion cut short leaves a smaller run, never parts of unknown
    settings.
    """
    parts = own_parts(out)
    for path in [os.path.join(out, SUMMARY), *parts]:
        with disk_errors(path), suppress(FileNotFoundError):
            os.unlink(path)
    for folder in sorted({os.path.dirname(path) for path in parts}):  # or a power cut brings old rows into the new run
        with disk_errors(folder):
            sync_folder(folder)


def _ignored(out: str, name: str) -> bool:
    path = os.path.join(out, name)
    if name in FOLDERS:
        try:
            return all(TEMPORARY.fullmatch(inner) for inner in os.listdir(path))
        except OSError:
            return False
    return name == lock.NAME or TEMPORARY.fullmatch(name) is not None


def _damaged(out: str) -> bool:
    try:
        with open(os.path.join(out, NAME), "rb") as file:
            json.loads(file.read())
    except (ValueError, RecursionError):
        return True
    except OSError:
        return False
    return False


def _is_run(run: Any) -> bool:
    """Whether this has the shape of a run.json; every other part of it is only shown, never relied on."""
    if not isinstance(run, dict) or "vidact" not in run:
        return False
    frozen, invocations = run.get("frozen"), run.get("invocations")
    return (
        isinstance(frozen, dict)
        and frozen.get("command") in DETAIL
        and isinstance(invocations, list)
        and all(isinstance(one, dict) for one in invocations)
    )


def _recent(invocations: list[Any]) -> list[Any]:
    # A cron job that runs every minute for years must not make run.json grow: the first, and the latest.
    return invocations if len(invocations) < _KEPT else [invocations[0], *invocations[2 - _KEPT :]]


def _shortened(invocation: dict[str, Any]) -> dict[str, Any]:
    # Nor must one that names every file on its command line. Only the latest invocation is kept in full.
    settings = invocation.get("settings", {})
    return {
        **invocation,
        "command_line": _first(invocation.get("command_line", [])),
        "settings": {**settings, "inputs": _first(settings.get("inputs", []))},
    }


def _first(items: list[str]) -> list[str]:
    return items if len(items) <= _SHOWN + 1 else [*items[:_SHOWN], f"… and {len(items) - _SHOWN} more"]


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {"python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
