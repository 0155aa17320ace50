"""The private folder: short, private, and gone when its owner is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from vidact.engine.scratch import SETTLE, Scratch


def test_it_is_private_and_short_and_goes_away(tmp_path: Path) -> None:
    scratch = Scratch(str(tmp_path))
    assert os.stat(scratch.path).st_mode & 0o777 == 0o700
    assert os.path.basename(scratch.path).startswith(f"va-{os.getuid()}-")
    assert len(os.path.basename(scratch.path)) < 25
    Path(scratch.path, "inside").write_text("x")
    scratch.close()
    scratch.close()
    assert not os.path.exists(scratch.path)


def test_what_killed_runs_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    alive = Scratch(str(tmp_path))
    code = f"from vidact.engine.scratch import Scratch; import os; print(Scratch({str(tmp_path)!r}).path); os._exit(9)"
    killed = Path(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip())
    fresh, other = tmp_path / f"va-{os.getuid()}-fresh", tmp_path / "va-99999-theirs"
    link, file = tmp_path / f"va-{os.getuid()}-link", tmp_path / f"va-{os.getuid()}-file"
    precious = tmp_path / "precious"
    for folder in (fresh, other, precious):
        folder.mkdir()
    link.symlink_to(precious)
    file.touch()
    assert killed.is_dir()
    old = killed.stat().st_mtime - 2 * SETTLE
    for path in (killed, other, precious, file, Path(alive.path)):
        os.utime(path, (old, old))

    Scratch(str(tmp_path)).close()
    assert not killed.exists()
    assert all(path.exists() for path in (Path(alive.path), fresh, other, link, file, precious))
    alive.close()
