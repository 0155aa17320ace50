"""The split files of UCF-101 and HMDB-51 as their authors publish them. Opens no video.

``trainlist01.txt`` and ``testlist01.txt`` hold ``class/video.avi``, the first with a number behind it; every
``LABEL_test_split1.txt`` holds ``video.avi PART`` with 1 for training, 2 for testing and 0 for neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from vidact.errors import UsageError

UCF = re.compile(r"(train|test)list(\d+)\.txt")
HMDB = re.compile(r"(.+)_test_split(\d+)\.txt")


def ucf_videos(file: Path) -> Iterator[tuple[str, str]]:
    """(video, label) of one list, the video with its class folder. UsageError, with the line, for what is none."""
    for line, text in lines(file):
        name = re.sub(r"\s+\d+$", "", text)
        if "/" not in name:
            raise UsageError(f"{file}, line {line}: {text!r} is not class/video.avi", hint="give UCF-101's own file")
        yield name, name.split("/")[0]


def hmdb_videos(folder: Path, number: str) -> Iterator[tuple[str, str, str]]:
    """(video, label, part) of the lists of split ``number``, the video with its class folder, the part 0, 1 or 2."""
    for file in sorted(folder.glob(f"*_test_split{number}.txt")):
        label = file.name[: -len(f"_test_split{number}.txt")]
        for line, text in lines(file):
            name, _, part = text.rpartition(" ")
            if part not in ("0", "1", "2") or not name:
                raise UsageError(
                    f"{file}, line {line}: {text!r} does not end in 0, 1 or 2", hint="give HMDB-51's own files"
                )
            yield f"{label}/{name.strip()}", label, part


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """(number, text) of the lines that are not empty. UsageError when the file cannot be read."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"{str(path)!r} cannot be read: {getattr(error, 'strerror', None) or error}",
            hint="give a text file in UTF-8; split files lie in one folder",
        ) from error
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield number, line.strip()
