"""The packet index where containers are difficult: joined, cut, edited, turned, dressed up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition
from media import make, number, painted

from vidact.errors import VideoError
from vidact.video import _decord, _h264
from vidact.video import index as index_module
from vidact.video.decode import ClipReader
from vidact.video.index import indexing, read_index
from vidact.video.sampling import ClipGrid
from vidact.video.transform import Plan

SQUASH = Plan(96, 96, ((0, 0),), (96, 96))
BIDIRECTIONAL = {"bf": "3", "g": "12"}


def shown(path: Path) -> list[int | None]:
    """The numbers painted into the frames of a file, in presentation order."""
    index = read_index(str(path))
    frames = np.arange(index.facts.frames)[:, None]
    grid = ClipGrid(np.zeros(len(frames)), np.ones(len(frames)), np.zeros(len(frames), bool), frames)
    with ClipReader(index, grid, SQUASH, heartbeat=None) as reader:
        found = [number(decoded.frames[0, 0]) for decoded in reader if decoded is not None]
    assert reader.missing == 0
    return found


def joined(path: Path, *parts: Path) -> Path:
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def with_picture(path: Path, film: Path | None) -> Path:
    """A file with cover art, and the frames of ``film`` if there is one."""
    with av.open(str(path), "w") as out:
        cover = out.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = Disposition.attached_pic
        sound = out.add_stream("aac", rate=48000)
        source = av.open(str(film)) if film else None
        video = out.add_stream_from_template(source.streams.video[0]) if source else None
        image = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), "rgb24").reformat(format="yuvj420p")
        out.mux([*cover.encode(image), *cover.encode(None)])
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.rate = 48000
        out.mux([*sound.encode(silence), *sound.encode(None)])
        if source and video:
            for packet in source.demux(source.streams.video[0]):
                if packet.size:
                    packet.stream = video
                    out.mux(packet)
            source.close()
    return path


def test_times_are_exact_fractions_of_the_time_base(tmp_path: Path) -> None:
    index = read_index(str(make(tmp_path / "ntsc.mp4", frames=120, fps=Fraction(30000, 1001))))
    expected = [float(Fraction(1001 * n, 30000)) for n in range(121)]
    assert index.seconds.tolist() == expected[:120]
    assert index.ends[-1] == pytest.approx(expected[120], abs=1e-12)


def test_indexing_gives_signs_of_life(made: Callable[[str], Path]) -> None:
    *signs, index = indexing(str(made("h264.ts")), heartbeat=0.0)
    assert len(signs) >= 40 and not any(signs)
    assert index is not None and index.facts == read_index(str(made("h264.ts"))).facts
    assert len(list(indexing(str(made("h264.ts"))))) == 1


def test_joined_streams_run_on(tmp_path: Path) -> None:
    """Every scene of a joined TS may bring a clock of its own: back, far ahead, or the same once more."""
    near = make(tmp_path / "near.ts", frames=20, options=BIDIRECTIONAL)
    far = make(tmp_path / "far.ts", frames=20, options=BIDIRECTIONAL, start=5000)
    for n, parts in enumerate([(near, far), (far, near), (near, near, near)]):
        path = joined(tmp_path / f"joined{n}.ts", *parts)
        index = read_index(str(path))
        count = 20 * len(parts)
        assert index.match == "packet"
        assert index.seconds == pytest.approx(np.arange(count) / 30)
        assert shown(path) == [*range(20)] * len(parts)


def test_one_damaged_time_stamp_does_not_make_a_day(tmp_path: Path) -> None:
    path = make(tmp_path / "a.ts", frames=30, options=BIDIRECTIONAL)
    data = bytearray(path.read_bytes())
    # The last PES header; the highest bits of its PTS come first. One of them is a shift of three hours.
    at = data.rindex(b"\0\0\1\xe0") + 9
    data[at] ^= 0x08
    path.write_bytes(data)
    index = read_index(str(path))
    assert index.damaged and index.facts.frames == 29
    assert index.facts.duration == pytest.approx(1, abs=0.04)


@pytest.mark.parametrize(
    "made",
    [
        {"options": BIDIRECTIONAL},
        {"codec": "mpeg2video", "options": {"bf": "2", "g": "12"}},
        {"options": {**BIDIRECTIONAL, "x264-params": "open-gop=1:b-adapt=0:repeat-headers=1"}},
    ],
)
def test_a_broadcast_cut_anywhere_begins_with_its_first_whole_picture(tmp_path: Path, made: dict[str, object]) -> None:
    whole = make(tmp_path / "whole.ts", frames=60, **made).read_bytes()  # type: ignore[arg-type]
    path = tmp_path / "cut.ts"
    for share in (0.3, 0.45, 0.6):
        path.write_bytes(whole[int(len(whole) * share) // 188 * 188 :])
        index = read_index(str(path))
        numbers = shown(path)
        assert index.seconds[0] == 0 and index.facts.start_time > 0.2
        assert numbers == list(range(60 - len(numbers), 60))
        assert index.facts.start_time == pytest.approx(numbers[0] / 30, abs=0.2)


def test_a_frame_lasts_as_long_as_its_packet_says(tmp_path: Path) -> None:
    times = [0, 40, 80, 1000]
    index = read_index(str(make(tmp_path / "a.mkv", frames=4, times=times, fps=25)))
    assert index.seconds.tolist() == [0, 0.04, 0.08, 1.0]
    assert index.ends[:3].tolist() == [0.04, 0.08, 1.0]
    assert 1.0 < index.ends[3] <= 2.0


def with_hidden_packet(path: Path, film: Path) -> Path:
    """A VP8 film with its key frame stored once more behind itself, marked as never to be shown."""
    with av.open(str(film)) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(source.streams.video[0]):
            if not packet.size:
                continue
            packet.stream = stream
            out.mux(packet)
            if packet.pts == 0:
                data = bytearray(bytes(packet))
                data[0] &= ~0x10
                hidden = av.Packet(bytes(data))
                hidden.stream, hidden.time_base = stream, Fraction(1, 1000)
                hidden.pts = hidden.dts = 10
                hidden.is_keyframe = True
                out.mux(hidden)
    return path


def test_hidden_reference_frames_are_no_frames(tmp_path: Path, made: Callable[[str], Path]) -> None:
    """VP8 stores pictures that are only predicted from: they come as packets of their own."""
    path = with_hidden_packet(tmp_path / "hidden.webm", made("vp8.webm"))
    with av.open(str(path)) as container:
        assert sum(packet.size > 0 for packet in container.demux(video=0)) == 41
    index = read_index(str(path))
    assert index.facts.frames == 40 and not index.simple
    assert shown(path) == list(range(40))


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_times_of_decoding_are_not_taken_for_times_of_display(
    suffix: str, tmp_path: Path, made: Callable[[str], Path]
) -> None:
    """Some programs store B-frames with rising times, as they are decoded. The order they come out in is right."""
    path = tmp_path / f"wrong.{suffix}"
    with av.open(str(made("h264.mp4"))) as source, av.open(str(path), "w") as out:
        stream = out.add_stream_from_template(source.streams.video[0])
        for n, packet in enumerate(source.demux(source.streams.video[0])):
            if packet.size:
                packet.pts = packet.dts = n * 512
                packet.stream = stream
                out.mux(packet)
    assert not read_index(str(path)).simple
    assert shown(path) == list(range(40))


def test_a_packet_without_a_picture_leaves_the_one_before_on_display(
    tmp_path: Path, made: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with the second field of an interlaced frame: here by not telling the index which packet is hidden."""
    path = with_hidden_packet(tmp_path / "hidden.webm", made("vp8.webm"))
    real = index_module._flags
    monkeypatch.setattr(index_module, "_flags", lambda packet, codec, extradata: real(packet, "other", extradata))
    assert read_index(str(path)).facts.frames == 41
    with monkeypatch.context() as patch:
        patch.setattr(_decord, "refusal", lambda index: "not this one")
        assert shown(path) == [0, 0, *range(1, 40)]


def test_a_key_frame_that_is_none_is_gone_back_behind(made: Callable[[str], Path]) -> None:
    index = read_index(str(made("h264.mp4")))
    assert index.keys.tolist() == [0, 12, 24, 36]
    lying = replace(index, keys=np.array([0, 12, 19, 22, 24, 30]))
    frames = np.array([[5], [23], [31], [32]])
    grid = ClipGrid(np.zeros(4), np.ones(4), np.zeros(4, bool), frames)
    with ClipReader(lying, grid, SQUASH, decoder="pyav", heartbeat=None) as reader:
        assert [number(decoded.frames[0, 0]) for decoded in reader if decoded is not None] == [5, 23, 31, 32]
    assert not reader.damaged


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    film = make(tmp_path / "film.mp4", frames=10)
    assert shown(with_picture(tmp_path / "dressed.mp4", film)) == list(range(10))
    with pytest.raises(VideoError) as caught:
        read_index(str(with_picture(tmp_path / "song.mp4", None)))
    assert caught.value.kind == "NoVideoStream"


def test_two_video_streams_are_not_for_decord(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as out:
        streams = [out.add_stream("libx264", rate=30) for _ in range(2)]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for n in range(10):
            for stream in streams:
                out.mux(stream.encode(av.VideoFrame.from_ndarray(painted(n, 160, 120), "rgb24")))
        for stream in streams:
            out.mux(stream.encode(None))
    assert not read_index(str(path)).simple
    assert shown(path) == list(range(10))


@pytest.mark.parametrize(
    ("frames", "rest", "kind"),
    [
        (b"\x65\x88", b"", "idr"),
        (b"\x41\x9a", b"", "open"),
        (b"\x06\x06\x01\x80", b"\x41\x9a", "open"),  # recovery point, whole at once
        (b"\x06\x06\x01\x2c", b"\x41\x9a", "gradual"),  # recovery point, whole after four frames
        (b"\x06\x05\x03abc\x06\x01\x2c\x80", b"\x41\x9a", "gradual"),  # behind another message
        (b"\x06\x06\x01\x2c", b"\x65\x88", "idr"),
    ],
)
def test_what_kind_of_start_a_key_frame_is(frames: bytes, rest: bytes, kind: str) -> None:
    units = [unit for unit in (b"\x09\xf0", frames, rest) if unit]
    assert _h264.start(b"".join(b"\0\0\0\1" + unit for unit in units), None) == kind
    lengths = b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)
    assert _h264.start(lengths, b"\1\x64\0\x0b\xff\xe1") == kind
    _h264.start(lengths[:-1], b"\1\x64\0\x0b\xff\xe1")


def test_a_gradual_refresh_is_no_place_to_start(made: Callable[[str], Path]) -> None:
    assert read_index(str(made("refresh.mp4"))).keys.tolist() == [0]
    assert len(read_index(str(made("open.ts"))).keys) > 2
