"""What run.json and summary.json tell: history, settings, counts of this invocation and of the whole run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from store.made import SETTINGS, fill, outcome

from vidact.records import Outcome
from vidact.store import manifest, rundir
from vidact.store.rundir import RunDir


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


@pytest.mark.parametrize("command", ["classify", "localize"])
def test_counts_carried_on_are_those_counted_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    settings = replace(SETTINGS, command=command)
    columns = {"start": [1.0, 5.0], "end": [2.0, 6.0], "label_id": [1, 0], "label": ["y", "x"], "score": [0.8, 0.9]}
    for night in range(3):
        ones = [outcome(f"{night}{name}", status="failed" if name == "a" else "ok") for name in "abc"]
        if command == "localize":
            ones = [Outcome(one.video, one.row, columns if one.details else {}) for one in ones]
        with monkeypatch.context() as patch:
            if night:
                patch.setattr(rundir.Reader, "parts", pytest.fail)
            fill(tmp_path, *ones, settings=settings)
    carried = json.loads((tmp_path / "summary.json").read_text())["run"]
    assert carried["videos"] == {"total": 9, "ok": 6, "partial": 0, "failed": 3}
    (tmp_path / "summary.json").unlink()
    fill(tmp_path, settings=settings)
    assert json.loads((tmp_path / "summary.json").read_text())["run"] == carried


def test_counts_that_do_not_fit_the_folder_are_not_carried_on(tmp_path: Path) -> None:
    fill(tmp_path, outcome("a"))
    fill(tmp_path, outcome("b"))
    for name in ("videos/part-000001.parquet", "predictions/part-000001.parquet"):
        (tmp_path / name).unlink()
    fill(tmp_path, outcome("c"))
    assert json.loads((tmp_path / "summary.json").read_text())["run"]["videos"]["total"] == 1
    (tmp_path / "summary.json").write_text('{"run": {"videos": {"total": 1}}}')
    fill(tmp_path, outcome("d"))
    assert json.loads((tmp_path / "summary.json").read_text())["run"]["clips"] == 6


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
