"""``-o -``: results as JSON lines on a stream, the moment each video is done. No resume, no summary.

Every line says its ``table``; the lines of a video are consecutive and its line of the table ``videos`` comes last.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from typing import Any, BinaryIO

from vidact.errors import RunError
from vidact.records import Outcome
from vidact.store.parts import write_lines
from vidact.store.reader import Committed
from vidact.store.schemas import DETAIL, tables


class JsonlStream:
    """A run without a folder, with the interface of ``RunDir``. ``stream`` is binary and stays open.

    BrokenPipeError when the reader has gone; then nothing more is written, and ``close`` is silent.
    """

    def __init__(self, stream: BinaryIO, command: str = "classify") -> None:
        self._stream = stream
        self._table = DETAIL[command]
        self._broken = False

    def committed(self) -> Committed:
        """Nothing: a stream remembers no earlier run."""
        return {}

    def withdraw(self, videos: Collection[str]) -> None:
        """What was written to a stream cannot be taken back; there is nothing to do as nothing is ever committed."""

    def add(self, outcome: Outcome) -> None:
        """Write the rows of one video, then its line of ``videos``, all in one go."""
        if self._broken:
            raise BrokenPipeError("the reader of the output has gone")
        videos, detail = tables([outcome], self._table)
        lines = io.BytesIO()
        write_lines(lines, detail, {"table": self._table})
        write_lines(lines, videos, {"table": "videos"})
        try:
            self._stream.write(lines.getvalue())
            self._stream.flush()
        except BrokenPipeError:
            self._broken = True
            raise
        except OSError as error:
            self._broken = True
            raise RunError(
                f"cannot write the results: {error.strerror}", hint="write to a folder with -o DIR"
            ) from error

    def tick(self) -> None:
        """Nothing waits: every video is written at once."""

    def commit(self) -> None:
        """Nothing waits: every video is written at once."""

    def close(self, summary: Mapping[str, Any]) -> None:
        """Nothing is left to write."""

    def release(self) -> None:
        """Nothing is held."""
