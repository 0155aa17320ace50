"""The example videos are what their script draws, and small."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from vidact.video.decode import ClipReader
from vidact.video.index import read_index
from vidact.video.sampling import ClipGrid
from vidact.video.transform import Plan

FOLDER = Path(__file__).parents[2] / "examples" / "videos"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_videos", FOLDER / "make_videos.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_videos"] = module  # dataclasses look their module up while the class is made
    spec.loader.exec_module(module)
    return module


def test_every_film_is_there_and_as_long_as_the_script_says(script: ModuleType) -> None:
    assert sorted(path.name for path in FOLDER.iterdir() if path.suffix in (".mp4", ".webm")) == sorted(script.FILMS)
    for name, (seconds, _) in script.FILMS.items():
        assert (FOLDER / name).stat().st_size <= 150_000
        facts = read_index(str(FOLDER / name)).facts
        assert facts.duration == pytest.approx(seconds, abs=0.05)
        assert (facts.width, facts.height) == (script.WIDTH, script.HEIGHT)


def test_a_film_shows_what_the_script_draws(script: ModuleType) -> None:
    index = read_index(str(FOLDER / "coast.mp4"))
    rows = np.array([[0], [100], [191]])
    grid = ClipGrid(np.zeros(3), np.ones(3), np.zeros(3, bool), rows)
    whole = Plan(script.HEIGHT, script.WIDTH, ((0, 0),), (script.HEIGHT, script.WIDTH))
    world = script.landscape(*script.WORLDS[0])
    with ClipReader(index, grid, whole, heartbeat=None) as reader:
        for decoded in reader:
            assert decoded is not None
            drawn = script.coast(rows[decoded.row, 0] / script.FPS, [world])
            assert np.abs(decoded.frames[0, 0] - drawn).mean() < 8


@pytest.mark.parametrize("word", ["-h", "--help"])
def test_who_asks_for_help_gets_it_and_no_folder(
    script: ModuleType, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["make_videos.py", word])
    script.main()
    assert "make_videos.py [FOLDER]" in capsys.readouterr().out and not list(tmp_path.iterdir())
