"""Which folders a run takes, which it refuses untouched, and that one run at a time holds it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from store.made import SETTINGS, files, fill, outcome, whole

from vidact.errors import RunError
from vidact.store import lock, rundir
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir


def test_other_settings_are_named(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    before = files(tmp_path)
    with pytest.raises(RunError) as caught:
        RunDir.open(str(tmp_path), replace(SETTINGS, top_k=3, model="other.test", device="cuda", workers=9))
    assert 'model: "tiny.test" → "other.test"; top_k: 5 → 3' in caught.value.message
    assert "device" not in caught.value.message and "workers" not in caught.value.message
    assert "--overwrite, which deletes the results" in caught.value.hint and "-o" in caught.value.hint
    assert not caught.value.busy
    assert files(tmp_path) == before
    fill(tmp_path, outcome("b"), settings=replace(SETTINGS, device="cuda", workers=9))
    whole(tmp_path, {"a": 1, "b": 1})


def test_a_difference_that_no_terminal_can_show(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    with pytest.raises(RunError) as caught:
        RunDir.open(str(tmp_path), replace(SETTINGS, root="/videos\udcff\x1b[31m"))
    assert 'root: "/videos" → "/videos\\udcff\\u001b[31m"' in caught.value.message


def test_the_root_may_move_when_it_is_named(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    moved = replace(SETTINGS, root="/mnt/videos")
    with pytest.raises(RunError, match='root: "/videos" → "/mnt/videos"') as caught:
        RunDir.open(str(tmp_path), moved)
    assert "--root" in caught.value.hint
    RunDir.open(str(tmp_path), moved, new_root=True).close({})
    assert Reader(str(tmp_path)).settings["root"] == "/mnt/videos"
    assert set(Reader(str(tmp_path)).committed()) == {"a"}


def test_a_setting_the_run_does_not_know_yet_counts_as_its_default(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    run = json.loads((tmp_path / "run.json").read_text())
    del run["frozen"]["views"], run["frozen"]["top_k"]
    (tmp_path / "run.json").write_text(json.dumps(run))
    fill(tmp_path, outcome("b"))
    with pytest.raises(RunError, match="top_k: 5 → 3"):
        RunDir.open(str(tmp_path), replace(SETTINGS, top_k=3))


def test_a_newer_folder_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    run = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(run | {"schema": 2, "vidact": "9.0"}))
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}
    for overwrite in (False, True):
        with pytest.raises(RunError, match=r"vidact 9\.0 with schema 2"):
            RunDir.open(str(tmp_path), SETTINGS, overwrite=overwrite)
    with pytest.raises(RunError, match="schema 2"):
        Reader(str(tmp_path))
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("name", ["holiday.mp4", "videos/part-1.mp4", "run.json", "predictions"])
def test_a_folder_of_somebody_else_is_not_touched(tmp_path: Path, name: str, overwrite: bool) -> None:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text('{"steps": 3}')
    with pytest.raises(RunError, match="-o") as caught:
        try:
            RunDir.open(str(tmp_path), SETTINGS, overwrite=overwrite)
        except RunError as error:
            raise RunError(error.message + error.hint) from error
    assert not caught.value.busy
    assert files(tmp_path) == {name}
    assert (tmp_path / name).read_text() == '{"steps": 3}'


@pytest.mark.parametrize("content", ["", "{", "\udcff"])
def test_parts_without_a_readable_run_file(tmp_path: Path, content: str) -> None:
    fill(tmp_path, outcome("a"))
    if content:
        (tmp_path / "run.json").write_bytes(content.encode("utf-8", "surrogateescape"))
    else:
        (tmp_path / "run.json").unlink()
    with pytest.raises(RunError, match=r"run\.json") as caught:
        RunDir.open(str(tmp_path), SETTINGS)
    assert "--overwrite" in caught.value.hint
    RunDir.open(str(tmp_path), SETTINGS, overwrite=True).close({})
    assert not Reader(str(tmp_path)).committed()


def test_overwrite_deletes_our_files_only(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    theirs = {"notes.txt", "videos/part-1.mp4", "videos/part-000001.parquet.bak", "predictions/mine.parquet"}
    for name in theirs:
        (tmp_path / name).write_text("mine")
    RunDir.open(str(tmp_path), replace(SETTINGS, top_k=1, format="jsonl"), overwrite=True).release()
    assert files(tmp_path) == theirs | {".lock", "run.json"}
    assert Reader(str(tmp_path)).settings["top_k"] == 1


def test_overwrite_forgets_the_old_counts(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    RunDir.open(str(tmp_path), SETTINGS, overwrite=True).close({})
    assert json.loads((tmp_path / "summary.json").read_text())["run"]["videos"]["total"] == 0


def test_a_foreign_file_beside_a_run_is_fine(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    (tmp_path / "report.html").write_text("mine")
    fill(tmp_path, outcome("b"))
    assert (tmp_path / "report.html").exists()


def test_out_is_a_file_or_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for out, message in (("file", "not a folder"), ("file/out", "not a folder"), ("link", "link to nothing")):
        with pytest.raises(RunError, match=message):
            RunDir.open(str(tmp_path / out), SETTINGS)
    assert (tmp_path / "file").read_text() == "mine"


def test_out_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(os, "mkdir", refuse)
    with pytest.raises(RunError, match="Permission denied"):
        RunDir.open(str(tmp_path / "out"), SETTINGS)


def test_out_inside_the_input_is_fine(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"")
    fill(tmp_path / "vidact-out", outcome("a.mp4"))
    whole(tmp_path / "vidact-out", {"a.mp4": 1})
    assert (tmp_path / "a.mp4").exists()


def test_what_was_left_by_a_killed_start_is_no_stranger(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("{}")
    (tmp_path / "videos").mkdir()
    (tmp_path / ".run.json.0123456789abcdef.tmp").write_text("{")
    fill(tmp_path, outcome("a"))
    assert files(tmp_path) == {
        ".lock", "run.json", "summary.json", "videos/part-000001.parquet", "predictions/part-000001.parquet"
    }  # fmt: skip


def test_a_missing_detail_part_is_named(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    (tmp_path / "predictions" / "part-000001.parquet").unlink()
    with pytest.raises(RunError, match=r"predictions/part-000001.*is missing"):
        RunDir.open(str(tmp_path), SETTINGS)
    (tmp_path / "videos" / "part-000001.parquet").unlink()
    fill(tmp_path, outcome("a", attempt=2))
    whole(tmp_path, {"a": 2})


HOLD = """
import sys
from store.made import SETTINGS
from vidact.store.rundir import RunDir
run = RunDir.open(sys.argv[1], SETTINGS)
print("held", flush=True)
sys.stdin.read()
run.close({"exit": "done"})
"""


def holding(out: Path) -> subprocess.Popen[bytes]:
    paths = os.pathsep.join([str(Path(rundir.__file__).parents[2]), str(Path(__file__).parents[1])])
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"held\n"
    return process


def test_two_runs_on_one_folder(tmp_path: Path) -> None:
    with holding(tmp_path) as other:
        with pytest.raises(RunError, match=f"process {other.pid} on ") as caught:
            RunDir.open(str(tmp_path), SETTINGS)
        assert caught.value.busy
        who = lock.holder(str(tmp_path))
        assert who is not None and who["pid"] == other.pid
        with pytest.raises(RunError) as caught:
            RunDir.open(str(tmp_path), replace(SETTINGS, top_k=1), overwrite=True)
        assert caught.value.busy, "a run at work is not overwritten"
        other.kill()
    assert lock.holder(str(tmp_path)) is None
    fill(tmp_path, outcome("a"))
    assert lock.holder(str(tmp_path)) is None


def test_the_lock_is_free_after_close_and_after_a_refusal(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    run = RunDir.open(str(tmp_path), SETTINGS)
    with pytest.raises(RunError) as caught:
        RunDir.open(str(tmp_path), SETTINGS)
    assert caught.value.busy
    run.release()
    run.release()
    with pytest.raises(RunError, match="top_k"):
        RunDir.open(str(tmp_path), replace(SETTINGS, top_k=1))
    fill(tmp_path, outcome("b"))


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(RunError, match="has no locks") as caught:
        RunDir.open(str(tmp_path), SETTINGS)
    assert not caught.value.busy and "-o" in caught.value.hint
