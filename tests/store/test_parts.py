"""Parts in both formats hold the same, appear whole or not at all, and say clearly when the disk refuses."""

from __future__ import annotations

import errno
import json
import os
import stat
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store.made import files, outcome

from vidact.errors import RunError
from vidact.store import atomic
from vidact.store.parts import part_name, part_numbers, read_part, write_part
from vidact.store.schemas import PREDICTIONS, VIDEOS, tables, to_table

FORMATS = ("parquet", "jsonl")
METADATA = {"schema": "1", "model": "tiny.test", "weights_hash": "0123", "protocol": "clips"}


def some() -> tuple[pa.Table, pa.Table]:
    return tables(
        [outcome("a.mp4"), outcome('b "q" [red] 😀\u2028\n.mp4'), outcome("c", status="failed")], "predictions"
    )


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_written_is_read(tmp_path: Path, form: str) -> None:
    for schema, table in zip((VIDEOS, PREDICTIONS), some(), strict=True):
        path = str(tmp_path / part_name(1, form))
        write_part(path, table, METADATA)
        back, _ = read_part(path, schema)
        assert back.equals(table)
        assert back.schema.equals(schema, check_metadata=True)
        assert read_part(path, schema, ["video"])[0].column_names == ["video"]
    assert files(tmp_path) == {part_name(1, form)}


@pytest.mark.parametrize("form", FORMATS)
def test_an_empty_part(tmp_path: Path, form: str) -> None:
    path = str(tmp_path / part_name(1, form))
    write_part(path, PREDICTIONS.empty_table(), METADATA)
    assert read_part(path, PREDICTIONS)[0].equals(PREDICTIONS.empty_table())


def test_lines_have_every_column_and_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "part-000001.jsonl"
    columns = {"video": ["a", "b"], "score": [float("nan"), 0.9], "start": [0.1, float("inf")]}
    write_part(str(path), to_table(PREDICTIONS, columns), METADATA)
    text = path.read_text("utf-8")
    rows = [json.loads(line, parse_constant=pytest.fail) for line in text.splitlines()]
    assert [list(row) for row in rows] == [PREDICTIONS.names] * 2
    assert rows[0]["score"] is None and rows[1]["start"] is None and rows[0]["clip"] is None
    assert '"score":0.9,' in text, "a float32 is written as the shortest decimal that means it"


def test_a_line_longer_than_a_block(tmp_path: Path) -> None:
    path = str(tmp_path / "part-000001.jsonl")
    message = "x" * (3 << 20)
    write_part(path, to_table(VIDEOS, {"video": ["a"], "status": ["failed"], "error_message": [message]}), METADATA)
    assert read_part(path, VIDEOS)[0].column("error_message").to_pylist() == [message]


def test_parquet_says_what_it_holds(tmp_path: Path) -> None:
    path = tmp_path / "part-000001.parquet"
    write_part(str(path), some()[1], METADATA | {"protocol": "odd \udcff"})
    schema = pq.read_schema(path)
    expected = METADATA | {"protocol": "odd \\udcff"}
    assert {key: schema.metadata[key.encode()].decode() for key in METADATA} == expected
    assert schema.field("start").metadata[b"unit"] == b"s"
    assert schema.field("score").metadata[b"meaning"].startswith(b"probability")
    column = pq.ParquetFile(path).metadata.row_group(0).column(PREDICTIONS.names.index("label"))
    assert column.compression == "ZSTD" and column.has_dictionary_page


def test_a_folder_whose_name_is_not_utf8(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff")
    os.mkdir(folder)
    for form in FORMATS:
        path = os.path.join(folder, part_name(1, form))
        write_part(path, some()[0], METADATA)
        assert read_part(path, VIDEOS)[0].num_rows == 3


def test_others_may_read_what_the_umask_allows(tmp_path: Path) -> None:
    path = tmp_path / "part-000001.jsonl"
    before = os.umask(0o022)
    try:
        write_part(str(path), some()[0], METADATA)
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_numbers_of_parts(tmp_path: Path) -> None:
    for name in ("part-000002.parquet", "part-1000000.parquet", "part-000003.jsonl", ".part-000009.parquet.00.tmp"):
        (tmp_path / name).touch()
    assert part_numbers(str(tmp_path), "parquet") == [2, 1_000_000]
    assert part_numbers(str(tmp_path / "missing"), "parquet") == []


@pytest.mark.parametrize("form", FORMATS)
def test_damage_is_named(tmp_path: Path, form: str) -> None:
    path = tmp_path / part_name(1, form)
    write_part(str(path), some()[0], METADATA)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(RunError, match=r"part-000001.*damaged"):
        read_part(str(path), VIDEOS)


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, step: str, code: int) -> None:
    path = tmp_path / part_name(1, form)
    write_part(str(path), some()[0].slice(0, 1), METADATA)
    before = path.read_bytes()

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, refuse)
        with pytest.raises(RunError) as caught:
            write_part(str(path), some()[0], METADATA)
    assert os.strerror(code) in caught.value.message
    assert repr(str(tmp_path)) in caught.value.message and "bytes free" in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == before
    assert files(tmp_path) == {path.name}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full on this system")
def test_a_disk_that_is_full_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    real = os.open

    def full(path: str, flags: int, mode: int = 0o777) -> int:
        return real("/dev/full" if path.endswith(".tmp") else path, flags & ~(os.O_CREAT | os.O_EXCL), mode)

    monkeypatch.setattr(atomic.os, "open", full)
    many = pa.concat_tables([some()[1]] * 2000)
    with pytest.raises(RunError, match="No space left"):
        write_part(str(tmp_path / part_name(1, form)), many, METADATA)
    assert files(tmp_path) == set()


@pytest.mark.parametrize("form", FORMATS)
def test_a_small_disk(small_disk: Path, form: str) -> None:
    path = small_disk / part_name(1, form)
    write_part(str(path), some()[0], METADATA)
    before = path.read_bytes()
    labels = [os.urandom(200).hex() for _ in range(2000)]
    many = to_table(PREDICTIONS, {"video": labels, "label": labels})
    with pytest.raises(RunError, match="No space left"):
        write_part(str(path), many, METADATA)
    assert path.read_bytes() == before
    assert files(small_disk) == {path.name}


def test_a_mistake_leaves_no_temporary_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        atomic.write_json(str(tmp_path / "run.json"), {"rate": float("nan")})
    with pytest.raises(KeyboardInterrupt), atomic.replacing(str(tmp_path / "run.json")):
        raise KeyboardInterrupt
    assert files(tmp_path) == set()


def test_only_our_temporary_files_are_swept(tmp_path: Path) -> None:
    ours = [".part-000001.parquet.0123456789abcdef.tmp", ".run.json.0123456789abcdef.tmp"]
    theirs = ["notes.tmp", ".part-000001.parquet.tmp", "part-000001.parquet.0123456789abcdef.tmp"]
    for name in ours + theirs:
        (tmp_path / name).touch()
    atomic.remove_temporary(str(tmp_path))
    assert files(tmp_path) == set(theirs)
