"""``vidact classify`` around the engine, which is a stand-in: what it is asked, what is said, which exit code."""

from __future__ import annotations

import io
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Classify, Vidact
from cli.runs import outcome

from vidact.cli import _report
from vidact.cli._output import Output
from vidact.engine import request as requests
from vidact.engine import run as engine
from vidact.models import zoo
from vidact.store.reader import Reader


def test_a_video_from_elsewhere_joins_the_run_and_is_told_so(
    classify: Classify, vidact: Vidact, checkpoint: Path, tmp_path: Path
) -> None:
    assert "holds a run" not in classify().err
    (tmp_path / "d.mp4").write_bytes(b"not a video")
    for said in (f"1 video outside {tmp_path / 'videos'}: 1 to do\n", f"outside {tmp_path / 'videos'}: 1 done\n"):
        done = vidact("classify", tmp_path / "d.mp4", "--checkpoint", checkpoint)
        assert said in done.err
        told = f"vidact-out holds a run of {tmp_path / 'videos'}; this one is added to it (-o names another folder).\n"
        assert (told in done.err) == ("to do" in said)
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows == 4


def test_inputs_without_a_common_folder_keep_their_paths_and_it_is_said(
    vidact: Vidact, videos: Path, checkpoint: Path, scored: list[Any], tmp_path: Path
) -> None:
    both = ("classify", videos, "/dev/null", "--checkpoint", checkpoint)
    told = "4 videos without a common folder, named by their whole paths"
    assert f"videos\t{told}\n" in vidact(*both, "--dry-run").out
    assert f"{told}: 4 to do\n" in vidact(*both).err
    assert str(videos / "a.mp4") in Reader("vidact-out").videos().column("video").to_pylist()
    again = vidact("classify", videos / "a.mp4", "--checkpoint", checkpoint)
    assert "1 video without a common folder, named by their whole paths: 1 done\n" in again.err
    assert "root\tnone in common: videos are named by their whole paths\n" in vidact("status", "vidact-out").out


def test_a_dry_run_of_features_says_what_the_cache_has(
    vidact: Vidact, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VIDACT_CACHE", str(tmp_path / "cache"))
    for command, table in (("localize", "segments"), ("features", "features")):
        said = vidact(command, videos, "--dry-run").out
        assert f"cache\t{tmp_path / 'cache' / 'features'}, with those of 0 of the 3 to do\n" in said
        assert f"tables videos and {table}), a new run\n" in said
    assert not (tmp_path / "cache").exists()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() if path.is_file() else b"" for path in sorted(folder.rglob("*"))}


def test_a_run_from_start_to_end(classify: Classify, tmp_path: Path) -> None:
    done = classify()
    assert done.code == 0
    assert "static\t3\t6\n" in done.out
    assert re.search(r"^3 of 3 videos done in \d:\d\d, 6 clips, ", done.out, re.MULTILINE)
    assert "Results: vidact-out\n" in done.out
    assert "3 videos in" in done.err
    assert re.search(r"^Next:  .*vidact show vidact-out$", done.err, re.MULTILINE)
    assert Reader(str(tmp_path / "vidact-out")).videos().num_rows == 3
    for said in (done.out, done.err):
        assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f\r]*", said.replace("\t", "")), "no control characters"


def test_some_failed(classify: Classify, videos: Path) -> None:
    (videos / "bad.mp4").write_bytes(b"")
    done = classify()
    assert done.code == 5
    assert "1\tNoVideoStream\tbad.mp4: there is no picture in it\n" in done.out
    assert "3 of 4 videos done" in done.out
    assert "--retry-failed" in done.err
    done = classify()
    assert done.code == 0, "it failed before, not in this invocation"
    assert "3 done, 1 failed before" in done.err
    assert classify("--retry-failed").code == 5


def test_a_rerun_does_only_what_is_new_or_changed(classify: Classify, videos: Path, scored: list[Any]) -> None:
    classify("-o", "out")
    (videos / "new.mp4").write_bytes(b"")
    (videos / "a.mp4").write_bytes(b"longer than before")
    done = classify("-o", "out")
    assert [video.video for video in scored[1].todo.videos] == ["a.mp4", "new.mp4"]
    assert "4 videos" in done.err
    assert "2 to do, 1 changed, 2 done" in done.err


def test_nothing_to_do(classify: Classify) -> None:
    classify()
    done = classify()
    assert done.code == 0
    assert "Nothing to do." in done.out


def test_dry_run_makes_nothing(
    classify: Classify, tmp_path: Path, scored: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tree(tmp_path)
    done = classify("--dry-run", "--log-file", "log.txt")
    assert (done.code, scored, tree(tmp_path)) == (0, [], before)
    assert "Dry run: nothing was started and nothing written.\n" in done.out
    assert "to do\t3 videos (0.0 kB): 3 new\n" in done.out and "done already\tnone\n" in done.out
    assert "would write\tto vidact-out (parquet, tables videos and predictions), a new run\n" in done.out
    assert "to do: b.mkv" in done.out
    classify()
    before = tree(tmp_path)
    done = classify("--dry-run")
    assert (done.code, tree(tmp_path)) == (0, before)
    assert "done already\t3, left as they are\n" in done.out and "to do\tnothing\n" in done.out
    assert "would start\tnothing\n" in done.out
    assert "going on with the run there" in done.out
    assert classify("--dry-run", "--top-k", 3).code == 4


def test_other_settings_stop_and_are_named(classify: Classify) -> None:
    classify()
    done = classify("--top-k", 3)
    assert (done.code, done.out) == (4, "")
    assert "top_k: 5 → 3" in done.err
    assert classify("--top-k", 3, "--overwrite").code == 0


def test_overwrite_is_not_taken_from_the_environment(classify: Classify, monkeypatch: pytest.MonkeyPatch) -> None:
    classify()
    for name in ("VIDACT_OVERWRITE", "VIDACT_CLASSIFY_OVERWRITE"):
        monkeypatch.setenv(name, "1")
    assert classify("--top-k", 3).code == 4


def test_overwrite_leaves_a_strangers_folder_alone(classify: Classify, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    done = classify("-o", "mine", "--overwrite")
    assert done.code == 4
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"


def test_options_from_the_environment(classify: Classify, scored: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDACT_CLASSIFY_TOP_K", "2")
    monkeypatch.setenv("VIDACT_CLASSIFY_OUTPUT", "elsewhere")
    monkeypatch.setenv("VIDACT_CLASSIFY_CLIP_SECONDS", "3")
    monkeypatch.setenv("VIDACT_DECODER", "pyav")
    assert "Results: elsewhere" in classify("--clip-seconds", 4).out
    settings = scored[0].settings
    assert (settings.top_k, settings.clip_seconds, settings.decoder) == (2, 4.0, "pyav")
    monkeypatch.setenv("VIDACT_CLASSIFY_DECODER", "auto")
    classify("-o", "third")
    assert scored[1].settings.decoder == "auto", "the command's own variable comes before the machine's"
    monkeypatch.setenv("VIDACT_CLASSIFY_DECODER", "vlc")
    assert classify("-o", "fourth").code == 2


def test_a_machine_wide_variable_is_checked_too(classify: Classify, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VIDACT_DEVICE", "toaster")
    done = classify()
    assert done.code == 2
    assert "toaster" in done.err


@pytest.mark.parametrize(
    "wrong",
    [
        ["--clip-seconds", "0"],
        ["--clip-seconds", "nan"],
        ["--stride-seconds", "-1"],
        ["--views", "10"],
        ["--views", "2x1", "--stride-seconds", "1"],
        ["--protocol", "book"],
        ["--top-k", "0"],
        ["--threshold", "1.5"],
        ["--threshold", "nan"],
        ["--device", "tpu"],
        ["--dtype", "int8"],
        ["--batch-size", "0"],
        ["--workers", "-1"],
        ["--decoders", "0"],
        ["--decoder", "vlc"],
        ["--format", "csv"],
        ["--limit", "0"],
        ["--max-runtime", "soon"],
        ["--log-file", "no/such/folder/log.txt"],
    ],
)
def test_a_wrong_value_is_refused_before_anything_happens(
    classify: Classify, tmp_path: Path, scored: list[Any], wrong: list[str]
) -> None:
    before = tree(tmp_path)
    done = classify(*wrong)
    assert (done.code, done.out, scored) == (2, "", [])
    assert done.err.startswith("Error: ")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["nowhere", "*.mp4", "empty"])
def test_nothing_found(vidact: Vidact, checkpoint: Path, tmp_path: Path, scored: list[Any], path: str) -> None:
    (tmp_path / "empty").mkdir()
    done = vidact("classify", path, "--checkpoint", checkpoint)
    assert (done.code, done.out, scored) == (2, "", [])
    assert repr(path) in done.err
    assert not (tmp_path / "vidact-out").exists()
    done = vidact("classify", path, "--checkpoint", checkpoint, "--allow-empty")
    assert (done.code, scored) == (0, [])


def test_lists(
    vidact: Vidact,
    checkpoint: Path,
    videos: Path,
    tmp_path: Path,
    scored: list[engine.Prepared],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "list.csv").write_text("path,label\nvideos/a.mp4,x\nvideos/gone.mp4,y\n")
    stdin = io.TextIOWrapper(io.BytesIO(os.fsencode(videos / "b.mkv") + b"\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert vidact("classify", "list.csv", "-", videos / "c.mov", "--checkpoint", checkpoint).code == 0
    found = {video.video: video.error for video in scored[0].found.videos}
    assert found.keys() == {"a.mp4", "b.mkv", "c.mov", "gone.mp4"}
    assert [name for name, error in found.items() if error] == ["gone.mp4"]


def test_an_empty_list(vidact: Vidact, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("\n")
    assert vidact("classify", "list.txt").code == 2
    assert vidact("classify", "list.txt", "--allow-empty").code == 0


def test_the_default_says_what_it_knows(
    vidact: Vidact, videos: Path, scored: list[Any], monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    from vidact.models.build import Chosen

    chosen = Chosen(zoo.ENTRIES[zoo.DEFAULT].spec, str(checkpoint), "0" * 64)
    monkeypatch.setattr(requests, "describe", lambda *_: chosen)
    first = vidact("classify", videos).err.splitlines()[0]
    assert "not human actions" in first
    assert "vidact models list" in first
    assert "human actions" not in vidact("classify", videos, "--model", zoo.DEFAULT).err
    assert vidact("classify", videos, "--quiet").err == ""


def test_unknown_model_and_missing_checkpoint(vidact: Vidact, videos: Path, tmp_path: Path) -> None:
    assert vidact("classify", videos, "--model", "no-such-model").code == 3
    done = vidact("classify", videos, "--checkpoint", "no-such-file.safetensors")
    assert done.code == 3
    assert "no-such-file.safetensors" in done.err
    assert not (tmp_path / "vidact-out").exists()


def test_quiet_says_nothing_but_errors(classify: Classify, videos: Path) -> None:
    assert classify("--quiet") == (0, "", "")
    (videos / "bad.mp4").write_bytes(b"")
    assert classify("--quiet") == (5, "", "")
    done = classify("--quiet", "--top-k", 3)
    assert done.code == 4
    assert done.err.startswith("Error: ")


class Bytes(io.TextIOWrapper):
    """A standard output that keeps its bytes."""


def test_jsonl_and_nothing_else_on_stdout(classify: Classify, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", Bytes(raw, write_through=True))
    done = classify("-o", "-")
    rows = [json.loads(line) for line in raw.getvalue().splitlines()]
    assert done.code == 0
    assert [row["video"] for row in rows if row["table"] == "videos"] == ["a.mp4", "b.mkv", "c.mov"]
    assert "3 of 3 videos done" in done.err
    assert not (tmp_path / "-").exists()
    assert not (tmp_path / "vidact-out").exists()


def test_no_standard_input(vidact: Vidact, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)  # as Python leaves it when the shell closed it: <&-
    done = vidact("classify", "-")
    assert done.code == 2
    assert "there is no standard input" in done.err


def test_options_to_add_come_before_the_names(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["classify", "--overwrite", "--", "--retry-failed", "--overwrite"]
    said = _report.again("--retry-failed", arguments=words)
    assert said.endswith("classify --retry-failed -- --retry-failed --overwrite")


def test_log_file(classify: Classify, videos: Path, tmp_path: Path) -> None:
    (videos / "bad.mp4").write_bytes(b"")
    assert classify("--quiet", "--log-file", "log.txt") == (5, "", "")
    log = (tmp_path / "log.txt").read_text()
    assert "ok a.mp4: 2 clips, 4.00 s" in log
    assert "failed bad.mp4: NoVideoStream: there is no picture in it" in log
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in log.splitlines())


def test_hostile_names(classify: Classify, videos: Path) -> None:
    names = [
        "[red]x[b].mp4",
        "\x1b[31mred\x1b[0m.mp4",
        "two\nlines.mp4",
        "\udcff.mp4",
        "bad\x9b\u202e.mp4",
        "é👍 '\".mp4",
    ]
    for name in names:
        (videos / name).write_bytes(b"")
    for arguments in (["--dry-run"], []):
        done = classify(*arguments)
        assert done.code == (0 if arguments else 5)
        for line in (done.out + done.err).replace("\t", "").splitlines():
            assert line.isprintable(), line
    assert "\\x1b[31mred" in classify("--dry-run", "--overwrite").out


@pytest.mark.parametrize(("labels", "last"), [(11, "label 10\t1"), (13, "and 3 more labels")])
def test_a_single_label_is_not_hidden(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], labels: int, last: str
) -> None:
    found = [{"label": f"label {number}", "segments": 1} for number in range(labels)]
    (tmp_path / "summary.json").write_text(json.dumps({"invocation": {"labels": found}}))
    _report._tables(Output(), str(tmp_path))
    assert capsys.readouterr().out.splitlines()[-1] == last


@pytest.mark.parametrize(("clips", "said"), [(1, "1 clip, 4.00 s"), (2, "2 clips, 4.00 s"), (None, "0 clips, 4.00 s")])
def test_a_video_in_the_log(clips: int | None, said: str) -> None:
    made = outcome("a.mp4")
    made.row["clips"] = clips
    assert _report.outcome(made) == f"ok a.mp4: {said}"
