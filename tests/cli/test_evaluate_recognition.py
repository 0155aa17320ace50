"""``vidact evaluate recognition``: a run judged by lists of labels, and everything that was not counted said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import Vidact
from cli.runs import LABELS, make_run, outcome
from cli.test_evaluate_localization import run_of

from vidact.records import Outcome, RunSettings
from vidact.store.rundir import RunDir

NAMES = ("a.mp4", "b.mp4", "c.mp4", "d.mp4")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """a: static, b: pan-left, c: pan-left, d: failed; each has the next label in second place."""
    outcomes = [outcome(name, label=label) for name, label in zip(NAMES, (0, 1, 1), strict=False)]
    return make_run(tmp_path / "run", [*outcomes, outcome("d.mp4", status="failed")])


def truth(folder: Path, text: str, name: str = "truth.csv") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


BY_NAME = "path,label\na.mp4,static\nb.mp4,pan-right\nc.mp4,pan-left\nd.mp4,pan-right\n"


def judged(vidact: Vidact, *arguments: object) -> dict[str, Any]:
    done = vidact("evaluate", "recognition", *arguments, "--json")
    assert done.code == 0, done.err
    facts: dict[str, Any] = json.loads(done.out)
    return facts


def test_scores(vidact: Vidact, tmp_path: Path, run: Path) -> None:
    facts = judged(vidact, run, "--truth", truth(tmp_path, BY_NAME))
    assert (facts["videos"], facts["failed"], facts["top1"], facts["top5"]) == (4, 1, 0.5, 0.75)
    assert facts["mean_class_accuracy"] == pytest.approx((1 + 1 + 0) / 3)
    assert facts["classes"]["pan-right"] == {"videos": 2, "right": 0, "failed": 1}
    assert facts["confusion"] == {
        "labels": ["pan-left", "pan-right", "static"],
        "counts": [[1, 0, 0], [1, 0, 0], [0, 0, 1]],  # d, which failed, is nowhere
    }
    assert facts["protocol"] == "clips"


@pytest.mark.parametrize(
    ("text", "name", "labels"),
    [
        ("x/a.mp4 0\nx/b.mp4 2\nx/c.mp4 1\nx/d.mp4 2\n", "val.txt", None),  # numbers of the model
        ("a.avi,Static\nb.avi,Pan Right\nc.avi,PanLeft\nd.avi,pan_right\n", "val.csv", None),  # other spellings
        ("a 1\nb 0\nc 2\nd 0\n", "val.txt", ["pan-right", "static", "pan-left"]),  # numbers of another list
    ],
)
def test_names_and_numbers(
    vidact: Vidact, tmp_path: Path, run: Path, text: str, name: str, labels: list[str] | None
) -> None:
    extra: list[Any] = []
    if labels:
        extra = ["--labels", truth(tmp_path, json.dumps({label: str(n) for n, label in enumerate(labels)}), "l.json")]
    facts = judged(vidact, run, "--truth", truth(tmp_path, text, name), *extra)
    assert (facts["top1"], facts["top5"]) == (0.5, 0.75)
    assert set(facts["classes"]) == set(LABELS)


def test_a_run_without_names_takes_them_from_the_list(vidact: Vidact, tmp_path: Path) -> None:
    plain = outcome("a.mp4", label=1)
    ids = plain.details["label_id"]
    nameless = Outcome(plain.video, plain.row, {**plain.details, "label": [f"class {number}" for number in ids]})
    run = make_run(tmp_path / "run", [nameless])
    labels = truth(tmp_path, "".join(f"{number} {label}\n" for number, label in enumerate(LABELS, 1)), "classInd.txt")
    listed = truth(tmp_path, "path,label\na.mp4,pan-left\n")
    assert judged(vidact, run, "--truth", listed, "--labels", labels)["top1"] == 1.0
    done = vidact("evaluate", "recognition", run, "--truth", listed)
    assert done.code == 2
    assert "no label of the truth is one of the run's: 'pan-left' and 'class 1'" in done.err


def test_top_five_of_a_run_that_kept_less_cannot_be_told(vidact: Vidact, tmp_path: Path) -> None:
    for changed, said in (({"top_k": 2}, "the 2 best labels"), ({"threshold": 0.2}, "labels from a score of 0.2 on")):
        out = tmp_path / said.replace(" ", "-")
        settings = RunSettings(model="tiny", weights_hash="0" * 64, root="/videos", **changed)
        with_few = RunDir.open(str(out), settings)
        with_few.add(outcome("a.mp4"))
        with_few.close({"exit": "done"})
        listed = truth(tmp_path, "path,label\na.mp4,static\n")
        assert judged(vidact, out, "--truth", listed)["top5"] is None
        done = vidact("evaluate", "recognition", out, "--truth", listed)
        assert "top-5\tcannot be told" in done.out
        assert f"Top-5 cannot be told: the run kept {said} only." in done.err


def test_what_is_not_counted_is_said(vidact: Vidact, tmp_path: Path, run: Path) -> None:
    done = vidact(
        "evaluate", "recognition", run, "--truth", truth(tmp_path, "a.mp4 static\nd.mp4 static\nz.mp4 static\n")
    )
    assert done.code == 0
    assert "top-1\t50.00 %" in done.out
    assert "Videos that failed in the run and count as wrong: 1." in done.err
    assert "Videos of the truth that are not in the run, not counted: 1 (first: z.mp4)." in done.err
    assert "Videos of the run without a label in the truth, not counted: 2 (first: b.mp4)." in done.err


def test_labels_the_model_knows_but_never_gave_are_wrong_and_no_mistake(
    vidact: Vidact, tmp_path: Path, run: Path
) -> None:
    for text in ("a.mp4 shake\n", "a.mp4 7\n"):
        facts = judged(vidact, run, "--truth", truth(tmp_path, text, "t.txt"))
        assert (facts["top1"], facts["top5"]) == (0.0, 0.0)


def test_many_classes_are_shown_by_their_confusions(vidact: Vidact, tmp_path: Path, run: Path) -> None:
    small = vidact("evaluate", "recognition", run, "--truth", truth(tmp_path, BY_NAME))
    assert "1 pan-left\t1\t0\t0" in small.out
    assert "predicted label (columns, numbered like the lines)" in small.out
    names = [f"{number}.mp4" for number in range(20)]
    run = make_run(tmp_path / "large", [outcome(name) for name in names])
    rows = [f"{name},{'static' if number < 3 else f'[red]{number}'}\n" for number, name in enumerate(names)]
    done = vidact("evaluate", "recognition", run, "--truth", truth(tmp_path, "path,label\n" + "".join(rows)))
    assert "most frequent confusions" in done.out
    assert "\tstatic\t1\n" in done.out


def test_errors_name_what_is_wrong(vidact: Vidact, tmp_path: Path, run: Path) -> None:
    listed = truth(tmp_path, "a.mp4 700\n", "numbers.txt")
    labels = truth(tmp_path, "static\npan-left\n", "labels.txt")
    for arguments, said in (
        ((run, "--truth", truth(tmp_path, "z.mp4 static\n", "z.txt")), "no video of the run, which has 4,"),
        ((run, "--truth", listed), "no label of the truth is one of the run's: '700'"),
        ((run, "--truth", listed, "--labels", labels), "the class number 700, the labels end at 1"),
        ((run_of(tmp_path / "l", [("a", 0.0, 1.0, "x", 1.0)]), "--truth", listed), "is a run of `vidact localize`"),
        ((run, "--truth", tmp_path / "none.csv"), "cannot be read"),
    ):
        done = vidact("evaluate", "recognition", *arguments)
        assert done.code == 2, said
        assert said in done.err
