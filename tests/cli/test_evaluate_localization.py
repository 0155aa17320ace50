"""``vidact evaluate localization``: runs and submissions judged, and everything that was not counted said."""

from __future__ import annotations

import json
import typing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cli.conftest import Vidact
from cli.runs import make_run, outcome

from vidact.cli.evaluate_localization import Protocol
from vidact.evaluation.benchmarks import BENCHMARKS
from vidact.records import Outcome, RunSettings, Video
from vidact.store.rundir import RunDir

TRUTH = {
    "database": {
        "one": {"subset": "validation", "duration": 60.0, "annotations": [{"segment": [0, 10], "label": "jump"}]},
        "two": {"subset": "validation", "duration": 60.0, "annotations": [{"segment": [20, 30], "label": "run"}]},
        "three": {"subset": "training", "duration": 60.0, "annotations": [{"segment": [0, 5], "label": "run"}]},
    }
}
ROWS = [("one", 0.0, 10.0, "jump", 0.9), ("one", 40.0, 50.0, "run", 0.8), ("two", 20.0, 26.0, "run", 0.7)]


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    file = tmp_path / "truth.json"
    file.write_text(json.dumps(TRUTH), encoding="utf-8")
    return file


def submission(folder: Path, rows: list[tuple[Any, ...]] = ROWS) -> Path:
    results: dict[str, list[dict[str, Any]]] = {}
    for video, start, end, label, score in rows:
        results.setdefault(video, []).append({"segment": [start, end], "label": label, "score": score})
    file = folder / "found.json"
    file.write_text(json.dumps({"version": "1", "results": results}), encoding="utf-8")
    return file


def run_of(out: Path, rows: list[tuple[Any, ...]], *, failed: tuple[str, ...] = ()) -> Path:
    """A finished run of ``localize`` with these segments, written by the store."""
    run = RunDir.open(str(out), RunSettings(command="localize", model="tiny", weights_hash="0" * 64, root="/videos"))
    for name in sorted({row[0] for row in rows}):
        video = Video(f"deep/{name}.mp4", f"/videos/deep/{name}.mp4", 1000, 1)
        _, start, end, label, score = zip(*(row for row in rows if row[0] == name), strict=True)
        columns = {
            "start": np.array(start),
            "end": np.array(end),
            "label_id": np.zeros(len(label), np.int32),
            "label": list(label),
            "score": np.array(score, np.float32),
        }
        run.add(Outcome(video, {"video": video.video, "status": "ok", "attempts": 1}, columns))
    for name in failed:
        run.add(outcome(f"deep/{name}.mp4", status="failed"))
    run.close({"exit": "done"})
    return out


def judged(vidact: Vidact, *arguments: object) -> dict[str, Any]:
    done = vidact("evaluate", "localization", *arguments, "--json")
    assert done.code == 0, done.err
    facts: dict[str, Any] = json.loads(done.out)
    return facts


def test_a_run_and_a_submission_of_the_same_get_the_same(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    by_file = judged(vidact, submission(tmp_path), "--truth", truth)
    by_run = judged(vidact, run_of(tmp_path / "run", ROWS), "--truth", truth)
    assert by_file == by_run
    assert (by_file["subset"], by_file["videos"], by_file["events"], by_file["segments"]) == ("validation", 2, 2, 3)
    # jump is perfect; run is right in the second place up to an IoU of 0.6
    assert by_file["AP"]["jump"]["0.95"] == 1.0
    assert [by_file["AP"]["run"][tiou] for tiou in ("0.60", "0.65")] == [0.5, 0.0]
    assert by_file["mAP"]["0.50"] == 0.75
    assert by_file["average_mAP"] == pytest.approx((3 * 0.75 + 7 * 0.5) / 10)
    assert by_file["recall"]["1x"]["0.50"] == 1.0
    assert by_file["errors"]["counts"] == {
        "right": 2,
        "doubled": 0,
        "wrong label": 0,
        "badly placed": 0,
        "wrong label, badly placed": 0,
        "background": 1,
    }
    assert by_file["errors"]["gains"]["background"] == 0.25


def test_tables_for_people(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    done = vidact("evaluate", "localization", submission(tmp_path), "--truth", truth, "--protocol", "thumos14")
    assert done.code == 2  # this truth has no subset called test
    assert "such as --subset training" in done.err or "such as --subset validation" in done.err
    assert "training, validation" in done.err
    done = vidact(
        "evaluate",
        "localization",
        submission(tmp_path),
        "--truth",
        truth,
        "--protocol",
        "thumos14",
        "--subset",
        "validation",
    )
    assert done.code == 0
    assert "thumos14: 2 videos of the subset validation, 2 events, 3 segments" in done.out
    assert "average mAP 70.00 %" in done.out
    assert "0.30\t75.00 %\t100.00 %\t100.00 %" in done.out
    assert "missed\t0 of 2" in done.out


def test_what_is_not_counted_is_said(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    rows = [ROWS[0], ("three", 0.0, 5.0, "run", 0.9), ("one", 0.0, 1.0, "[red]swim\n", 0.1)]
    run = run_of(tmp_path / "run", rows, failed=("two",))
    done = vidact("evaluate", "localization", run, "--truth", truth)
    assert done.code == 0
    assert "1 video failed in the run; what happens there counts as missed." in done.err
    said = "Videos of the run that are not in this part of the truth: 1 (first: deep/three.mp4); what was found there "
    assert said + "(1 segment) is left out." in done.err
    assert "Segments with labels the truth does not have, not counted in mAP: 1 ([red]swim\\x0a)" in done.err
    done = vidact("evaluate", "localization", submission(tmp_path, [ROWS[0]]), "--truth", truth)
    assert "Videos of the truth that are not in the run: 1 (first: two)" in done.err


def test_one_is_no_plural(vidact: Vidact, tmp_path: Path) -> None:
    listed = tmp_path / "one.csv"
    listed.write_text("video,start,end,label\none,0,10,jump\n", encoding="utf-8")
    done = vidact("evaluate", "localization", submission(tmp_path, [ROWS[0]]), "--truth", listed)
    assert done.out.startswith("anet: 1 video, 1 event, 1 segment\n")


def test_events_that_all_lie_outside_are_told_with_the_reason(vidact: Vidact, tmp_path: Path) -> None:
    listed = tmp_path / "outside.csv"
    listed.write_text("video,start,end,label,duration\none,20,30,run,10\none,25,26,run,10\n", encoding="utf-8")
    done = vidact("evaluate", "localization", submission(tmp_path, [ROWS[0]]), "--truth", listed)
    assert done.code == 2
    assert f"the truth {str(listed)!r} has no event in the videos that are judged (1)" in done.err
    assert "segments left out, they lie outside their video: 2 (first: " in done.err
    assert "20 to 30 s of 10 s" in done.err


def test_dense_sets_are_judged_by_frames_too(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    facts = judged(
        vidact, submission(tmp_path), "--truth", truth, "--protocol", "multithumos", "--subset", "validation"
    )
    # jump: 100 frames of 100. run: 100 wrong frames come before the 60 right ones of 100; ties in the order of time.
    assert facts["frame_AP"]["jump"] == 1.0
    expected = sum(k / (100 + k) for k in range(1, 61)) / 100
    rest = sum((60 + k) / (160 + 200 + 40 + k) for k in range(1, 41)) / 100
    assert expected < facts["frame_AP"]["run"] < expected + 4 * rest
    assert facts["frame_mAP"] == pytest.approx((1 + facts["frame_AP"]["run"]) / 2)


def test_errors_name_what_is_wrong(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    cut = tmp_path / "cut.json"
    cut.write_text('{"results": {"one": [{"label"', encoding="utf-8")
    other = submission(tmp_path, [("one", 0.0, 1.0, "17", 0.1)])
    strange = tmp_path / "strange"
    strange.mkdir()
    for run, said in (
        (cut, "no whole JSON file"),
        (other, "no predicted label is in the truth, which has 'jump', 'run'; predicted are '17'"),
        (make_run(tmp_path / "classified", [outcome("one.mp4")]), "is a run of `vidact classify`"),
        (submission(strange, [("x", 0, 1, "run", 1)]), "no video of "),
    ):
        done = vidact("evaluate", "localization", run, "--truth", truth)
        assert done.code == 2, run
        assert said in done.err
    assert vidact("evaluate", "localization", tmp_path / "nothing", "--truth", truth).code == 4


def test_two_videos_of_one_name(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    done = vidact(
        "evaluate",
        "localization",
        submission(tmp_path, [("a/one.mp4", 0, 1, "run", 1), ("b/one.mp4", 0, 1, "run", 1)]),
        "--truth",
        truth,
    )
    assert done.code == 2
    assert "'one' could be any of 2 videos: 'a/one.mp4', 'b/one.mp4'" in done.err


def test_a_run_that_found_nothing_has_a_score_of_nothing(vidact: Vidact, tmp_path: Path, truth: Path) -> None:
    file = tmp_path / "none.json"
    file.write_text(json.dumps({"results": {"one": [], "two": []}}), encoding="utf-8")
    facts = judged(vidact, file, "--truth", truth)
    assert (facts["average_mAP"], facts["AR"], facts["errors"]["missed"]) == (0.0, None, 2)


def test_the_protocols_are_those_there_are() -> None:
    literal = typing.get_args(Protocol)[0]
    assert typing.get_args(literal) == tuple(BENCHMARKS)


def test_proposals_without_labels(vidact: Vidact, truth: Path, tmp_path: Path) -> None:
    labelled = judged(vidact, submission(tmp_path), "--truth", truth, "--subset", "validation")
    file = submission(tmp_path)
    content = json.loads(file.read_text(encoding="utf-8"))
    for rows in content["results"].values():
        for row in rows:
            del row["label"]
    file.write_text(json.dumps(content), encoding="utf-8")
    found = judged(vidact, file, "--truth", truth, "--subset", "validation")
    assert (found["AR"], found["AUC"]) == (labelled["AR"], labelled["AUC"])
    assert [found[name] for name in ("average_mAP", "mAP", "AP", "errors", "frame_mAP")] == [None] * 5
    assert found["recall"]["1x"]["0.60"] == 1.0 and found["recall"]["1x"]["0.65"] == 0.5
    done = vidact("evaluate", "localization", file, "--truth", truth, "--subset", "validation")
    assert (done.code, "mAP" in done.out, "AR@100" in done.out) == (0, False, True)
    assert "have no labels: mAP by class, which needs them, was left out" in done.err


@pytest.mark.parametrize("protocol", ["thumos14", "multithumos", "anet"])
def test_labels_of_proposals_do_not_change_which_events_count(vidact: Vidact, tmp_path: Path, protocol: str) -> None:
    times = [([0, 10], "dive"), ([0, 10], "cliff dive"), ([30, 40], "Ambiguous")]
    one = {"subset": "test", "duration": 60.0, "annotations": [{"segment": at, "label": name} for at, name in times]}
    truth = tmp_path / "truth.json"
    truth.write_text(json.dumps({"database": {"one": one}}), encoding="utf-8")
    rows = [{"segment": [0, 10], "score": 0.9, "label": "dive"}, {"segment": [50, 55], "score": 0.5, "label": "dive"}]
    bare = [{name: row[name] for name in ("segment", "score")} for row in rows]
    judgements = []
    for own in (rows, bare):
        file = tmp_path / "found.json"
        file.write_text(json.dumps({"results": {"one": own}}), encoding="utf-8")
        judgements.append(judged(vidact, file, "--truth", truth, "--protocol", protocol))
    for name in ("events", "AR", "AUC"):
        assert judgements[0][name] == judgements[1][name], name
    assert judgements[1]["AR"]["100"] == pytest.approx(2 / 3)
