"""The clip grid is arithmetic: properties over arbitrary videos and settings, and the examples of the documentation."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vidact.errors import UsageError, VideoError
from vidact.records import Sampling, VideoFacts
from vidact.video.index import Index
from vidact.video.sampling import TOLERANCE, chunks, displayed, sliding, spread


def video(ends: list[float], keys: list[int] | None = None) -> Index:
    """An index without a file: frame i is shown until ``ends[i]``."""
    frames = len(ends)
    facts = VideoFacts(ends[-1], 0.0, frames / ends[-1], 64, 48, 0, "h264", frames)
    seconds = np.array([0.0, *ends[:-1]])
    return Index(
        path="nowhere.mp4",
        facts=facts,
        time_base=Fraction(1, 1000),
        pts=np.round(seconds * 1000).astype(np.int64),
        seconds=seconds,
        ends=np.array(ends),
        keys=np.array(keys or [0], np.int64),
        damaged=False,
        match="pts",
        order=np.zeros(0, np.int64),
        simple=True,
        stream=0,
        container="mov,mp4",
        lead=0,
    )


def steady(frames: int, fps: float, keys: list[int] | None = None) -> Index:
    return video([(i + 1) / fps for i in range(frames)], keys)


videos = st.lists(st.integers(1, 400), min_size=1, max_size=60).map(
    lambda steps: video((np.cumsum(steps) / 1000).tolist())
)
samplings = st.builds(Sampling, st.integers(1, 32), st.integers(1, 4), st.sampled_from([8.0, 12.0, 25.0, 29.97]))
lengths = st.none() | st.floats(0.05, 5)


@settings(max_examples=150, deadline=None)
@given(videos, samplings, lengths, lengths)
def test_the_grid_keeps_its_rules_for_any_video(
    index: Index, sampling: Sampling, clip: float | None, stride: float | None
) -> None:
    grid = sliding(index, sampling, clip, stride)
    length = sampling.seconds if clip is None else clip
    step = length if stride is None else stride
    duration = index.ends[-1]

    assert grid.frames.shape == (len(grid), sampling.frames)
    assert grid.starts[0] == 0 and (np.diff(grid.starts) > 0).all()
    assert (grid.ends <= duration).all() and (grid.ends > grid.starts).all()
    # Clip i begins at i x stride; only the last may have been moved back, to end with the last frame.
    assert np.array_equal(grid.starts[:-1], np.arange(len(grid) - 1) * step)
    last = (len(grid) - 1) * step
    assert grid.starts[-1] == last or grid.ends[-1] == pytest.approx(duration, abs=2 * TOLERANCE)
    # Nothing is left over, unless the stride leaves gaps on purpose.
    if step <= length:
        assert grid.ends[-1] == pytest.approx(duration, abs=2 * TOLERANCE)
    # Padding is for a video shorter than one clip alone.
    assert grid.padded.tolist() == [bool(duration < length - TOLERANCE)] * len(grid)
    # Sample j is the frame on display at begin + (j + 0.5) x length / T.
    times = grid.starts[:, None] + (np.arange(sampling.frames) + 0.5) * length / sampling.frames
    inside = times < duration - TOLERANCE
    assert (index.seconds[grid.frames][inside] <= times[inside] + 2 * TOLERANCE).all()
    assert (index.ends[grid.frames][inside] > times[inside] - 2 * TOLERANCE).all()
    assert (grid.frames[~inside & (times > duration)] == len(index.seconds) - 1).all()


@settings(max_examples=100, deadline=None)
@given(videos, st.integers(1, 12), samplings)
def test_spread_clips_go_from_the_first_frame_to_the_last(index: Index, clips: int, sampling: Sampling) -> None:
    grid = spread(index, sampling, clips)
    if grid.padded[0] or index.ends[-1] - sampling.seconds <= TOLERANCE:
        assert len(grid) == 1
    else:
        assert len(grid) == clips
        assert grid.starts[0] + grid.starts[-1] == pytest.approx(index.ends[-1] - sampling.seconds)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 3000), st.lists(st.integers(1, 2999), max_size=20), st.floats(1, 60), lengths, lengths)
def test_chunks_part_the_rows_and_begin_at_key_frames(
    frames: int, keys: list[int], seconds: float, clip: float | None, stride: float | None
) -> None:
    index = steady(frames, 1.0, sorted({0, *(key for key in keys if key < frames)}))
    grid = sliding(index, Sampling(4, 1, 1.0), clip or 4.0, max(stride or 1.0, 0.5))
    cut = chunks(index, grid, seconds)
    assert [chunk.number for chunk in cut] == list(range(len(cut)))
    assert [chunk.first for chunk in cut] == [0, *(chunk.last for chunk in cut[:-1])]
    assert cut[-1].last == len(grid) and all(chunk.first < chunk.last for chunk in cut)
    assert len(cut) == 1 or index.ends[-1] > 1200
    for chunk in cut:
        assert chunk.seek in index.seconds[index.keys]
        assert (index.seconds[grid.frames[chunk.first : chunk.last]] >= chunk.seek).all()


def test_the_last_clip_is_moved_back() -> None:
    grid = sliding(steady(250, 25.0), Sampling(16, 1, 4.0))
    assert grid.starts.tolist() == [0, 4, 6]
    assert grid.ends.tolist() == [4, 8, 10]
    assert not grid.padded.any()


def test_a_short_video_is_padded_with_its_last_frame() -> None:
    grid = sliding(steady(3, 30.0), Sampling(16, 1, 12.0))
    assert grid.padded.tolist() == [True]
    assert grid.ends.tolist() == [pytest.approx(0.1)]
    assert grid.frames[0].tolist() == [1] + [2] * 15


def test_a_stride_beyond_the_clip_leaves_gaps_and_overlap_adds_no_copies() -> None:
    ten = steady(250, 25.0)
    assert sliding(ten, Sampling(4, 1, 4.0), 1.0, 4.0).starts.tolist() == [0, 4, 8]
    assert sliding(ten, Sampling(4, 1, 4.0), 4.0, 2.0).starts.tolist() == [0, 2, 4, 6]
    assert sliding(ten, Sampling(4, 1, 4.0), 4.0, 5.0).starts.tolist() == [0, 5]
    assert sliding(ten, Sampling(4, 1, 4.0), 4.0, 7.0).starts.tolist() == [0, 6]


@pytest.mark.parametrize("fps", [24.0, 24000 / 1001, 29.97, 30.0, 60.0, 1000 / 33])
def test_half_frame_ties_are_decided_the_same_way_all_along(fps: float) -> None:
    """12 samples a second out of 24 frames fall exactly between two frames: rounding must not make some early, some
    late."""
    index = steady(2400, fps)
    grid = sliding(index, Sampling(16, 1, fps / 2))
    whole = grid.frames[: len(grid) - 1]
    assert (whole == np.arange(whole.size).reshape(whole.shape) * 2 + 1).all()


def test_a_frame_is_displayed_until_the_next_one() -> None:
    index = video([0.1, 0.5, 0.6])
    assert displayed(index, np.array([-1.0, 0.0, 0.0999, 0.1, 0.4, 0.5, 0.55, 9.0])).tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
        2,
    ]


@pytest.mark.parametrize("seconds", [0.0, -1.0, math.nan, math.inf])
def test_lengths_that_make_no_sense_are_usage_errors(seconds: float) -> None:
    index = steady(250, 25.0)
    with pytest.raises(UsageError, match="--clip-seconds"):
        sliding(index, Sampling(4, 1, 4.0), seconds)
    with pytest.raises(UsageError, match="--stride-seconds"):
        sliding(index, Sampling(4, 1, 4.0), 1.0, seconds)
    with pytest.raises(UsageError, match="clips"):
        spread(index, Sampling(4, 1, 4.0), 0)


def test_a_stride_of_nanoseconds_is_refused_before_it_eats_the_memory() -> None:
    with pytest.raises(VideoError, match="more than"):
        sliding(steady(250, 25.0), Sampling(4, 1, 4.0), 1.0, 1e-9)


def test_a_video_of_up_to_twenty_minutes_is_one_chunk() -> None:
    sampling = Sampling(16, 1, 12.0)
    short, long = steady(1200, 1.0, [0, 600]), steady(2400, 1.0, list(range(0, 2400, 70)))
    assert len(chunks(short, sliding(short, sampling), 60.0)) == 1
    cut = chunks(long, sliding(long, sampling), 600.0)
    assert [chunk.seek for chunk in cut] == [0.0, 630.0, 1260.0, 1820.0]
