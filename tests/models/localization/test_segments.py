"""Suppression, voting and fusion: equal to the published compiled loops on their records, and right on cases by
hand."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from models.localization.golden import Record

from vidact.models.localization.hard import best_kept
from vidact.models.localization.picks import descending, soft_picks, stepwise
from vidact.models.localization.rounds import best_picks, in_rounds
from vidact.models.localization.segments import Detections, fuse, proposals, suppress, vote
from vidact.models.localization.settings import Fusion, Suppression
from vidact.models.localization.steps import pick_apart

ORIGINAL, OPENTAD, MMACTION = Record("nms_actionformer"), Record("nms_opentad"), Record("nms_bmn_mmaction2")
CASES = sorted(ORIGINAL.facts["cases"])
METHODS: Any = ("zero", "linear", "gaussian", "widening")


def candidates(case: str) -> Detections:
    return Detections(*(ORIGINAL.results[f"{case}__in_{part}"] for part in ("segments", "scores", "labels")))


def compare(found: Detections, record: Record, key: str) -> None:
    """Rows the original made NaN (votes of segments without length) are left out by vidact."""
    segments, scores, labels = (record.results[f"{key}__{part}"] for part in ("segments", "scores", "labels"))
    real = ~np.isnan(segments).any(axis=1)
    np.testing.assert_array_equal(found.labels, labels[real])
    np.testing.assert_allclose(found.scores, scores[real], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.segments, segments[real], rtol=0, atol=1e-4)


@pytest.mark.parametrize("case", CASES)
def test_equals_the_authors_suppression(case: str) -> None:
    compared = 0
    for variant, facts in ORIGINAL.facts["variants"].items():
        if "batched_nms" not in facts["function"]:
            continue
        rules = Suppression(
            method="gaussian" if facts["use_soft_nms"] else "hard",
            iou=facts["iou_threshold"],
            sigma=facts["sigma"],
            min_score=facts["min_score"],
            max_segments=facts["max_seg_num"],
            by_class=facts["multiclass"],
            voting=facts["voting_thresh"],
            voting_by_iou="actionformer" in facts["function"],
        )
        compare(suppress(candidates(case), rules), ORIGINAL, f"{case}__{variant}")
        compared += 1
    assert compared > 15


@pytest.mark.parametrize("case", CASES)
def test_equals_opentads_suppression(case: str) -> None:
    for variant, facts in OPENTAD.facts["variants"].items():
        given = candidates(case)
        given = given._replace(segments=OPENTAD.results.get(f"{case}__{variant}__in_segments", given.segments))
        rules = Suppression(
            method=METHODS[facts["method"]] if facts.get("use_soft_nms", True) else "hard",
            iou=facts.get("iou_threshold", 0.0),
            sigma=facts.get("sigma", 0.5),
            low=facts.get("t1", 0.0),
            high=facts.get("t2", 0.0),
            min_score=facts["min_score"],
            max_segments=facts["max_seg_num"],
            by_class=facts["multiclass"],
            voting=facts.get("voting_thresh", 0.0),
        )
        compare(suppress(given, rules), OPENTAD, f"{case}__{variant}")


@pytest.mark.parametrize("case", [case for case in CASES if case != "empty"])
def test_picks_in_the_order_of_the_compiled_loops(case: str) -> None:
    given = candidates(case)
    together = np.zeros(len(given.scores), dtype=np.int64)
    for variant, method in (("vanilla", "zero"), ("linear", "linear"), ("gaussian", "gaussian"), ("hard", "hard")):
        operator = "nms_op" if method == "hard" else "softnms_op"
        expected = ORIGINAL.results[f"{case}__{operator}__{variant}__labels"].tolist()
        rules = Suppression(
            method=method,  # type: ignore[arg-type]
            iou=0.5 if method == "hard" else 0.3,
            min_score=0 if method == "hard" else 0.001,
            max_segments=300,
        )
        best = best_kept if method == "hard" else best_picks
        if case != "ties":  # whose picks are sorted once more
            assert best(given.segments, given.scores, together, rules)[0].tolist() == expected
        if method != "hard":
            group = [np.arange(len(given.scores))]
            steps = islice(soft_picks(given.segments, given.scores, group, rules), 300)
            assert [int(pick.rows[0]) for pick in steps] == expected


def test_equals_mmaction2s_proposal_rule() -> None:
    info = MMACTION.facts["video_info"]
    frames, interval = info["duration_frame"], info["feature_extraction_interval"]
    duration = frames // interval * interval / frames * info["duration_second"]
    finals = [key for key in MMACTION.results if key.endswith("__final")]
    for key in finals:
        case, variant, _ = key.split("__")
        rows, facts = MMACTION.results[f"{case}__in"], MMACTION.facts["parameters"][variant]
        found = proposals(
            Detections(rows[:, :2], rows[:, 2], np.zeros(len(rows), dtype=np.int64)),
            Suppression(
                "proposals",
                sigma=facts["alpha"],
                low=facts["low_threshold"],
                high=facts["high_threshold"],
                max_segments=facts["top_k"],
            ),
        )
        times = np.clip(found.segments, 0, 1) * duration
        np.testing.assert_allclose(times, MMACTION.results[key][:, :2], rtol=0, atol=1e-6)
        np.testing.assert_allclose(found.scores, MMACTION.results[key][:, 2], rtol=0, atol=1e-6)
    assert len(finals) > 10


@pytest.mark.parametrize(("winner", "other", "score"), [((20, 35), (21, 45), 0.228288), ((20, 45), (21, 60), 0.5)])
def test_an_overlap_that_is_the_threshold_is_rounded_as_in_mmaction2(winner: Any, other: Any, score: float) -> None:
    """0.56 and 0.6 of a hundred rows: what mmaction2 gives, where the sum in another order gives the opposite."""
    given = Detections(np.float32([winner, other]), np.float32([0.9, 0.5]), np.zeros(2, dtype=np.int64))
    found = proposals(given, Suppression("proposals", sigma=0.4, low=0.5, high=0.9, unit=100.0))
    np.testing.assert_allclose(found.scores, [0.9, score], rtol=0, atol=1e-6)


def many(count: int, classes: int, seed: int = 0, levels: int = 0, reach: float = 40.0) -> Detections:
    """Random candidates up to ``reach`` long; with ``levels`` their scores take so many values only."""
    rng = np.random.default_rng(seed)
    centre, length = rng.uniform(0, 300, count), rng.uniform(0, reach, count)
    scores = rng.uniform(0, 1, count) ** 3
    if levels:
        scores = np.ceil(scores * levels) / levels
    segments = np.stack([centre - length / 2, centre + length / 2], axis=1)
    return Detections(segments.astype(np.float32), scores.astype(np.float32), rng.integers(0, classes, count))


@pytest.mark.parametrize("method", ["hard", "gaussian", "linear", "zero"])
@pytest.mark.parametrize("levels", [0, 50])
def test_a_cap_changes_nothing_but_the_number(method: Any, levels: int) -> None:
    given = many(1500, 7, levels=levels)
    whole = suppress(given, Suppression(method=method, iou=0.3, max_segments=len(given.scores)))
    capped = suppress(given, Suppression(method=method, iou=0.3, max_segments=40))
    assert len(whole.scores) > 300
    np.testing.assert_array_equal(capped.scores, whole.scores[:40])
    if not levels:
        np.testing.assert_array_equal(capped.segments, whole.segments[:40])
        np.testing.assert_array_equal(capped.labels, whole.labels[:40])


def plain(given: Detections, rules: Suppression) -> Detections:
    """What the published loops do, one candidate after the other, in float32."""
    found: list[tuple[Any, ...]] = []
    for label in np.unique(given.labels):
        one = given.take(given.labels == label)
        if rules.method == "hard":
            one = one.take(one.scores > rules.min_score)
            one = one.take(descending(one.scores))
        left = list(zip(*one.segments.T, one.scores, strict=True))
        picks: list[tuple[Any, ...]] = []
        while left and len(picks) < rules.max_segments:
            best = 0 if rules.method == "hard" else int(np.argmax([score for *_, score in left]))
            left[0], left[best] = left[best], left[0]
            picks.append((*left[0], label))
            start, end, _ = left.pop(0)
            place = 0
            while place < len(left):
                left[place] = lowered(start, end, *left[place], rules)
                gone = left[place][2] == 0 if rules.method == "hard" else left[place][2] < rules.min_score
                if gone and rules.method == "hard":
                    del left[place]
                elif gone:  # its place is taken by the last
                    last = left.pop()
                    left[place:] = [last, *left[place + 1 :]] if place < len(left) else []
                else:
                    place += 1
        found += picks
    starts, ends, scores, labels = (np.array(part) for part in zip(*found, strict=True))
    result = Detections(np.stack([starts, ends], axis=1), scores, labels)
    return result.take(descending(scores)[: rules.max_segments])


def lowered(
    start: Any, end: Any, other_start: Any, other_end: Any, score: Any, rules: Suppression
) -> tuple[Any, Any, Any]:
    shared = max(min(end, other_end) - max(start, other_start), np.float32(0))
    floor = np.float32(1e-6)
    length = end - start + floor
    overlap = shared / (length + (other_end - other_start + floor) - shared)
    weight: Any = np.exp(-(overlap * overlap) / np.float32(rules.sigma))
    threshold = np.float32(rules.iou)
    if rules.method == "widening":
        threshold = np.float32(rules.low) + np.float32(rules.high) * length
    if rules.method != "gaussian":
        near = {"linear": 1 - overlap, "widening": weight}.get(rules.method, np.float32(0))
        weight = near if overlap >= threshold else np.float32(1)
    return other_start, other_end, score * weight


@pytest.mark.parametrize("method", ["hard", "gaussian", "linear", "zero", "widening"])
@pytest.mark.parametrize("classes", [1, 6, 60])
@pytest.mark.parametrize("reach", [3.0, 30.0, 1000.0])  # from few that overlap to all that do
@pytest.mark.parametrize("levels", [0, 40])
def test_equals_plain_loops(method: Any, classes: int, reach: float, levels: int) -> None:
    for seed, (count, cap) in enumerate([(7, 3), (90, 20), (250, 250)]):
        given = many(count, classes, seed + int(reach), levels, reach)
        rules = Suppression(method=method, iou=0.3, low=0.2, high=0.001, max_segments=cap, min_score=0.01)
        found, expected = suppress(given, rules), plain(given, rules)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("method", ["gaussian", "linear", "zero", "widening"])
@pytest.mark.parametrize("classes", [1, 20])
@pytest.mark.parametrize("cap", [30, 2500])
@pytest.mark.parametrize("reach", [1.0, 10.0, 100.0, 1000.0])
def test_rounds_find_what_single_steps_find(method: Any, classes: int, cap: int, reach: float) -> None:
    given = many(2500, classes, seed=cap, reach=reach)
    rules = Suppression(method=method, iou=0.3, low=0.2, high=0.001, max_segments=cap, min_score=0.01)
    parts = given.segments, given.scores, given.labels
    found, expected = in_rounds(*parts, rules), stepwise(*parts, rules)
    assert found is not None
    np.testing.assert_array_equal(found.rows, expected.rows)
    np.testing.assert_array_equal(found.scores, expected.scores)


@pytest.mark.parametrize("method", ["gaussian", "linear", "zero", "widening"])
@pytest.mark.parametrize("count", [7, 300, 1500])  # all pairs at once, and many that become few
@pytest.mark.parametrize("cap", [5, 200, 2500])
@pytest.mark.parametrize("reach", [3.0, 1000.0])
@pytest.mark.parametrize("levels", [0, 40])
def test_classes_apart_find_what_all_at_once_find(method: Any, count: int, cap: int, reach: float, levels: int) -> None:
    given = many(count, 3, seed=cap, reach=reach, levels=levels)
    for least in (0.01, 0.0):
        rules = Suppression(method=method, iou=0.3, low=0.2, high=0.001, max_segments=cap, min_score=least)
        some = given.take(slice(None if least else 600))  # without a least score all are picked one after the other
        parts = some.segments, some.scores, some.labels
        found, expected = pick_apart(*parts, rules), stepwise(*parts, rules)
        np.testing.assert_array_equal(found.rows, expected.rows)
        np.testing.assert_array_equal(found.scores, expected.scores)


def test_rounds_of_ever_fewer_classes_find_what_single_steps_find() -> None:
    given = many(12000, 40, reach=100.0)
    given = given._replace(labels=(given.labels**2 // 40))  # from many of a class to few
    rules = Suppression(sigma=0.9, max_segments=12000, min_score=0.001)
    parts = given.segments, given.scores, given.labels
    found, expected = in_rounds(*parts, rules), stepwise(*parts, rules)
    assert found is not None
    np.testing.assert_array_equal(found.rows, expected.rows)


def test_rounds_leave_equal_scores_of_one_class_to_single_steps() -> None:
    segments = np.array([[0, 1], [5, 6], [9, 10]], dtype=np.float32)
    scores = np.array([0.5, 0.5, 0.4], dtype=np.float32)
    assert in_rounds(segments, scores, np.array([0, 0, 0]), Suppression()) is None
    found = in_rounds(segments, scores, np.array([0, 1, 0]), Suppression(max_segments=1))
    assert found is not None
    np.testing.assert_array_equal(found.rows, [0])


@pytest.mark.parametrize("iou", [0.0, 0.001, 0.5, 1.0])
@pytest.mark.parametrize("classes", [1, 60])
@pytest.mark.parametrize("reach", [0.0, 1.0, 30.0, 1000.0])  # from none that overlap to all that do
@pytest.mark.parametrize("levels", [0, 200])
def test_hard_suppression_of_many_equals_one_after_the_other(
    iou: float, classes: int, reach: float, levels: int
) -> None:
    given = many(3000, classes, int(reach), levels, reach)
    rules = Suppression(method="hard", iou=iou, max_segments=3000, min_score=0.01)
    found = suppress(given, rules)
    start, end, expected = given.segments[:, 0], given.segments[:, 1], []
    length, counted = end - start + np.float32(1e-6), given.scores > 0.01
    for label in range(classes):
        left = np.flatnonzero(counted & (given.labels == label))
        left = left[descending(given.scores[left])]
        while len(left):
            row, left = left[0], left[1:]
            expected.append(row)
            shared = np.maximum(np.minimum(end[row], end[left]) - np.maximum(start[row], start[left]), 0)
            left = left[shared / (length[row] + length[left] - shared) < np.float32(iou)]
    expected = np.array(expected)[descending(given.scores[expected])]
    np.testing.assert_array_equal(found.scores, given.scores[expected])
    np.testing.assert_array_equal(found.segments, given.segments[expected])
    np.testing.assert_array_equal(found.labels, given.labels[expected])


@pytest.mark.parametrize("method", ["hard", "gaussian"])
def test_odd_candidates(method: Any) -> None:
    given = many(3000, 3)
    rules = Suppression(method=method, iou=0.5, max_segments=50)
    faint = suppress(given._replace(scores=given.scores * np.float32(1e-4)), rules)
    assert len(faint.scores) == (0 if method == "hard" else 3)  # below the minimum: but the best of a class
    same = given._replace(scores=np.full(3000, 0.5, np.float32))
    np.testing.assert_array_equal(suppress(same, rules).scores, np.full(50, 0.5, np.float32))
    found = suppress(given, rules)
    far = suppress(given._replace(labels=given.labels * 10**12 - 7), rules)
    np.testing.assert_array_equal(far.labels, found.labels * 10**12 - 7)
    np.testing.assert_array_equal(far.segments, found.segments)


def test_classes_do_not_lower_each_other() -> None:
    segments = np.array([[0, 10], [0, 10], [0, 10]], dtype=np.float32)
    given = Detections(segments, np.array([0.9, 0.8, 0.7], dtype=np.float32), np.array([0, 1, 0]))
    found = suppress(given, Suppression(sigma=0.5))
    np.testing.assert_array_equal(found.labels, [0, 1, 0])
    np.testing.assert_allclose(found.scores, [0.9, 0.8, 0.7 * np.exp(-2)], rtol=1e-5)


def test_without_suppression_only_the_best_remain_in_order() -> None:
    given = many(50, 3)
    found = suppress(given, Suppression(method="none", max_segments=10))
    np.testing.assert_array_equal(found.scores, np.sort(given.scores)[::-1][:10])


def test_a_vote_is_the_weighted_mean_of_what_overlaps() -> None:
    segments = np.array([[0, 10], [0, 12], [50, 60]], dtype=np.float32)
    scores = np.array([0.6, 0.2, 0.9], dtype=np.float32)
    moved = vote(segments[:1], segments, scores, 0.5)
    np.testing.assert_allclose(moved, [[0, (0.6 * 10 + 0.2 * 12) / 0.8]], rtol=1e-6)
    by_iou = vote(segments[:1], segments, scores, 0.5, by_iou=True)
    share = 0.2 * 10 / 12
    np.testing.assert_allclose(by_iou, [[0, (0.6 * 10 + share * 12) / (0.6 + share)]], rtol=1e-6)


def test_fusion_repeats_segments_class_by_class() -> None:
    given = Detections(
        np.array([[0, 1], [2, 3]], dtype=np.float32),
        np.array([0.5, 0.1], dtype=np.float32),
        np.zeros(2, dtype=np.int64),
    )
    found = fuse(given, np.array([0.1, 0.7, 0.2]), Fusion(top=2, root=False))
    np.testing.assert_array_equal(found.labels, [1, 1, 2, 2])
    np.testing.assert_allclose(found.scores, [0.35, 0.07, 0.1, 0.02], rtol=1e-6)
    rooted = fuse(given, np.array([0.1, 0.7, 0.2]), Fusion(top=1, root=True))
    np.testing.assert_allclose(rooted.scores, np.sqrt([0.35, 0.07]), rtol=1e-6)
    soft = fuse(given, np.array([0.0, np.log(3.0)]), Fusion(top=1, root=False, softmax_factor=2.0))
    np.testing.assert_allclose(soft.scores, [0.75, 0.15], rtol=1e-6)


def test_picks_come_lazily() -> None:
    given = many(500, 1)
    rules = Suppression()
    group = [np.arange(500)]
    first = list(islice(soft_picks(given.segments, given.scores, group, rules), 5))
    assert first[0].scores[0] == given.scores.max()
