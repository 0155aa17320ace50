"""README keeps step with what it describes: the model table with the zoo, its commands with the program."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from vidact.models import zoo

README = Path(__file__).resolve().parents[1] / "README.md"
SMALL = ("ucf101", "hmdb51", "diving48")
BEGIN, END = "<!-- models -->\n", "<!-- /models -->"


def table() -> str:
    """The families of the zoo as Markdown. `python tests/test_readme.py` writes it into README."""
    lines = ["| family | `--model`, for example | sets of weights | best published top-1 | licence | weights |"]
    lines.append("|---|---|---|---|---|---|")
    families: dict[str, list[zoo.Entry]] = {}
    for entry in zoo.ENTRIES.values():
        families.setdefault(entry.family, []).append(entry)
    for family, entries in families.items():
        # Scores on the small data sets say less: they stand only where there is no other.
        large = [entry for entry in entries if not entry.spec.name.partition(".")[2].startswith(SMALL)]
        scored = large if any(map(top1, large)) else entries
        best = max(((top1(entry), entry.spec.name.partition(".")[2]) for entry in scored), default=(0.0, ""))
        licences = ", ".join(sorted({entry.spec.licence for entry in entries}))
        score = f"{best[0]:.1f} % ({best[1].partition('-')[0]})" if best[0] else "–"
        where = ", ".join(dict.fromkeys(word for word in map(kind, entries) if word))
        example = entries[0].spec.name
        lines.append(f"| {family} | `{example}` | {len(entries)} | {score} | {licences} | {where} |")
    return "\n".join(lines) + "\n"


def kind(entry: zoo.Entry) -> str:
    """How the file of a set of weights gets here."""
    if entry.spec.streams:
        parts = [zoo.ENTRIES[name].source for name in entry.spec.streams]
        return "to download" if all(parts) else "one by `--backbone-checkpoint NAME=FILE`"
    if entry.bundled:
        return "bundled, the default" if entry.spec.name == zoo.DEFAULT else "bundled"
    return "to download" if entry.source else "by hand" if entry.where else ""


def top1(entry: zoo.Entry) -> float:
    """Published top-1 in percent, 0 where none is."""
    published = entry.spec.published
    return (published.top1 or 0.0) if published else 0.0


def test_the_model_table_is_the_zoo() -> None:
    text = README.read_text()
    shown = text[text.index(BEGIN) + len(BEGIN) : text.index(END)]
    assert shown == table(), "run `python tests/test_readme.py`"


def test_the_places_readme_names_exist() -> None:
    """Every local path README points to exists."""
    text = README.read_text()
    for path in ("examples/videos", "examples/camera_motion", "tests/benchmarks", "CHANGELOG.md"):
        assert path in text and (README.parent / path).exists()


def test_the_commands_readme_shows_are_understood() -> None:
    """Every option that stands behind `vidact classify` or `vidact show` in README is in that command's help."""
    for command in (["classify"], ["show"], ["train", "recognizer"], ["models", "list"], ["models", "convert"]):
        called = [sys.executable, "-m", "vidact", *command, "--help"]
        shown = subprocess.run(called, capture_output=True, text=True, check=True, env={"COLUMNS": "200"}).stdout
        prefix = "vidact " + " ".join(command) + " "
        for line in README.read_text().splitlines():
            if prefix in line:
                for word in line.split(prefix, 1)[1].split("#")[0].split():
                    assert not word.startswith("--") or word in shown, f"{command} has no {word}"


if __name__ == "__main__":
    text = README.read_text()
    README.write_text(text[: text.index(BEGIN) + len(BEGIN)] + table() + text[text.index(END) :])
