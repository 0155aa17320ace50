"""Conformance: every decoder, every video, the same frames at the same times.

Tolerance between decoders: both scale with swscale's bilinear filter, but six years of FFmpeg lie between them; they
place the chroma samples of 4:2:0 differently. A picture may differ by 1.2 of 255 on average and by 40 at a coloured
edge.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from media import make, number, painted
from video.cases import CASES, Case

from vidact.errors import UsageError, VideoError
from vidact.records import Geometry, Sampling
from vidact.video import _decord, _pyav, sampling
from vidact.video.decode import AGAIN, ClipReader
from vidact.video.index import Index, read_index
from vidact.video.sampling import ClipGrid, chunks, sliding
from vidact.video.transform import Plan, plan

SQUASH = Plan(96, 96, ((0, 0),), (96, 96))
MEAN, WORST = 1.2, 40

needs_decord = pytest.mark.skipif(find_spec("decord") is None, reason="decord has no wheel here")
FOR_DECORD = [name for name, case in CASES.items() if case.decord]
BOTH = [pytest.param("decord", name, marks=needs_decord) for name in FOR_DECORD] + [("pyav", name) for name in CASES]


def single(rows: np.ndarray | range) -> ClipGrid:
    """A grid of clips of one frame each."""
    frames = np.asarray(rows, np.int64)[:, None]
    return ClipGrid(np.zeros(len(frames)), np.ones(len(frames)), np.zeros(len(frames), bool), frames)


def read(index: Index, grid: ClipGrid, decoder: str, shape: Plan = SQUASH, threads: int = 1) -> dict[int, np.ndarray]:
    """All rows of a grid: row → (crops, T, h, w, 3)."""
    with ClipReader(index, grid, shape, decoder=decoder, threads=threads, heartbeat=None) as reader:
        rows = [decoded for decoded in reader if decoded is not None]
    assert [decoded.row for decoded in rows] == sorted({decoded.row for decoded in rows})
    assert reader.missing == len(grid) - len(rows)
    return {decoded.row: decoded.frames for decoded in rows}


def numbers(rows: dict[int, np.ndarray]) -> list[int | None]:
    return [number(frames[0, 0]) for _, frames in sorted(rows.items())]


@pytest.mark.parametrize(("decoder", "name"), BOTH)
class TestEveryDecoderOnEveryVideo:
    @pytest.fixture
    def case(self, name: str) -> Case:
        return CASES[name]

    @pytest.fixture
    def index(self, name: str, made: Callable[[str], Path]) -> Index:
        return read_index(str(made(name)))

    def test_every_frame_once_in_order_and_upright(self, index: Index, case: Case, decoder: str) -> None:
        assert index.facts.frames == len(case.numbers)
        assert numbers(read(index, single(range(index.facts.frames)), decoder)) == list(case.numbers)

    def test_any_frames_alone(self, index: Index, case: Case, decoder: str) -> None:
        count = index.facts.frames
        for rows in (range(count - 1, count), range(0, count, 7), range(count // 2, count, 11)):
            expected = [case.numbers[row] for row in rows]
            assert numbers(read(index, single(rows), decoder)) == expected


@pytest.mark.parametrize("name", CASES)
class TestEveryVideo:
    def test_its_facts_and_times(self, name: str, made: Callable[[str], Path]) -> None:
        case, index = CASES[name], read_index(str(made(name)))
        facts = index.facts
        assert (facts.codec, facts.width, facts.height, facts.rotation) == (case.codec, *case.size, case.rotation)
        times = np.array(case.times) / 1000 if case.times else np.arange(len(case.numbers)) / 30
        assert index.seconds[0] == 0
        assert np.abs(index.seconds - times).max() < 0.0011  # Matroska and FLV count whole milliseconds
        assert np.array_equal(index.ends[:-1], index.seconds[1:])
        if case.times is None:
            assert index.ends[-1] == pytest.approx(len(case.numbers) / 30, abs=0.0015)
            assert facts.fps == pytest.approx(30, rel=0.05)
        assert facts.duration == index.ends[-1]
        assert case.start is None or facts.start_time == pytest.approx(case.start, abs=0.001)
        assert not index.damaged
        assert (np.diff(index.keys) > 0).all() and index.keys.min() >= 0 and index.keys.max() < facts.frames

    def test_which_decoder_it_gets(self, name: str, made: Callable[[str], Path]) -> None:
        index = read_index(str(made(name)))
        trusted = CASES[name].decord and find_spec("decord") is not None
        assert ClipReader(index, single(range(1)), SQUASH).decoder == ("decord" if trusted else "pyav")
        assert ClipReader(index, single(range(1)), SQUASH, decoder="pyav").decoder == "pyav"
        if not trusted:
            with pytest.raises(VideoError, match="decord cannot be used: "):
                ClipReader(index, single(range(1)), SQUASH, decoder="decord")

    def test_skipping_and_threads_change_no_pixel(
        self, name: str, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_pyav, "SEEK_ROWS", 8)
        index = read_index(str(made(name)))
        count = index.facts.frames
        whole = read(index, single(range(count)), "pyav")
        for rows, threads in ((range(count - 1, count), 1), (range(0, count, 9), 1), (range(count // 2, count, 5), 3)):
            some = read(index, single(rows), "pyav", threads=threads)
            assert len(some) == len(rows)
            for at, row in enumerate(rows):
                assert np.array_equal(some[at], whole[row])


@needs_decord
@pytest.mark.parametrize("name", FOR_DECORD)
def test_both_decoders_give_the_same_pixels(name: str, made: Callable[[str], Path]) -> None:
    index = read_index(str(made(name)))
    rows = single(range(0, index.facts.frames, 3))
    one, other = read(index, rows, "decord"), read(index, rows, "pyav")
    apart = [np.abs(one[row].astype(int) - other[row]) for row in one]
    assert max(float(difference.mean()) for difference in apart) < MEAN
    assert max(int(difference.max()) for difference in apart) <= WORST


def test_rows_are_the_same_however_the_video_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampling, "WHOLE_SECONDS", 5.0)
    monkeypatch.setattr(_pyav, "SEEK_ROWS", 30)
    index = read_index(str(make(tmp_path / "a.mp4", frames=600, size=(80, 60), options={"bf": "3", "g": "40"})))
    grid = sliding(index, Sampling(8, 2, 12.0), stride_seconds=0.5)
    whole = read(index, grid, "pyav")
    assert len(whole) == len(grid)
    for seconds in (3.0, 7.3):
        cut = chunks(index, grid, seconds)
        assert len(cut) > 2
        pieces: dict[int, np.ndarray] = {}
        for chunk in cut:
            with ClipReader(index, grid, SQUASH, chunk=chunk) as reader:
                assert reader.decoder == "pyav"
                pieces.update((decoded.row, decoded.frames) for decoded in reader if decoded is not None)
        assert pieces.keys() == whole.keys()
        assert all(np.array_equal(pieces[row], whole[row]) for row in whole)


def test_a_clip_holds_the_frames_its_grid_says(made: Callable[[str], Path]) -> None:
    index = read_index(str(made("uneven.mp4")))
    grid = sliding(index, Sampling(6, 1, 12.0), 0.5, 0.3)
    for row, frames in read(index, grid, "auto").items():
        assert frames.shape == (1, 6, 96, 96, 3) and frames.dtype == np.uint8
        assert [number(picture) for picture in frames[0]] == grid.frames[row].tolist()


@pytest.mark.parametrize("name", ["h264.mp4", "turned-90.mp4", "turned-270.mov", "portrait.mp4"])
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_crops_are_cut_from_the_frame_as_shown(name: str, decoder: str, made: Callable[[str], Path]) -> None:
    index = read_index(str(made(name)))
    facts = index.facts
    shape = plan(facts, Geometry((100, 100), "short-side", 110), crops=3)
    frames = read(index, single(range(2)), decoder, shape)[1]
    assert frames.shape == (3, 1, 100, 100, 3)
    upright = painted(1, shape.width, shape.height)
    for crop, (y, x) in zip(frames[:, 0], shape.crops, strict=True):
        assert np.abs(crop.astype(int) - upright[y : y + 100, x : x + 100]).mean() < 20


def test_colours_are_right_whatever_the_file_calls_them(made: Callable[[str], Path]) -> None:
    for name in ("h264.mp4", "full-range-709.mp4", "ten-bit.mp4", "vp9.webm", "mjpeg.mov", "av1.mp4"):
        frames = read(read_index(str(made(name))), single(range(4)), "auto")
        middles = np.s_[9::19, 9::19]
        assert np.abs(frames[3][0, 0][middles].astype(int) - painted(3, 96, 96)[middles]).mean() < 10, name


def test_a_heartbeat_is_sent_while_nothing_is_ready(made: Callable[[str], Path]) -> None:
    index = read_index(str(made("open.ts")))
    with ClipReader(index, single(range(39, 40)), SQUASH, heartbeat=0.0) as reader:
        items = list(reader)
    assert items.count(None) >= 4
    assert sum(item is not None for item in items) == 1


def test_a_reader_can_be_left_early_and_read_again(made: Callable[[str], Path]) -> None:
    index = read_index(str(made("open.ts")))
    with ClipReader(index, single(range(20)), SQUASH, heartbeat=None) as reader:
        for decoded in reader:
            assert decoded is not None
            if decoded.row == 3:
                break
        assert len(list(reader)) == 20 and reader.missing == 0


def test_pictures_are_held_only_while_a_clip_needs_them() -> None:
    from vidact.video.decode import _Clips

    frames = np.arange(50)[:, None] * 2 + np.arange(8) * 2
    clips = _Clips(frames, SQUASH)
    most, emitted = 0, []
    for row in np.unique(frames).tolist():
        emitted += [at for at, _ in clips.add((row, np.zeros((96, 96, 3), np.uint8)))]
        most = max(most, len(clips.held))
    assert emitted == list(range(50))
    assert most <= 8 and not clips.held


def test_a_decoder_nobody_knows_is_a_usage_error(made: Callable[[str], Path]) -> None:
    with pytest.raises(UsageError, match="ffmpeg"):
        ClipReader(read_index(str(made("one.mp4"))), single(range(1)), SQUASH, decoder="ffmpeg")


@needs_decord
class TestDecordLetDown:
    """What happens when decord stumbles in the middle."""

    @pytest.fixture
    def stumbling(self, monkeypatch: pytest.MonkeyPatch) -> None:
        real = _decord.pictures

        def pictures(*arguments: object) -> object:
            for count, item in enumerate(real(*arguments)):  # type: ignore[arg-type]
                if count == 11:
                    raise VideoError("Undecodable", "decord: out of order")
                yield item

        monkeypatch.setattr(_decord, "pictures", pictures)

    def test_pyav_begins_anew_and_what_came_before_is_void(self, stumbling: None, made: Callable[[str], Path]) -> None:
        index = read_index(str(made("h264.mp4")))
        with ClipReader(index, single(range(40)), SQUASH, heartbeat=None) as reader:
            assert reader.decoder == "decord"
            rows = [decoded for decoded in reader if decoded is not None]
        place = rows.index(AGAIN)
        assert 0 < place < 12 and reader.decoder == "pyav" and reader.missing == 0
        assert [number(decoded.frames[0, 0]) for decoded in rows[place + 1 :]] == list(range(40))
        plain = read(index, single(range(40)), "pyav")
        assert all((decoded.frames == plain[decoded.row]).all() for decoded in rows[place + 1 :])

    def test_nothing_is_void_where_nothing_was_given(self, stumbling: None, made: Callable[[str], Path]) -> None:
        grid = ClipGrid(np.zeros(1), np.ones(1), np.zeros(1, bool), np.arange(40).reshape(1, 40))
        index = read_index(str(made("h264.mp4")))
        with ClipReader(index, grid, SQUASH, heartbeat=None) as reader:
            (clip,) = list(reader)
        assert clip is not None and [number(frame) for frame in clip.frames[0]] == list(range(40))

    def test_unless_the_user_wants_decord_alone(self, stumbling: None, made: Callable[[str], Path]) -> None:
        index = read_index(str(made("h264.mp4")))
        reader = ClipReader(index, single(range(40)), SQUASH, decoder="decord")
        with reader, pytest.raises(VideoError, match="out of order"):
            list(reader)

    def test_another_frame_count_is_refused(self, made: Callable[[str], Path]) -> None:
        from dataclasses import replace

        index = read_index(str(made("h264.mp4")))
        shorter = replace(index, facts=replace(index.facts, frames=39))
        with pytest.raises(VideoError, match="counts 40 frames"):
            list(_decord.pictures(shorter, SQUASH, np.arange(3), 1))
