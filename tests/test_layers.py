"""The plan of the house: imports point down only, and every foreign package has one home."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "vidact"

# Top to bottom; units on one line do not import each other.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"bench", "doctor"},
    {"engine", "training", "evaluation", "report", "export"},
    {"tasks"},
    {"models", "video", "store"},
    {"records"},
    {"errors"},
)
LEVEL = {unit: level for level, units in enumerate(LAYERS) for unit in units}
HOMES = {
    "typer": {"cli"},
    "rich": {"cli"},
    "tqdm": {"cli"},
    "ray": {"engine/pool.py"},
    "decord": {"video"},
    "av": {"video"},
    "pyarrow": {"store"},
    "jsonlines": {"store"},
    "click": set(),
}
FILES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every module a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.update({node.module, *(f"{node.module}.{alias.name}" for alias in node.names)})
        elif isinstance(node, ast.ImportFrom):
            pytest.fail(f"{path}: relative import; write the whole name")
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    unit = path.relative_to(PACKAGE).with_suffix("").parts[0]
    if unit == "__init__":
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] != "vidact" or len(parts) == 1 or parts[1] not in LEVEL or parts[1] == unit:
            continue
        assert LEVEL[unit] < LEVEL[parts[1]], f"{unit} may not import {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_foreign_packages_stay_at_home(path: Path) -> None:
    inside = path.relative_to(PACKAGE).as_posix()
    for module in imports(path):
        homes = HOMES.get(module.split(".")[0])
        if homes is not None:
            assert any(inside == home or inside.startswith(home + "/") for home in homes), f"{inside} imports {module}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_file_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_the_map_names_every_room() -> None:
    told = ast.get_docstring(ast.parse((PACKAGE / "__init__.py").read_text())) or ""
    rooms = {line.split()[0] for line in told.splitlines() if line.startswith("    ") and line[4] != " "}
    assert rooms == {path.relative_to(PACKAGE).with_suffix("").parts[0] for path in FILES} - {
        "__init__",
        "__main__",
        "assets",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_stay_small(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 450
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.end_lineno is not None:
            assert node.end_lineno - node.lineno < 70, f"{path}: {node.name}"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models", "list"], ["classify", "--help"]])
def test_quick_commands_import_nothing_heavy(arguments: list[str]) -> None:
    heavy = ("torch", "ray", "decord", "av", "pyarrow", "transformers", "cv2", "numpy")
    code = (
        "import sys\n"
        "from vidact.cli.app import main\n"
        f"sys.argv = ['vidact', *{arguments!r}]\n"
        "try:\n    main()\n"
        "except SystemExit as stop:\n    assert not stop.code, stop.code\n"
        f"print('HEAVY', [name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip().splitlines()[-1] == "HEAVY []"
