"""The made videos, each encoded once a session, when first asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import av
import pytest
from media import cut_edit_list, make
from video.cases import CASES


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Returns the path of the video of that name. Tests that damage it work on a copy."""
    folder = tmp_path_factory.mktemp("videos")

    def path(name: str) -> Path:
        target = folder / name
        if not target.exists():
            arguments = {"frames": 40, **CASES[name].made}
            if arguments.get("codec", "libx264") not in av.codecs_available:
                pytest.skip(f"this PyAV has no encoder {arguments['codec']}")
            make(target, **arguments)
            if name == "edit.mp4":
                cut_edit_list(target, 15 * 512)
        return target

    return path
