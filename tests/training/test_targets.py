"""What points, pairs and rows should say, on cases made by hand."""

from __future__ import annotations

import math

import torch

from vidact.training import targets


def found(at: int, level: int, lengths: list[int]) -> int:
    """The index of a position among the points of all levels."""
    return sum(lengths[:level]) + at


def test_levels_answer_for_the_published_distances() -> None:
    assert [targets.reach(level, 6) for level in range(6)] == [
        (0, 4),
        (4, 8),
        (8, 16),
        (16, 32),
        (32, 64),
        (64, math.inf),
    ]
    assert [targets.reach(level, 6, overlapping=True)[0] for level in range(6)] == [0, 2, 4, 8, 16, 32]


def test_a_segment_is_found_near_its_centre_on_the_level_of_its_length() -> None:
    lengths = [16, 8, 4]
    where = targets.points(lengths)
    segments, labels = torch.tensor([[2.0, 7.0], [3.0, 14.0]]), torch.tensor([1, 0])
    classes, distances = targets.assign(where, segments, labels, 3, radius=1.5)
    chosen = [(int(p), int(c.argmax())) for p, c in zip(where.at, classes, strict=True) if c.sum()]
    # The first one, centre 4.5: on level 0 rows 4 and 5 (3 and 6 are 1.5 away); on level 1 row 6, whose farther end is
    # 4 away. The second, centre 8.5: on level 1 (4 to 8) rows 8 and 10, for 6 is the shorter one's; on level 2 rows 4
    # and 12, for the ends are less than 8 from row 8.
    assert chosen == [(4, 1), (5, 1), (6, 1), (8, 0), (10, 0), (4, 0), (12, 0)]
    assert distances[found(4, 0, lengths)].tolist() == [2, 3]
    assert distances[found(4, 1, lengths)].tolist() == [(8 - 3) / 2, (14 - 8) / 2]


def test_without_a_radius_all_inner_points_answer() -> None:
    where = targets.points([8])
    classes, _ = targets.assign(where, torch.tensor([[1.0, 5.0]]), torch.tensor([0]), 1, radius=0)
    assert classes[:, 0].tolist() == [0, 0, 1, 1, 1, 0, 0, 0]  # the ends themselves are not inside


def test_the_shortest_segment_wins_and_equal_ones_share_the_point() -> None:
    where = targets.points([16])
    segments = torch.tensor([[0.0, 12.0], [4.0, 7.0], [4.0, 7.0005]])
    classes, distances = targets.assign(where, segments, torch.tensor([0, 1, 2]), 3, radius=0)
    assert classes[5].tolist() == [0, 1, 1] and distances[5].tolist() == [1, 2]
    assert classes[2].tolist() == [1, 0, 0]
    twice, _ = targets.assign(where, segments[1:2].repeat(2, 1), torch.tensor([1, 1]), 3, radius=0)
    assert float(twice.max()) == 1.0


def test_no_segments_are_no_targets() -> None:
    classes, distances = targets.assign(targets.points([4, 2]), torch.empty(0, 2), torch.empty(0).long(), 2, 1.5)
    assert classes.shape == (6, 2) and distances.shape == (6, 2) and not classes.any()
    assert not targets.boundaries(torch.empty(0, 2), 5)[0].any()
    assert not targets.pairs(torch.empty(0, 2), 5, 3)[0].any()


def test_boundaries_are_the_shares_of_rows_within_one_and_a_half_of_an_end() -> None:
    starts, ends = targets.boundaries(torch.tensor([[2.0, 5.5]]), 8)
    torch.testing.assert_close(starts, torch.tensor([0.5, 1.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.0]))  # 0.5 to 3.5
    torch.testing.assert_close(ends, torch.tensor([0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0]))  # 4 to 7


def test_pairs_hold_their_best_overlap_and_say_which_fit() -> None:
    overlaps, fits = targets.pairs(torch.tensor([[1.0, 3.0], [3.0, 4.0]]), length=4, durations=3)
    assert fits.tolist() == [[True] * 4, [True, True, True, False], [True, True, False, False]]
    assert float(overlaps[1, 1]) == 1.0 and float(overlaps[0, 3]) == 1.0
    assert float(overlaps[0, 0]) == 0.0
    torch.testing.assert_close(overlaps[2, 1], torch.tensor(2 / 3))  # 1 to 4 against 1 to 3


def test_frames_are_those_whose_centre_is_inside_and_short_segments_keep_one() -> None:
    segments = torch.tensor([[0.5, 3.0], [4.1, 4.3], [6.8, 9.0], [-3.0, -2.0]])
    wanted = targets.frames(segments, torch.tensor([0, 1, 0, 1]), 2, 8)
    assert wanted[:, 0].tolist() == [0, 1, 1, 1, 0, 0, 0, 1]
    assert wanted[:, 1].tolist() == [0, 0, 0, 0, 1, 0, 0, 0]
