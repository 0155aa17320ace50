"""The run folder: begin, resume, refuse, withdraw, commit, sum up."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from store.made import SETTINGS, check_rows, files, outcome

from vidact.errors import RunError
from vidact.records import Outcome, RunSettings, Video
from vidact.store import lock, manifest, rundir
from vidact.store.reader import Reader
from vidact.store.rundir import RunDir

FORMATS = ("parquet", "jsonl")


def fill(out: Path, *outcomes: Outcome, settings: RunSettings = SETTINGS, exit: str = "done") -> None:
    run = RunDir.open(str(out), settings)
    for one in outcomes:
        run.add(one)
    run.close({"exit": exit})


def whole(out: Path, expected: dict[str, int]) -> None:
    """The folder holds exactly these videos and attempts, for our reader and for one that reads the plain files."""
    reader = Reader(str(out))
    assert sorted(reader.videos().column("video").to_pylist()) == sorted(expected)
    check_rows(reader.detail().to_pylist(), expected)


@pytest.mark.parametrize("form", FORMATS)
def test_a_run_and_its_files(tmp_path: Path, form: str) -> None:
    out = tmp_path / "deep" / "out"
    fill(out, outcome("b.mp4"), outcome("a.mp4"), settings=replace(SETTINGS, format=form))
    part = f"part-000001.{form}"
    assert files(out) == {".lock", "run.json", "summary.json", f"videos/{part}", f"predictions/{part}"}
    whole(out, {"a.mp4": 1, "b.mp4": 1})
    rows = Reader(str(out)).detail().to_pylist()
    assert [row["video"] for row in rows] == ["a.mp4"] * 8 + ["b.mp4"] * 8
    assert [row["clip"] for row in rows[:8]] == [0, 0, 1, 1, 2, 2, None, None]
    assert [row["rank"] for row in rows[:8]] == [1, 2] * 4


def test_segments_have_their_own_table(tmp_path: Path) -> None:
    columns = {"start": [5.0, 1.0], "end": [6.0, 2.0], "label_id": [0, 1], "label": ["x", "y"], "score": [0.9, 0.8]}
    one = outcome("a.mp4")
    fill(tmp_path, Outcome(one.video, one.row, columns), settings=replace(SETTINGS, command="localize"))
    assert [row["start"] for row in Reader(str(tmp_path)).detail().to_pylist()] == [1.0, 5.0]
    assert (tmp_path / "segments" / "part-000001.parquet").exists()
    counts = json.loads((tmp_path / "summary.json").read_text())["run"]
    assert counts["labels"] == [{"label": "x", "segments": 1}, {"label": "y", "segments": 1}]


@pytest.mark.parametrize("form", FORMATS)
def test_resume_knows_what_is_done(tmp_path: Path, form: str) -> None:
    settings = replace(SETTINGS, format=form)
    fill(tmp_path, outcome("a.mp4", attempt=2), outcome("b.mp4", status="failed"), settings=settings)
    run = RunDir.open(str(tmp_path), settings)
    done = run.committed()
    assert set(done) == {"a.mp4", "b.mp4"}
    assert done["a.mp4"][:-1] == (1002, 10**18 + 2, "ok", None, 2)
    assert (done["b.mp4"].status, done["b.mp4"].error) == ("failed", "NoVideoStream")
    assert done["a.mp4"].unchanged(outcome("a.mp4", attempt=2).video)
    assert not done["a.mp4"].unchanged(outcome("a.mp4", attempt=3).video)
    run.release()


def test_a_file_dated_beyond_int64_is_not_changed_for_ever(tmp_path: Path) -> None:
    video = Video("a.mp4", "/videos/a.mp4", 7, 2**64)
    fill(tmp_path, Outcome(video, {"status": "ok", "size": 7, "mtime_ns": 2**64}, {}))
    run = RunDir.open(str(tmp_path), SETTINGS)
    assert run.committed()["a.mp4"].unchanged(video)
    run.release()


def test_a_missing_file_stays_missing(tmp_path: Path) -> None:
    video = Video("a.mp4", "/videos/a.mp4", None, None)
    row = {"status": "failed", "error": "NotFound", "size": None, "mtime_ns": None}
    fill(tmp_path, Outcome(video, row, {}))
    run = RunDir.open(str(tmp_path), SETTINGS)
    assert run.committed()["a.mp4"].unchanged(video)
    assert not run.committed()["a.mp4"].unchanged(Video("a.mp4", "/videos/a.mp4", 7, 8))
    run.release()


def test_forty_thousand_videos(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    one = outcome("x")
    names = [f"folder/{number:05d} ä.mp4" for number in range(40_000)]
    for number, name in enumerate(names):
        video = Video(name, name, number, number * 10)
        status = "failed" if number % 7 == 0 else "ok"
        run.add(Outcome(video, {**one.row, "size": number, "mtime_ns": number * 10, "status": status}, {}))
    run.close({})
    run = RunDir.open(str(tmp_path), SETTINGS)
    done = run.committed()
    assert len(done) == 40_000
    assert all(done[name].unchanged(Video(name, name, number, number * 10)) for number, name in enumerate(names))
    assert [name for name in names if done[name].status == "failed"] == names[::7]
    assert len(os.listdir(tmp_path / "videos")) <= 40_000 / rundir.PART_VIDEOS
    gone = names[100:39_000:1000]
    run.withdraw(gone)
    run.release()
    assert set(names) - set(Reader(str(tmp_path)).committed()) == set(gone)


def test_commit_by_count_time_and_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(rundir.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 3)
    run = RunDir.open(str(tmp_path), SETTINGS)
    for name in "ab":
        run.add(outcome(name))
    assert not Reader(str(tmp_path)).committed()
    run.add(outcome("c"))
    assert set(Reader(str(tmp_path)).committed()) == set("abc") == set(run.committed())
    run.add(outcome("d"))
    clock[0] = 29.0
    run.tick()
    assert "d" not in Reader(str(tmp_path)).committed()
    clock[0] = 30.0
    run.tick()
    assert "d" in Reader(str(tmp_path)).committed()
    monkeypatch.setattr(rundir, "COMMIT_BYTES", 1000)
    run.add(outcome("e", clips=50))
    assert "e" in Reader(str(tmp_path)).committed()
    run.release()


@pytest.mark.parametrize("form", FORMATS)
def test_many_nights_make_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    monkeypatch.setattr(rundir, "PART_VIDEOS", 8)
    settings = replace(SETTINGS, format=form)
    for night in range(12):
        fill(tmp_path, outcome(f"{night}-a"), outcome(f"{night}-b"), settings=settings)
    assert sorted(os.listdir(tmp_path / "videos")) == [f"part-{n:06d}.{form}" for n in (1, 2, 3)]
    assert sorted(os.listdir(tmp_path / "predictions")) == sorted(os.listdir(tmp_path / "videos"))
    whole(tmp_path, {f"{night}-{letter}": 1 for night in range(12) for letter in "ab"})


def test_a_part_full_of_rows_does_not_grow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rundir, "PART_ROWS", 8)
    fill(tmp_path, outcome("a"))
    fill(tmp_path, outcome("b"))
    assert len(os.listdir(tmp_path / "videos")) == 2
    whole(tmp_path, {"a": 1, "b": 1})


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("size", [1, 2, 100])
def test_withdraw_and_do_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, size: int) -> None:
    monkeypatch.setattr(rundir, "PART_VIDEOS", size)
    monkeypatch.setattr(rundir, "COMMIT_VIDEOS", 1)
    settings = replace(SETTINGS, format=form)
    fill(tmp_path, *(outcome(name) for name in "abcde"), settings=settings)
    run = RunDir.open(str(tmp_path), settings)
    run.withdraw(["a", "c", "e", "never seen"])
    whole(tmp_path, {"b": 1, "d": 1})
    assert set(run.committed()) == {"b", "d"}
    run.add(outcome("c", attempt=2))
    run.close({})
    whole(tmp_path, {"b": 1, "c": 2, "d": 1})


def test_withdraw_reaches_what_is_not_committed_yet(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    run.add(outcome("a"))
    run.withdraw(["a"])
    run.close({})
    assert not Reader(str(tmp_path)).committed()


def test_one_row_a_video_whatever_the_caller_forgets(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"), outcome("a", attempt=2))
    whole(tmp_path, {"a": 2})
    fill(tmp_path, outcome("a", attempt=3))
    whole(tmp_path, {"a": 3})


def test_rows_that_do_not_fit_cost_no_other_video(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    bad = outcome("bad")
    run.add(outcome("a"))
    run.add(Outcome(bad.video, bad.row, {**bad.details, "colour": ["red"] * 8}))
    with pytest.raises(ValueError, match="colour"):
        run.close({})
    whole(tmp_path, {"a": 1})


def test_a_full_disk_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    run.add(outcome("a"))
    run.commit()
    run.add(outcome("b"))
    real = os.replace

    def full(source: str, target: str) -> None:
        if "videos" in target:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(RunError, match="No space left"):
            run.commit()
        whole(tmp_path, {"a": 1})
        with pytest.raises(RunError, match="No space left"):
            run.close({})
    whole(tmp_path, {"a": 1})
    fill(tmp_path, outcome("b", attempt=2))
    whole(tmp_path, {"a": 1, "b": 2})


@pytest.mark.parametrize("form", FORMATS)
def test_a_small_disk(small_disk: Path, form: str) -> None:
    settings = replace(SETTINGS, format=form)
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"x" * (100 << 10))
    run = RunDir.open(str(small_disk / "out"), settings)
    committed: dict[str, int] = {}
    with pytest.raises(RunError, match="No space left") as caught:
        for number in range(1000):
            run.add(outcome(f"{number:04d}-{os.urandom(2000).hex()}"))
            run.commit()
            committed = dict.fromkeys(run.committed(), 1)
    assert "free some space" in caught.value.hint
    run.release()
    assert committed
    whole(small_disk / "out", committed)
    ballast.unlink()
    fill(small_disk / "out", outcome("last"), settings=settings)
    whole(small_disk / "out", {**committed, "last": 1})


def test_a_commit_that_failed_may_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.replace
    for failing in range(1, 5):
        out = tmp_path / str(failing)
        fill(out, outcome("a"), outcome("b"))
        run = RunDir.open(str(out), SETTINGS)
        run.add(outcome("b", attempt=2))  # withdrawn from its part: two files; then committed: two more
        calls = [0]

        def interrupted(source: str, target: str, calls: list[int] = calls, failing: int = failing) -> None:
            calls[0] += 1
            if calls[0] == failing:
                raise KeyboardInterrupt
            real(source, target)

        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run.commit()
        run.close({})
        whole(out, {"a": 1, "b": 2})


def test_a_withdrawal_that_was_interrupted_is_not_undone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS)
    for name in "ab":
        run.add(outcome(name))
        run.commit()

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    real = rundir.write_part
    writes = iter([real, interrupted])
    with monkeypatch.context() as patch:
        patch.setattr(rundir, "write_part", lambda *args: next(writes)(*args))
        with pytest.raises(KeyboardInterrupt):
            run.withdraw(["b"])
    run.add(outcome("c"))
    run.close({})
    whole(tmp_path, {"a": 1, "c": 1})


def test_metadata_of_parts(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    for table in ("videos", "predictions"):
        found = pq.read_schema(tmp_path / table / "part-000001.parquet").metadata
        wanted = {b"schema": b"1", b"model": b"tiny.test", b"weights_hash": b"0123", b"protocol": b"clips"}
        assert wanted.items() <= found.items()


# --- what a folder may be -----------------------------------------------------------------------------------------


def test_other_settings_are_named(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    before = files(tmp_path)
    with pytest.raises(RunError) as caught:
        RunDir.open(str(tmp_path), replace(SETTINGS, top_k=3, model="other.test", device="cuda", workers=9))
    assert 'model: "tiny.test" → "other.test"; top_k: 5 → 3' in caught.value.message
    assert "device" not in caught.value.message and "workers" not in caught.value.message
    assert "--overwrite" in caught.value.hint and "-o" in caught.value.hint
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


# --- one writer ---------------------------------------------------------------------------------------------------

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


# --- run.json and summary.json ------------------------------------------------------------------------------------


def test_run_json_tells_the_history(tmp_path: Path) -> None:
    run = RunDir.open(str(tmp_path), SETTINGS, facts={"command_line": ["vidact", "classify", "a\udcff.mp4"]})
    run.add(outcome("a"))
    run.close({"exit": "done"})
    RunDir.open(str(tmp_path), replace(SETTINGS, workers=7)).release()
    content = json.loads((tmp_path / "run.json").read_text())
    assert content["schema"] == 1 and content["created"] and content["vidact"]
    assert content["frozen"] == json.loads(json.dumps(SETTINGS.frozen_values()))
    first, second = content["invocations"]
    assert first["command_line"][-1] == "a\udcff.mp4"
    assert first["videos"] == {"total": 1, "ok": 1, "partial": 0, "failed": 0} and first["exit"] == "done"
    assert first["versions"]["pyarrow"] and first["settings"]["workers"] == 1
    assert second["settings"]["workers"] == 7 and "finished" not in second


def test_a_long_history_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_KEPT", 3)
    for number in range(6):
        RunDir.open(str(tmp_path), SETTINGS, facts={"number": number}).close({})
    kept = json.loads((tmp_path / "run.json").read_text())["invocations"]
    assert [record["number"] for record in kept] == [0, 4, 5]


def test_old_invocations_keep_a_few_of_their_inputs(tmp_path: Path) -> None:
    names = tuple(f"{number}.mp4" for number in range(1000))
    facts = {"command_line": ["vidact", "classify", *names]}
    for _ in range(3):
        RunDir.open(str(tmp_path), replace(SETTINGS, inputs=names), facts=facts).close({})
    first, _, last = json.loads((tmp_path / "run.json").read_text())["invocations"]
    assert len(first["command_line"]) == len(first["settings"]["inputs"]) == 51
    assert first["settings"]["inputs"][-1] == "… and 950 more"
    assert last["command_line"] == facts["command_line"] and last["settings"]["inputs"] == list(names)


def test_summary_counts_this_invocation_and_the_whole_run(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"), outcome("b", status="failed"), outcome("c", status="failed"))
    fill(tmp_path, outcome("d", status="partial"), outcome("b", attempt=2), exit="max-runtime")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["exit"] == "max-runtime" and summary["schema"] == 1 and summary["versions"]["python"]
    assert summary["started"] <= summary["finished"]
    now, run = summary["invocation"], summary["run"]
    assert now["videos"] == {"total": 2, "ok": 1, "partial": 1, "failed": 0} and now["failures"] == []
    assert run["videos"] == {"total": 4, "ok": 2, "partial": 1, "failed": 1}
    message = "nothing to see in c"
    assert run["failures"] == [{"error": "NoVideoStream", "videos": 1, "example": "c", "message": message}]
    assert run["labels"] == [{"label": f"{name} 1", "clips": 3, "videos": 1} for name in "abd"]
    assert (run["clips"], run["seconds_video"], run["seconds_model"]) == (9, 18.0, 1.0)
    assert (now["clips"], now["seconds_video"]) == (6, 12.0)
    assert now["wall"] >= 0 and "realtime" in now


def test_summary_of_an_idle_run_and_after_a_kill(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    fill(tmp_path)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["run"]["videos"]["total"] == 1 and summary["invocation"]["videos"]["total"] == 0
    killed = RunDir.open(str(tmp_path), SETTINGS)
    killed.add(outcome("b"))
    killed.commit()
    killed.release()
    fill(tmp_path)
    assert json.loads((tmp_path / "summary.json").read_text())["run"]["videos"]["total"] == 2
