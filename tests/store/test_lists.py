"""Lists of videos, as people have them."""

from __future__ import annotations

import io
import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vidact.errors import UsageError
from vidact.store.lists import is_list, read_list


def listed(folder: Path, name: str, content: str | bytes) -> list[str | bytes]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8"))
    return read_list(str(path))


def test_suffixes() -> None:
    assert all(is_list(name) for name in ("a.txt", "b/c.CSV", "d.jsonl", "e.parquet"))
    assert not any(is_list(name) for name in ("a.mp4", "txt", "a.json", "-"))


@pytest.mark.parametrize(
    "content",
    [
        "/a.mp4\n/b c.mp4\n# d.mp4\n",
        "/a.mp4\n\n  \n/b c.mp4\n# d.mp4",
        "\ufeff/a.mp4\r\n/b c.mp4\r\n# d.mp4\r\n",
        "/a.mp4\0/b c.mp4\0# d.mp4\0",
        "/a.mp4\n/b c.mp4\n# d.mp4\n".encode("utf-16"),
    ],
)
def test_text(tmp_path: Path, content: str | bytes) -> None:
    (tmp_path / "# d.mp4").touch()  # else it is a comment
    assert listed(tmp_path, "list.txt", content) == ["/a.mp4", "/b c.mp4", str(tmp_path / "# d.mp4")]


def test_a_line_of_text_that_names_no_file_may_be_a_comment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = "# day 1\r\n/a.mp4\n#/b.mp4\n#c.mp4\n"
    (tmp_path / "#c.mp4").touch()
    assert listed(tmp_path, "list.txt", content) == ["/a.mp4", str(tmp_path / "#c.mp4")]
    monkeypatch.chdir(tmp_path)
    assert read_list("-", io.BytesIO(content.encode())) == ["/a.mp4", "#c.mp4"]
    assert listed(tmp_path, "nul.txt", "#b.mp4\0") == [str(tmp_path / "#b.mp4")]


def test_names_with_line_breaks_when_separated_by_nul(tmp_path: Path) -> None:
    assert listed(tmp_path, "list.txt", "/a\nb.mp4\0/c\r\0") == ["/a\nb.mp4", "/c\r"]


def test_bytes_that_are_not_utf8_are_kept(tmp_path: Path) -> None:
    assert listed(tmp_path, "list.txt", b"/a\xff.mp4\n/b.mp4\n") == [b"/a\xff.mp4", "/b.mp4"]
    assert listed(tmp_path, "list.csv", b"path,label\n/a\xff.mp4,x\n") == [b"/a\xff.mp4"]
    assert listed(tmp_path, "list.jsonl", '"/a\\udcff.mp4"\n') == [b"/a\xff.mp4"]


def test_an_empty_list_is_no_error(tmp_path: Path) -> None:
    for name in ("list.txt", "list.csv", "list.jsonl"):
        assert listed(tmp_path, name, "") == []
    assert listed(tmp_path, "header.csv", "path,label\n") == []


@pytest.mark.parametrize("header", ["video", "Path", "FILE", "filename", " filepath "])
def test_csv_with_a_header(tmp_path: Path, header: str) -> None:
    content = f'label,{header}\nrun,"/a, b.mp4"\n\nwalk,"/say ""hi""\n.mp4"\n'
    assert listed(tmp_path, "list.csv", content) == ["/a, b.mp4", '/say "hi"\n.mp4']


def test_csv_as_spreadsheets_write_it(tmp_path: Path) -> None:
    assert listed(tmp_path, "a.csv", "\ufefflabel;path\r\nrun;/a, b.mp4\r\n") == ["/a, b.mp4"]
    assert listed(tmp_path, "b.csv", "label\tpath\nrun\t/a.mp4\n") == ["/a.mp4"]
    assert listed(tmp_path, "c.csv", "path,label\r\n/ä.mp4,x\r\n".encode("utf-16")) == ["/ä.mp4"]


@pytest.mark.parametrize("empty", ["\n", "\r\n\r\n", " \n,\n"])
def test_empty_lines_in_a_csv_do_not_count(tmp_path: Path, empty: str) -> None:
    assert listed(tmp_path, "a.csv", f"{empty}label,path\nrun,/a.mp4\n{empty}walk,/b.mp4\n") == ["/a.mp4", "/b.mp4"]
    assert listed(tmp_path, "b.csv", f"{empty}/a.mp4\n") == ["/a.mp4"]


def test_csv_of_one_column_without_a_header(tmp_path: Path) -> None:
    assert listed(tmp_path, "list.csv", '/a.mp4\n"/b, c.mp4"\n') == ["/a.mp4", "/b, c.mp4"]


@pytest.mark.parametrize("key", ["video", "PATH", "file", "only"])
def test_jsonl(tmp_path: Path, key: str) -> None:
    label = "" if key == "only" else ', "label": "x"'
    content = f'"/a.mp4"\n\n{{"{key}": "/b\\n.mp4"{label}}}\r\n'
    assert listed(tmp_path, "list.jsonl", content) == ["/a.mp4", "/b\n.mp4"]


@pytest.mark.parametrize(
    "columns",
    [
        {"label": ["x", "y"], "Path": ["/a.mp4", "/b.mp4"]},
        {"anything": ["/a.mp4", "/b.mp4"]},
        {"video": pa.array([b"/a.mp4", b"/b.mp4"], pa.binary())},
    ],
)
def test_parquet(tmp_path: Path, columns: dict[str, object]) -> None:
    pq.write_table(pa.table(columns), tmp_path / "list.parquet")
    assert read_list(str(tmp_path / "list.parquet")) == ["/a.mp4", "/b.mp4"]


def test_parquet_bytes(tmp_path: Path) -> None:
    pq.write_table(pa.table({"video": pa.array([b"/a\xff"], pa.binary())}), tmp_path / "list.parquet")
    assert read_list(str(tmp_path / "list.parquet")) == [b"/a\xff"]


def test_standard_input() -> None:
    assert read_list("-", io.BytesIO(b"a.mp4\nb\xff.mp4\n")) == ["a.mp4", b"b\xff.mp4"]
    assert read_list("-", io.BytesIO(b"a\nb.mp4\0c.mp4\0")) == ["a\nb.mp4", "c.mp4"]
    with pytest.raises(UsageError):
        read_list("-")


def test_relative_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    beside, work = tmp_path / "data", tmp_path / "work"
    beside.mkdir()
    work.mkdir()
    (beside / "a.mp4").touch()
    (work / "c.mp4").touch()
    monkeypatch.chdir(work)
    full = str(beside / "a.mp4")
    assert listed(beside, "list.txt", b"a.mp4\ngone.mp4\n/abs.mp4\nx\xff\n") == [
        full, str(beside / "gone.mp4"), "/abs.mp4", os.fsencode(beside) + b"/x\xff"
    ]  # fmt: skip
    (beside / "a.mp4").unlink()  # what exists tonight decides nothing
    assert listed(beside, "list.txt", "a.mp4\nc.mp4\n") == [full, str(beside / "c.mp4")]
    (beside / "list.txt").write_text("a.mp4\n")
    assert read_list("../data/list.txt") == ["../data/a.mp4"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.csv", "a,b\n/x.mp4,y\n", r"list\.csv', line 1: 2 columns"),
        ("list.csv", "label,path\nrun,/a.mp4\nwalk\n", r"line 3: there is no column 2"),
        ("list.csv", "label,path\nrun,/a.mp4\nwalk,\n", r"line 3: '' is no path"),
        ("list.csv", 'path\n"/a.mp4\n', r"line 2: unexpected end"),
        ("list.csv", "path\n/a\0b\n", r"holds a NUL"),
        ("list.jsonl", '"/a.mp4"\n{"path": \n', r"line 2: "),
        ("list.jsonl", '"/a.mp4"\n\n17\n', r"line 3: 17 is no path"),
        ("list.jsonl", '{"path": null, "x": 1}\n', r"line 1: None is no path"),
        ("list.jsonl", '{"clip": "/a.mp4", "x": 1}\n', r"line 1: no key .*'clip', 'x'"),
        ("list.jsonl", '"/a\\u0000b"\n', r"line 1: '/a\\x00b' is no path"),
        ("list.jsonl", '"/a\\ud800"\n', r"line 1: .*is no path"),
        ("list.jsonl", "[" * 100_000 + "\n", r"line 1: "),
        ("list.jsonl", b'"\xff"\n', r"line 1: "),
        ("list.parquet", "no parquet", r"no readable Parquet"),
        ("list.txt", b"\xff\xfea", r"UTF-16"),
    ],
)
def test_mistakes_say_where_they_are(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        listed(tmp_path, name, content)
    assert caught.value.hint


def test_parquet_mistakes(tmp_path: Path) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"a": ["x"], "b": ["y"]}), path)
    with pytest.raises(UsageError, match="no column says where the path is; columns: 'a', 'b'"):
        read_list(str(path))
    pq.write_table(pa.table({"path": ["/a.mp4", None]}), path)
    with pytest.raises(UsageError, match="row 2: None is no path"):
        read_list(str(path))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    for name, message in (
        ("pipe.txt", "not a regular file"),
        (".", "not a regular file"),
        ("gone.txt", "No such file"),
    ):
        with pytest.raises(UsageError, match=message):
            read_list(str(tmp_path / name))
