"""``vidact status OUT``: how far a run is, why videos failed, with which settings, and who works on it now.

Reads what is committed and what the last invocation noted; never looks for videos again and never touches the lock.
"""

from __future__ import annotations

import json as jsonlib
from collections import Counter
from typing import Any

from vidact.cli import _options as options
from vidact.cli import _report
from vidact.cli._output import Output

FIRST = ("model", "checkpoint", "root", "command", "device", "dtype", "format", "backbone", "features")
"""The settings people ask for, in this order."""


def status(out: options.Out, json: options.Json = False) -> None:
    """Tell how much of a run is done, failed and left, with which settings, and whether it is running."""
    from vidact.store.lock import holder
    from vidact.store.reader import Reader

    facts = _facts(out, Reader(out), holder(out))
    sink = Output()
    if json:
        sink.json([facts])
    else:
        _print(sink, facts)


def _facts(out: str, reader: Any, holder: dict[str, Any] | None) -> dict[str, Any]:
    videos = reader.videos(["status", "error", "error_message"])
    statuses = Counter(videos.column("status").to_pylist())
    causes: dict[str, dict[str, Any]] = {}
    rows = zip(*(videos.column(name).to_pylist() for name in ("status", "error", "error_message")), strict=True)
    for state, error, message in rows:
        if state == "failed":
            causes.setdefault(error, {"error": error, "videos": 0, "message": message})["videos"] += 1
    last = reader.run["invocations"][-1] if reader.run.get("invocations") else {}
    done, failed = statuses["ok"] + statuses["partial"], statuses["failed"]
    found = last.get("found")
    summary = _report.summary(out)
    if summary.get("finished") == last.get("finished") and "left" in summary:
        left = summary["left"]
    elif "todo" in last and "rows" in last:  # it is running, or was killed
        left = max(0, last["todo"] - max(0, videos.num_rows - last["rows"]))
    else:
        left = None
    return {
        "out": out,
        "running": holder,
        "videos": {
            "found": found,
            "done": done,
            "partial": statuses["partial"],
            "failed": failed,
            "left": left,
        },
        "failures": sorted(causes.values(), key=lambda cause: -cause["videos"]),
        "settings": reader.settings,
        "last": last,
    }


def _print(out: Output, facts: dict[str, Any]) -> None:
    videos, last, running = facts["videos"], facts["last"], facts["running"]
    partial = f" ({videos['partial']} of them partial)" if videos["partial"] else ""
    left = "unknown" if videos["left"] is None else videos["left"]
    out.heading(f"{facts['out']}: {videos['done']} done{partial}, {videos['failed']} failed, {left} left")
    if running is not None:
        out.text(f"running: process {running['pid']} on {running['host']}, since {running['since']}")
    elif last.get("finished"):
        out.text(f"not running; the last invocation ended {last['finished']}: {last.get('exit') or 'done'}")
    elif last:
        out.text(f"not running; the last invocation, begun {last['started']}, did not come to its end")
    if facts["failures"]:
        out.text()
        out.table(
            ("failed", "cause", "for example"),
            ((cause["videos"], cause["error"], cause["message"]) for cause in facts["failures"]),
            right=("failed",),
            fold=("for example",),
        )
    out.text()
    out.table(
        ("setting", "value"),
        _settings({**last.get("settings", {}), **facts["settings"]}, facts["settings"]),
        fold=("value",),
    )
    for line in _next(facts):
        out.text(line)


def _settings(settings: dict[str, Any], frozen: dict[str, Any]) -> list[tuple[str, Any]]:
    """What people ask for, of the last invocation, then what is ``frozen``; hashes and contracts in short.

    Settings that say nothing are left out. ``--json`` has all of them, whole.
    """
    from vidact.records import Contract
    from vidact.store.features import shown

    rows = []
    for name in [*FIRST, *(name for name in frozen if name not in FIRST)]:
        value = settings.get(name)
        if name == "root" and value == "":
            value = "none in common: videos are named by their whole paths"
        if value in (None, "", []) or name == "schema":
            continue
        if name == "contract":
            value = shown(Contract(**jsonlib.loads(value)))
        rows.append((name, value[:12] if name.endswith("_hash") else value))
    return rows


def _next(facts: dict[str, Any]) -> list[str]:
    command = facts["last"].get("command_line")
    if facts["running"] is not None or not command:
        return []
    lines = [f"go on: {_report.again(arguments=command[1:])}"] if facts["videos"]["left"] else []
    if facts["videos"]["failed"]:
        lines.append(f"try what failed again: {_report.again('--retry-failed', arguments=command[1:])}")
    return ["", *lines] if lines else []
