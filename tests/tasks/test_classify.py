"""From scores to predictions: ranks, thresholds, views, averages; and one real video through the whole task."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media import make, number

from vidact.errors import VideoError
from vidact.records import Geometry, Protocol, RunSettings, Sampling, Spec, Video, VideoFacts
from vidact.tasks.classify import Classify, Outline

LABELS = ("run", "jump", "sit")
SPEC = Spec(
    name="tiny.test",
    architecture="tiny",
    sampling=Sampling(4, 2, 8.0),
    geometry=Geometry((60, 60), "squash"),
    mean=(0.5, 0.5, 0.5),
    std=(0.25, 0.25, 0.25),
    labels=LABELS,
    classes=3,
)
FACTS = VideoFacts(3.5, 0.0, 8.0, 64, 48, 0, "h264", 28)


def outline(clips: int, *, padded: bool = False) -> Outline:
    starts = np.arange(clips, dtype=np.float64)
    return Outline("a.mp4", FACTS, starts, starts + 1, np.full(clips, padded))


def finish(scores: Any, present: Any = None, spec: Spec = SPEC, **settings: Any) -> list[dict[str, Any]]:
    """The rows of ``predictions`` as dictionaries; a scores array without crops gets one."""
    scores = np.asarray(scores, np.float32)
    scores = scores[:, None] if scores.ndim == 2 else scores
    present = np.ones(len(scores), bool) if present is None else np.asarray(present)
    columns = Classify(RunSettings(**settings), spec).finish(outline(len(scores)), scores, present)
    names, lengths = list(columns), {len(column) for column in columns.values()}
    assert len(lengths) == 1
    return [
        {name: None if columns[name][n] is np.ma.masked else columns[name][n] for name in names}
        for n in range(lengths.pop())
    ]


def short(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["clip"], int(row["rank"]), row["label"], round(float(row["score"]), 4)) for row in rows]


def test_every_clip_and_the_video_get_their_best_labels() -> None:
    rows = finish([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]], top_k=2)
    assert short(rows) == [
        (None, 1, "run", 0.4),
        (None, 2, "sit", 0.35),
        (0, 1, "run", 0.7),
        (0, 2, "jump", 0.2),
        (1, 1, "sit", 0.6),
        (1, 2, "jump", 0.3),
    ]
    assert [(row["start"], row["end"]) for row in rows[::2]] == [(0.0, 3.5), (0.0, 1.0), (1.0, 2.0)]
    assert [int(row["label_id"]) for row in rows] == [0, 2, 0, 1, 2, 1]


def test_the_threshold_cuts_both_but_a_video_keeps_its_best() -> None:
    rows = finish([[0.5, 0.3, 0.2], [0.3, 0.4, 0.3]], threshold=0.45)
    assert short(rows) == [(None, 1, "run", 0.4), (0, 1, "run", 0.5)]
    assert short(finish([[0.4, 0.3, 0.3]], threshold=0.99)) == [(None, 1, "run", 0.4)]
    assert len(finish([[0.4, 0.3, 0.3]], threshold=0.3, top_k=5)) == 6, "a score equal to the threshold stays"


def test_equal_scores_are_ranked_by_label() -> None:
    rows = finish(np.full((1, 300), 1 / 300), spec=replace(SPEC, labels=(), classes=300), top_k=3)
    assert [row["label"] for row in rows] == ["class 0", "class 1", "class 2"] * 2


def test_missing_clips_are_left_out_of_the_average() -> None:
    scores = [[0.8, 0.1, 0.1], [np.nan, np.nan, np.nan], [0.2, 0.2, 0.6]]
    rows = finish(scores, [True, False, True], top_k=1)
    assert short(rows) == [(None, 1, "run", 0.5), (0, 1, "run", 0.8), (2, 1, "sit", 0.6)]
    assert rows[2]["start"] == 2.0


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_scores_that_are_no_numbers_fail_the_video(wrong: float) -> None:
    with pytest.raises(VideoError, match="clip 1") as caught:
        finish([[0.8, 0.1, 0.1], [wrong, 0.1, 0.1]])
    assert (caught.value.kind, caught.value.stage) == ("NonFiniteScores", "model")


def test_crops_and_views_are_averaged_as_the_original_does() -> None:
    logits = np.array([[[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]], [[4.0, 0.0, 1.0], [0.0, 0.0, 3.0]]])

    def softmax(values: np.ndarray) -> np.ndarray:
        return np.exp(values) / np.exp(values).sum(axis=-1, keepdims=True)

    def best(rows: list[dict[str, Any]]) -> list[float]:
        return [float(row["score"]) for row in rows]

    scores = best(finish(softmax(logits), views="2x2", top_k=1))
    assert scores == pytest.approx([softmax(logits).mean(axis=(0, 1)).max(), *softmax(logits).mean(axis=1).max(axis=1)])
    averaged = replace(SPEC, average="logits")
    scores = best(finish(logits, spec=averaged, views="2x2", top_k=1))
    assert scores == pytest.approx([softmax(logits.mean(axis=(0, 1))).max(), *softmax(logits.mean(axis=1)).max(axis=1)])
    # Clips side by side are not views: the video's score is the mean of what the clips say.
    whole = best(finish(logits, spec=averaged, top_k=1))[0]
    assert whole == pytest.approx(softmax(logits.mean(axis=1)).mean(axis=0).max())
    sigmoid = replace(averaged, activation="sigmoid")
    assert best(finish(logits[:1, :1], spec=sigmoid, top_k=1))[0] == pytest.approx(1 / (1 + np.exp(-2.0)))


def test_a_video_goes_through_the_whole_task(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=28, fps=8)
    stat = path.stat()
    task = pickle.loads(pickle.dumps(Classify(RunSettings(top_k=1, decoder="pyav"), SPEC)))
    opened = task.open(Video("a.mp4", str(path), stat.st_size, stat.st_mtime_ns))
    assert (task.item, task.views, opened.outline.rows, len(opened.chunks)) == ((4, 60, 60, 3), 1, 4, 1)
    with task.read(opened, opened.chunks[0], 1) as reader:
        rows = [row for row in reader if row is not None]
    assert [row.row for row in rows] == [0, 1, 2, 3]
    # 8 frames a clip, 4 of them seen: those on display at 1/8, 3/8, 5/8 and 7/8 of it. The last ends with the video.
    assert [number(picture) for picture in rows[1].frames[0]] == [9, 11, 13, 15]
    assert [number(picture) for picture in rows[3].frames[0]] == [21, 23, 25, 27]
    columns = task.finish(opened.outline, np.full((4, 1, 3), 0.1, np.float32), np.ones(4, bool))
    assert columns["start"].tolist() == [0.0, 0.0, 1.0, 2.0, 2.5]
    assert columns["end"].tolist() == [3.5, 1.0, 2.0, 3.0, 3.5]
    assert not columns["padded"].any()


def test_views_of_the_published_protocol_are_one_reading(tmp_path: Path) -> None:
    protocol = Protocol("mmaction2", "mmaction2", 4, 2, 2, 3, 60, (60, 60))
    spec = replace(SPEC, protocol=protocol, average="logits")
    path = make(tmp_path / "a.mp4", frames=28, fps=8)
    task = pickle.loads(pickle.dumps(Classify(RunSettings(top_k=1, protocol="paper"), spec)))
    opened = task.open(Video("a.mp4", str(path), 1, 1))
    assert (task.item, task.views, opened.outline.rows) == ((4, 60, 60, 3), 3, 2)
    with task.read(opened, opened.chunks[0], 1) as reader:
        assert [row.frames.shape for row in reader if row is not None] == [(3, 4, 60, 60, 3)] * 2
    logits = np.array([[[2.0, 0, 0], [0, 1, 0], [3, 0, 0]], [[4, 0, 1], [0, 0, 3], [0, 0, 0]]], np.float32)
    columns = task.finish(opened.outline, logits, np.ones(2, bool))
    mean = logits.mean(axis=(0, 1))
    assert columns["score"][0] == pytest.approx(np.exp(mean).max() / np.exp(mean).sum())
    assert columns["start"].tolist() == [0.0, 0.0, 21 / 8] and columns["end"].tolist() == [3.5, 7 / 8, 3.5]


def test_a_video_shorter_than_a_clip_is_padded_and_says_so(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=1, fps=8)
    task = Classify(RunSettings(top_k=1), SPEC)
    opened = task.open(Video("a.mp4", str(path), 1, 1))
    with task.read(opened, opened.chunks[0], 1) as reader:
        ((row),) = [row for row in reader if row is not None]
    assert [number(picture) for picture in row.frames[0]] == [0, 0, 0, 0]
    columns = task.finish(opened.outline, np.full((1, 1, 3), 0.1, np.float32), np.ones(1, bool))
    assert columns["padded"].tolist() == [True, True] and columns["end"].tolist() == [0.125, 0.125]
