"""CSV: which line names the columns, and which line a message names."""

from __future__ import annotations

from pathlib import Path

import pytest

from vidact.errors import UsageError
from vidact.store.tables import read_rows


def rows(folder: Path, text: str) -> list[tuple[int, dict[str, str]]]:
    path = folder / "table.csv"
    path.write_text(text)
    return list(read_rows(path, ("path", "label"), "path,label"))


@pytest.mark.parametrize("empty", ["\n", "\r\n", " \n", ",,\n"])
def test_the_first_line_that_is_not_empty_names_the_columns(empty: str, tmp_path: Path) -> None:
    assert rows(tmp_path, empty + "path,label\n" + empty + "a.mp4,x\n") == [(4, {"path": "a.mp4", "label": "x"})]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n\npath,name\na.mp4,x\n", "line 3: the column 'label' is missing; there are path, name"),
        ("\npath;label\na.mp4;x\n", "line 2: semicolons stand between the columns"),
        ("\npath,label\n\na.mp4\n", "line 4: 2 values were expected, there are 1"),
        ("", "line 1: the column 'path' is missing; there are none"),
        ("\n\n", "line 1: the column 'path' is missing; there are none"),
    ],
)
def test_messages_name_the_line(text: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=said):
        rows(tmp_path, text)
