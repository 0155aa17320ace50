"""Which videos are trained on, which are held out, and what is said when there is nothing to learn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from vidact.errors import UsageError
from vidact.store.annotations import Annotations, read_annotations
from vidact.store.feature_files import FeatureFolder, open_features
from vidact.training.truth import Truth, choose

Rows = list[tuple[str, str | None, str]]
"""(video, subset, label)"""


def given(
    root: Path, rows: Rows, names: list[str] | None = None, **options: object
) -> tuple[Annotations, FeatureFolder]:
    """Annotations with one segment a row, and a folder with features by these names."""
    root.mkdir(exist_ok=True)
    database: dict[str, dict[str, object]] = {}
    for video, subset, label in rows:
        one = database.setdefault(video, {"duration": 9.0, "annotations": []})
        if subset:
            one["subset"] = subset
        if label:
            one["annotations"].append({"segment": [1, 3], "label": label})  # type: ignore[attr-defined]
    (root / "truth.json").write_text(json.dumps({"database": database}))
    for name in names if names is not None else list(database):
        path = root / "features" / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        np.save(path, np.zeros((4, 2), np.float32))
    (root / "features" / "manifest.json").write_text('{"fps": 25, "window": 16, "stride": 4, "offset": 8}')
    return read_annotations(root / "truth.json", **options), open_features(str(root / "features"))  # type: ignore[arg-type]


def names(truth: Truth) -> tuple[list[str], list[str]]:
    return [one.video.video for one in truth.train], [one.video.video for one in truth.held_out]


def test_subsets_are_known_by_their_usual_names(tmp_path: Path) -> None:
    rows: Rows = [("a", "Training", "x"), ("b", "validation", "x"), ("c", "testing", "x")]
    assert names(choose(*given(tmp_path / "anet", rows))) == (["a"], ["b"])
    found = choose(*given(tmp_path / "thumos", [("a", "Validation", "x"), ("b", "Test", "x")]))
    assert names(found) == (["a"], ["b"])
    assert "training on 'Validation', validating on 'Test'" in found.notes[0]
    only = choose(*given(tmp_path / "two", [("a", "train", "x"), ("b", "test", "x")]))
    assert names(only) == (["a"], ["b"])


def test_subsets_may_be_named(tmp_path: Path) -> None:
    data = given(tmp_path, [("a", "p01", "x"), ("b", "p02", "x"), ("c", "p03", "x")])
    assert names(choose(*data, train=["P01", "p02"], held_out=["p03"])) == (["a", "b"], ["c"])
    assert names(choose(*data, held_out=["p01"])) == (["b", "c"], ["a"])
    train, held = names(choose(*data, train=["p01", "p02"]))
    assert sorted(train + held) == ["a", "b"] and len(held) == 1
    with pytest.raises(UsageError, match="no subset 'p9'"):
        choose(*data, train=["p9"])


def test_without_subsets_a_share_is_held_out_but_never_the_last_example(tmp_path: Path) -> None:
    data = given(tmp_path, [(f"v{n}", None, "x" if n else "rare") for n in range(10)])
    splits = [names(choose(*data, share=0.3, seed=seed)) for seed in range(5)]
    assert all(len(held) == 3 and "v0" not in held and len(train) == 7 for train, held in splits)
    assert splits[0] == names(choose(*data, share=0.3, seed=0))
    assert len({tuple(sorted(held)) for _, held in splits}) > 1


def test_features_are_found_by_name_or_stem(tmp_path: Path) -> None:
    rows: Rows = [("day1/a.mp4", "train", "x"), ("b", "train", "x"), ("c", "val", "x"), ("lost", "train", "x")]
    found = choose(*given(tmp_path, rows, ["day1/a", "rgb/b", "c"]))
    assert [one.features for one in found.train] == ["day1/a", "rgb/b"]
    assert found.notes == ("1 annotated video has no features and is left out (first: 'lost')",)


def test_features_of_another_video_are_not_taken(tmp_path: Path) -> None:
    rows: Rows = [("S01", "train", "x"), ("S01.E02", "train", "x"), ("cam2/a.mp4", "train", "x"), ("b", "val", "x")]
    found = choose(*given(tmp_path, rows, ["S01", "cam1/a", "b"]))
    assert [(one.video.video, one.features) for one in found.train] == [("S01", "S01")]
    assert found.notes == ("2 annotated videos have no features and are left out (first: 'S01.E02')",)


def test_two_features_for_one_video_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'a' could be any of 2 videos: 'one/a', 'two/a'"):
        choose(*given(tmp_path, [("a", "train", "x"), ("b", "val", "x")], ["one/a", "two/a", "b"]))


def test_two_videos_for_the_same_features_are_an_error(tmp_path: Path) -> None:
    rows: Rows = [("a.mp4", "train", "x"), ("a.mkv", "validation", "x"), ("b", "train", "x")]
    with pytest.raises(UsageError, match=r"features 'a' are meant by two annotated videos, 'a\.mp4' and 'a\.mkv'"):
        choose(*given(tmp_path, rows, ["a", "b"]))


def test_no_features_at_all_names_both_sides(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none of 2 annotated videos .* name 'a', the features 'video_0001'"):
        choose(*given(tmp_path, [("a", "train", "x"), ("b", "val", "x")], ["video_0001"]))


def test_a_label_without_example_is_an_error_unless_it_was_listed(tmp_path: Path) -> None:
    rows: Rows = [("a", "train", "x"), ("b", "val", "y")]
    with pytest.raises(UsageError, match="1 label has no segment to train on, such as 'y'") as caught:
        choose(*given(tmp_path, rows))
    assert "--labels" in caught.value.hint
    found = choose(*given(tmp_path, rows, labels=["x", "y"]), listed=True)
    assert found.counts() == [1, 0] and "will never be found, such as 'y'" in found.notes[-1]


def test_videos_without_segments_are_trained_on_but_do_not_suffice(tmp_path: Path) -> None:
    found = choose(*given(tmp_path / "some", [("a", "train", "x"), ("empty", "train", ""), ("b", "val", "x")]))
    assert names(found) == (["a", "empty"], ["b"]) and found.counts() == [1]
    with pytest.raises(UsageError, match="to train on hold no segment"):
        choose(*given(tmp_path / "none", [("a", "train", ""), ("b", "val", "x")]))
    (tmp_path / "backwards.csv").write_text("video,start,end,label,subset\na,3,1,x,train\nb,1,3,x,val\n")
    with pytest.raises(UsageError, match=r"hold no segment \(.*they do not end after they start"):
        choose(read_annotations(tmp_path / "backwards.csv"), open_features(str(tmp_path / "some" / "features")))
    with pytest.raises(UsageError, match="left to validate on") as caught:
        choose(*given(tmp_path / "unjudged", [("a", "train", "x"), ("b", "val", "")]))
    assert "--val-subset; there are" in caught.value.hint
    with pytest.raises(UsageError, match="left to validate on") as caught:
        choose(*given(tmp_path / "single", [("a", None, "x"), ("b", None, "y")]))
    assert "a label's only video is never held out" in caught.value.hint and "--val-subset" not in caught.value.hint
