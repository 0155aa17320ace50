"""Files nobody would make on purpose, and names nobody should: each gives frames or one VideoError, nothing else."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from media import make, number
from video.cases import unescape

from vidact.errors import VideoError
from vidact.records import Geometry, Sampling
from vidact.video._boxes import unfinished
from vidact.video.decode import ClipReader
from vidact.video.find import find
from vidact.video.index import Index, read_index
from vidact.video.sampling import ClipGrid, sliding
from vidact.video.transform import Plan, plan

SQUASH = Plan(96, 96, ((0, 0),), (96, 96))


def kind(path: Path) -> str:
    """The kind of error a file is refused with, at the index or when it is decoded."""
    with pytest.raises(VideoError) as caught:
        index = read_index(str(path))
        list(ClipReader(index, sliding(index, Sampling(4, 1, 15.0)), SQUASH))
    assert caught.value.stage in ("index", "decode") and caught.value.message
    return caught.value.kind


def single(index: Index) -> ClipGrid:
    frames = np.arange(index.facts.frames)[:, None]
    return ClipGrid(np.zeros(len(frames)), np.ones(len(frames)), np.zeros(len(frames), bool), frames)


def test_what_is_no_video(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.mp4"
    assert kind(path) == "NotFound"
    path.write_bytes(b"")
    assert kind(path) == "EmptyFile"
    path.write_text("To be or not to be. " * 500)
    assert kind(path) == "NotAVideo"
    path.write_bytes(bytes(100_000))
    assert kind(path) == "NotAVideo"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    assert kind(path) in ("NotAVideo", "Undecodable", "NoVideoStream")
    assert kind(tmp_path) == "NotAFile"
    os.mkfifo(tmp_path / "fifo.mp4")
    assert kind(tmp_path / "fifo.mp4") == "NotAFile"
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.mp4")
        assert kind(tmp_path / "socket.mp4") == "NotAFile"


def test_sound_alone_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=48000)
        silence = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
        silence.rate = 48000
        out.mux([*stream.encode(silence), *stream.encode(None)])
    assert kind(path) == "NoVideoStream"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="nothing is unreadable to root")
def test_an_unreadable_file(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=2)
    path.chmod(0)
    assert kind(path) == "NotReadable"


@pytest.mark.parametrize(
    "text",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2.0,\n{film}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXTINF:2.0,\nhttp://127.0.0.1:9/film.ts\n",
        "ffconcat version 1.0\nfile film.ts\n",
        "<?xml version='1.0'?><MPD><Period><BaseURL>{film}</BaseURL></Period></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
    ],
)
def test_a_playlist_opens_no_other_file(tmp_path: Path, text: str) -> None:
    film = make(tmp_path / "film.ts", frames=2)
    path = tmp_path / "list.mp4"
    path.write_text(text.format(film=film))
    assert kind(path) == "NotAVideo"


@pytest.mark.parametrize(
    "name",
    [
        "two  spaces.mp4",
        'it\'s "quoted".mp4',
        "new\nline.mp4",
        "[red]markup[bold].mp4",
        "😀 日本語 é.mp4",
        "back\\slash.mp4",
        "-rf.mp4",
        "concat:a|b.mp4",
        "http:a.mp4",
        "%d %s {} $HOME `id`.mp4",
        "\x1b[31m.mp4",
        b"caf\xe9 \xff.mp4",
    ],
)
def test_any_name_will_do(tmp_path: Path, name: str | bytes, made: Callable[[str], Path], monkeypatch: object) -> None:
    raw = os.fsencode(name)
    try:
        shutil.copyfile(made("h264.mp4"), os.fsencode(tmp_path) + b"/" + raw)
    except OSError:
        pytest.skip("this file system has no such names")
    (video,) = find([str(tmp_path)]).videos
    assert unescape(video.video) == raw
    index = read_index(video.path)
    for decoder in ("auto", "pyav"):
        with ClipReader(index, single(index), SQUASH, decoder=decoder, heartbeat=None) as reader:
            assert [number(decoded.frames[0, 0]) for decoded in reader if decoded is not None] == list(range(40))


def test_a_relative_name_is_a_file_and_no_protocol(made: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copyfile(made("h264.mp4"), tmp_path / "http:a.mp4")
    here = os.getcwd()
    os.chdir(tmp_path)
    try:
        assert read_index("http:a.mp4").facts.frames == 40
    finally:
        os.chdir(here)


def test_a_download_that_stopped(tmp_path: Path) -> None:
    first = make(tmp_path / "a.mp4", options={"g": "12"}, container={"movflags": "faststart"}).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(first[: int(len(first) * 0.6)])
    index = read_index(str(path))
    assert index.damaged and 20 < index.facts.frames < 45
    with ClipReader(index, single(index), SQUASH, heartbeat=None) as reader:
        numbers = [number(decoded.frames[0, 0]) for decoded in reader if decoded is not None]
    assert reader.damaged and reader.decoder == "pyav"
    assert numbers[:20] == list(range(20))
    last = make(tmp_path / "b.mp4").read_bytes()
    path.write_bytes(last[: int(len(last) * 0.6)])  # the table of contents was at the end
    with pytest.raises(VideoError, match=r"MP4 or MOV file, but its table of contents \(moov\) is missing") as caught:
        read_index(str(path))
    assert caught.value.kind == "NotAVideo"


def test_what_is_whole_or_no_mp4_is_not_called_unfinished(tmp_path: Path) -> None:
    whole = make(tmp_path / "a.mp4").read_bytes()
    path = tmp_path / "b.mp4"
    path.write_bytes(whole)
    assert unfinished(str(path)) == "" == unfinished(str(tmp_path / "none"))
    moov = whole.index(b"moov")
    for content in (b"", b"To be or not to be", bytes(1000), whole[moov - 4 :]):
        path.write_bytes(content)
        assert unfinished(str(path)) == "", content[:20]
    for content in (whole[:12], whole[: moov + 20], b"\0\0\0\x08free\0\0\0\x03mdat" + bytes(100)):
        path.write_bytes(content)
        assert unfinished(str(path)), content[:20]


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "open.ts", "mpeg4.avi", "vp9.webm", "hevc.mp4", "mjpeg.mov"])
@pytest.mark.parametrize("decoder", ["auto", "pyav"])
def test_damage_in_the_middle_costs_its_own_stretch_only(
    name: str, decoder: str, made: Callable[[str], Path], tmp_path: Path
) -> None:
    whole = read_index(str(made(name)))
    data = made(name).read_bytes()
    with av.open(str(made(name))) as container:
        packets = [p for p in container.demux(video=0) if p.size]
        stored = {int(np.searchsorted(whole.pts, p.pts)): (p.pos, p.size) for p in packets}
    keys = whole.keys.tolist()
    first, behind = keys[1], keys[2] if len(keys) > 2 else whole.facts.frames
    rng = np.random.default_rng(7)
    path = tmp_path / name
    for _ in range(3):
        damaged = bytearray(data)
        at, size = stored[first]
        hurt = slice(at + size // 3, at + size - 4)
        damaged[hurt] = rng.bytes(hurt.stop - hurt.start)
        path.write_bytes(damaged)
        index = read_index(str(path))
        with ClipReader(index, single(index), SQUASH, decoder=decoder, heartbeat=None) as reader:
            rows = [decoded for decoded in reader if decoded is not None]
        # In a transport stream the damage may take a whole packet with it, so frames are told apart by their times.
        times = index.seconds + index.facts.start_time - whole.facts.start_time
        seen = {round(times[decoded.row] * 30): number(decoded.frames[0, 0]) for decoded in rows}
        # Pictures shown before a key frame may be built on it, two or three at most.
        untouched = [n for n in range(whole.facts.frames) if n < first - 3 or n >= behind]
        assert [seen.get(n) for n in untouched] == untouched
        assert reader.missing == index.facts.frames - len(rows)


def test_random_damage_ends_in_frames_or_in_one_error(made: Callable[[str], Path], tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    names = ["h264.mp4", "h264.mkv", "h264.avi", "h264.ts", "h264.flv", "vp9.webm", "av1.mp4", "wmv2.wmv", "prores.mov"]
    outcomes = set()
    for n in range(63):
        name = names[n % len(names)]
        data = bytearray(made(name).read_bytes())
        match n // len(names) % 7:
            case 0:
                del data[int(rng.integers(1, len(data))) :]
            case 1:
                for at in rng.integers(0, len(data), 20):
                    data[at] ^= 1 << int(rng.integers(8))
            case 2:
                at = int(rng.integers(len(data)))
                data[at : at + 400] = bytes(len(data[at : at + 400]))
            case 3:
                for at in rng.integers(0, min(len(data), 1500), 6):
                    data[at] = rng.integers(256)
            case 4:
                del data[: int(rng.integers(1, len(data)))]
            case 5:
                at, other = rng.integers(0, len(data), 2)
                data[at:at] = data[other : other + 800]
            case _:
                at = int(rng.integers(len(data)))
                data[at : at + 800] = rng.bytes(len(data[at : at + 800]))
        path = tmp_path / name
        path.write_bytes(data)
        try:
            index = read_index(str(path))
            grid = sliding(index, Sampling(4, 1, 15.0))
            shape = plan(index.facts, Geometry((64, 64), "short-side", 72))
            with ClipReader(index, grid, shape, heartbeat=None) as reader:
                rows = [decoded.row for decoded in reader if decoded is not None]
            assert len(rows) + reader.missing == len(grid) and rows == sorted(set(rows))
            outcomes.add("partial" if reader.missing else "read")
        except VideoError as error:
            outcomes.add(error.kind)
    assert {"read", "partial", "NotAVideo"} <= outcomes


def test_a_file_that_goes_away_after_it_was_indexed(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", frames=10)
    index = read_index(str(path))
    path.unlink()
    with pytest.raises(VideoError) as caught:
        list(ClipReader(index, single(index), SQUASH))
    assert (caught.value.kind, caught.value.stage) == ("NotFound", "decode")


def test_time_stamps_beyond_reason(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mkv", frames=3, times=[0, 40, 11_000_000_000])
    assert kind(path) == "BadTimes"
