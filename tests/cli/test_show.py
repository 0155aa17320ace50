"""``vidact show`` and ``vidact status`` on run folders written by the store."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import asdict
from pathlib import Path

import pytest
from cli.conftest import Vidact
from cli.runs import make_run, outcome
from cli.test_evaluate_localization import run_of

from vidact.records import Contract, RunSettings
from vidact.store.rundir import RunDir

HOSTILE = "[red]x[/red] \x1b[31m\n\u202e.mp4"
SHOWN = "[red]x[/red] \\x1b[31m\\x0a\\u202e.mp4"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Five videos: two days, one failed, one partial, one with a name that means harm."""
    outcomes = [
        outcome("day1/a.mp4", label=1),
        outcome("day1/b.mp4", label=0, clips=3),
        outcome("day2/c.mp4", status="partial"),
        outcome("day2/broken.mp4", status="failed"),
        outcome(HOSTILE, label=2),
    ]
    return make_run(tmp_path / "out", outcomes, found=7)


def lines(text: str) -> list[list[str]]:
    return [line.split("\t") for line in text.splitlines()]


def test_a_line_a_video(vidact: Vidact, run: Path) -> None:
    done = vidact("show", run)
    assert (done.code, done.err) == (0, "")
    rows = {row[0]: row[1:] for row in lines(done.out)}
    assert len(rows) == 5
    assert rows["day1/a.mp4"] == ["pan-left", "0.750", "4.000", "2", "ok"]
    assert rows["day2/c.mp4"][-1] == "partial"
    assert rows["day2/broken.mp4"] == ["", "", "", "", "failed: NoVideoStream"]
    assert rows[SHOWN][0] == "pan-right"


def test_a_line_a_clip(vidact: Vidact, run: Path) -> None:
    rows = lines(vidact("show", run, "--clips").out)
    assert len(rows) == 2 + 3 + 2 + 2
    assert ["day1/b.mp4", "2.000", "4.000", "static", "0.750"] in rows


def test_a_video_of_segments_has_all_of_them_counted(vidact: Vidact, tmp_path: Path) -> None:
    found = [("a", 0.0, 1.0, "cut", 0.5), ("a", 2.0, 3.0, "cut", 0.9), ("a", 4.0, 5.0, "pan", 0.6)]
    run = run_of(tmp_path / "out", found)
    assert lines(vidact("show", run).out) == [["deep/a.mp4", "cut", "0.900", "", "3", "2", "ok"]]
    assert [row[1:6] for row in lines(vidact("show", run, "--top", 2).out)][1] == ["pan", "0.600", "", "3", "1"]


def test_the_best_labels_of_each(vidact: Vidact, run: Path) -> None:
    rows = lines(vidact("show", run, "--top", 2, "--video", "day1/a.mp4").out)
    assert [row[3:5] for row in rows] == [["pan-left", "0.750"], ["pan-right", "0.250"]] * 2


@pytest.mark.parametrize("name", [HOSTILE, SHOWN, "[[]red*", "*\x1b*"])
def test_a_video_by_any_of_its_names(vidact: Vidact, run: Path, name: str) -> None:
    rows = lines(vidact("show", run, "--video", name).out)
    assert [row[0] for row in rows] == [SHOWN] * 2


def test_a_video_by_its_shortened_name(vidact: Vidact, run: Path) -> None:
    assert {row[0] for row in lines(vidact("show", run, "--video", "da…/b.mp4").out)} == {"day1/b.mp4"}
    assert vidact("show", run, "--video", "…/x.mp4").code == 2


def test_a_name_that_is_not_utf8(vidact: Vidact, tmp_path: Path) -> None:
    run = make_run(tmp_path / "out", [outcome("a\\xff\\\\.mp4")])
    assert len(lines(vidact("show", run, "--video", "a\udcff\\.mp4").out)) == 2
    assert len(lines(vidact("show", run, "--video", "a\\xff\\\\.mp4").out)) == 2


def test_a_failed_video_by_name_says_why(vidact: Vidact, run: Path) -> None:
    done = vidact("show", run, "--video", "day2/broken.mp4")
    assert lines(done.out) == [["day2/broken.mp4", "NoVideoStream", "index", "there is no picture in it"]]


def test_filters(vidact: Vidact, run: Path) -> None:
    assert [row[0] for row in lines(vidact("show", run, "--label", "pan-left").out)] == ["day1/a.mp4"]
    assert {row[0] for row in lines(vidact("show", run, "--clips", "--label", "static").out)} == {
        "day1/b.mp4",
        "day2/c.mp4",
    }
    assert len(lines(vidact("show", run, "--min-score", 0.75).out)) == 4
    assert vidact("show", run, "--min-score", 0.751).out == ""
    assert [row[0] for row in lines(vidact("show", run, "--status", "partial").out)] == ["day2/c.mp4"]
    assert [row[0] for row in lines(vidact("show", run, "--status", "failed").out)] == ["day2/broken.mp4"]
    assert {row[0] for row in lines(vidact("show", run, "--clips", "--status", "partial").out)} == {"day2/c.mp4"}
    assert {row[0] for row in lines(vidact("show", run, "--video", "day1/*").out)} == {"day1/a.mp4", "day1/b.mp4"}


def test_limit_says_that_there_is_more(vidact: Vidact, run: Path) -> None:
    done = vidact("show", run, "--limit", 2)
    assert len(lines(done.out)) == 2
    assert "first 2" in done.err
    assert vidact("show", run, "--limit", 5).err == ""


def test_nothing_matches(vidact: Vidact, run: Path, tmp_path: Path) -> None:
    done = vidact("show", run, "--label", "cut")
    assert (done.code, done.out, done.err) == (
        0,
        "",
        "Nothing matches. No label that was found is called 'cut'; there are pan-left, pan-right, static.\n",
    )
    assert "called 'pan-lft'; did you mean 'pan-left'" in vidact("show", run, "--label", "pan-lft").err
    done = vidact("show", run, "--label", "static", "--min-score", 0.9)
    assert done.err == "Nothing matches. That is about videos as a whole; --clips looks at every clip.\n"
    done = vidact("show", make_run(tmp_path / "empty", []))
    assert (done.code, done.out, done.err) == (0, "", "This run has no videos yet.\n")
    done = vidact("show", run, "--video", "nothing")
    assert (done.code, done.out) == (2, "")
    assert "nothing" in done.err


def test_json(vidact: Vidact, run: Path) -> None:
    done = vidact("show", run, "--json")
    assert done.out.isascii()
    assert "\x1b" not in done.out
    rows = {row["video"]: row for row in map(json.loads, done.out.splitlines())}
    assert rows[HOSTILE]["score"] == 0.75
    assert rows["day2/broken.mp4"]["label"] is None
    clips = [json.loads(line) for line in vidact("show", run, "--clips", "--json").out.splitlines()]
    assert clips[0].keys() == {"video", "clip", "start", "end", "rank", "label_id", "label", "score", "padded"}


def test_status(vidact: Vidact, run: Path) -> None:
    done = vidact("status", run)
    assert (done.code, done.err) == (0, "")
    assert "4 done (1 of them partial), 1 failed, 2 left" in done.out
    assert "1\tNoVideoStream\tthere is no picture in it" in done.out
    assert "\n\nmodel\tattention-r3d-10.camera-motion-1\nroot\t/videos\ncommand\tclassify\n" in done.out
    assert "not running" in done.out
    assert f"weights_hash\t{'0' * 12}\n" in done.out and "schema" not in done.out


def test_status_tells_a_contract_in_words(vidact: Vidact, tmp_path: Path) -> None:
    contract = json.dumps(asdict(Contract(24.0, 32, 8, 16.0, 198, "some-net", weights="sha256:" + "a" * 64)))
    settings = RunSettings(command="features", model="some-net", checkpoint="/some/file.pth", contract=contract)
    RunDir.open(str(tmp_path / "f"), settings, facts={"found": 0, "todo": 0, "rows": 0}).close({"exit": "done"})
    said = vidact("status", "f").out
    assert "model\tsome-net\ncheckpoint\t/some/file.pth\n" in said
    assert f"contract\tsome-net, sha256:{'a' * 12}, 24 fps, 32-frame windows at stride 8" in said
    assert json.loads(vidact("status", "f", "--json").out)["settings"]["contract"] == contract


def test_status_never_proposes_to_overwrite(vidact: Vidact, run: Path) -> None:
    manifest = run / "run.json"
    content = json.loads(manifest.read_text())
    content["invocations"][-1]["command_line"] = ["vidact", "classify", "my videos", "--overwrite", "-o", "out"]
    manifest.write_text(json.dumps(content))
    said = vidact("status", run).out
    assert "go on: vidact classify 'my videos' -o out\n" in said
    assert "vidact classify 'my videos' -o out --retry-failed\n" in said
    assert "--overwrite" not in said


def test_status_for_programs(vidact: Vidact, run: Path) -> None:
    facts = json.loads(vidact("status", run, "--json").out)
    assert facts["videos"] == {"found": 7, "done": 4, "partial": 1, "failed": 1, "left": 2}
    assert facts["running"] is None
    assert facts["failures"][0]["error"] == "NoVideoStream"


def test_status_while_a_run_writes(vidact: Vidact, run: Path) -> None:
    from vidact.store.lock import Lock

    lock = Lock(str(run))
    try:
        done = vidact("status", run)
        assert f"running: process {os.getpid()} on {socket.gethostname()}" in done.out
        assert "go on" not in done.out
        assert vidact("show", run).code == 0
    finally:
        lock.release()
