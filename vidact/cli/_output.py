"""The one sink every command prints through: results to stdout, what is said beside them to stderr.

A person at a terminal gets aligned tables and colour, a pipe gets tab-separated lines without either, ``quiet`` leaves
errors alone. Every cell and every line passes ``plain``, since file names and labels are data: they may hold anything,
also what would steer a terminal. Knows nothing of videos; never turns an error into an exit code.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from rich.cells import cell_len, chop_cells

from vidact.errors import UsageError

if TYPE_CHECKING:
    from types import TracebackType

BATCH = 500
"""Rows of a table aligned together, so that the first lines of a long one do not wait for the last."""
GAP = 2
"""Spaces between two columns."""
NARROWEST = 20
"""A column that is folded or shortened is at least so wide."""

BOLD = "\x1b[1m{}\x1b[0m"
DIM = "\x1b[2m{}\x1b[0m"

_KEPT = {"\u200c", "\u200d"}  # joiners: they make one emoji of several and move nothing on the screen


class ClosedPipe(Exception):
    """Whoever read our output has seen enough and is gone, as in ``| head -1``: no error."""


class Output:
    """Where one invocation of a command prints.

    ``data`` says that stdout carries rows for another program (``-o -``): then everything else goes to stderr.
    """

    def __init__(self, *, quiet: bool = False, data: bool = False, log_file: str | None = None) -> None:
        self.quiet = quiet
        self._result = sys.stderr if data else sys.stdout
        self._log = None if log_file is None else _open_log(log_file)

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._log is None:
            return
        if error is not None:
            self.log(f"ended by {kind.__name__ if kind else ''}: {error}")
        self._log.close()

    @property
    def live(self) -> bool:
        """Whether someone watches stderr: a terminal, and not told to be quiet."""
        return not self.quiet and sys.stderr.isatty()

    @property
    def human(self) -> bool:
        """Whether results go to a terminal."""
        return self._result.isatty()

    def text(self, line: str = "") -> None:
        """One line of the result."""
        self.log(line)
        if not self.quiet:
            write(self._result, plain(line) + "\n")

    def note(self, line: str, *, command: bool = False, dim: bool = False) -> None:
        """One line beside the result: what a person wants to know and a program does not.

        A ``command`` is to be copied, so a narrow terminal must not get line ends of ours in it.
        """
        self.log(line)
        if not self.quiet:
            text = plain(line) if command else wrapped(plain(line), sys.stderr)
            write(sys.stderr, (DIM.format(text) if dim and coloured(sys.stderr) else text) + "\n")

    def log(self, line: str) -> None:
        """One line for the log file alone, with the time."""
        if self._log is not None and line:
            self._log.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {plain(line)}\n")

    def table(
        self,
        columns: Sequence[str],
        rows: Iterable[Sequence[object]],
        *,
        right: Collection[str] = (),
        fold: Collection[str] = (),
        shorten: Collection[str] = (),
        drop: Sequence[str] = (),
    ) -> None:
        """Rows as an aligned table on a terminal, as tab-separated lines without a header elsewhere.

        ``right`` names the columns aligned to the right. When the terminal is narrow, those in ``fold`` take several
        lines and those in ``shorten`` lose what is in the middle; where that is not enough, those in ``drop`` are left
        out, the first one first. A line below tells what was shortened or left out; the command must have ``--json``.
        """
        if self.quiet:
            return
        cells = (["" if cell is None else plain(str(cell)) for cell in row] for row in rows)
        if not self.human:
            for line in cells:
                write(self._result, "\t".join(line) + "\n")
            return
        layout = Layout(columns, right, fold, shorten, drop, columns_of(self._result), bold=coloured(self._result))
        for batch in _batches(cells, BATCH):
            write(self._result, layout.render(batch))
        if layout.missing:
            self.note(f"{layout.missing}; a wider terminal or --json shows all.", dim=True)

    def json(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """One JSON object a line, pure ASCII."""
        for row in rows:
            write(self._result, json.dumps(row, allow_nan=False, default=str) + "\n")

    def heading(self, line: str) -> None:
        """A line that begins a part of the result: bold on a terminal."""
        self.log(line)
        if self.quiet:
            return
        text = wrapped(plain(line), self._result)
        write(self._result, (BOLD.format(text) if coloured(self._result) else text) + "\n")


def counted(number: int, noun: str) -> str:
    """``1 video``, ``2 videos``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def amount(size: int) -> str:
    """Bytes in powers of 1000: ``0.5 kB``, ``12.3 MB``, ``4.5 GB``."""
    unit, name = next(((unit, name) for unit, name in ((1e9, "GB"), (1e6, "MB")) if size >= unit), (1e3, "kB"))
    return f"{size / unit:.1f} {name}"


def columns_of(stream: IO[str]) -> int:
    """Columns of the terminal behind ``stream``."""
    try:
        return int(os.environ.get("COLUMNS", "")) or 80
    except ValueError:
        pass
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def wrapped(text: str, stream: IO[str], before: int = 0) -> str:
    """``text`` in lines broken between words if ``stream`` is a terminal, else as it is.

    ``before``: columns of the first line that are taken. A word wider than the terminal, such as a path, stays whole.
    """
    if not stream.isatty():
        return text
    width = columns_of(stream)
    lines: list[str] = []
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if not lines or cell_len(joined) + (before if len(lines) == 1 else 0) <= width:
            lines[-1:] = [joined]
        else:
            lines.append(word)
    return "\n".join(lines)


def plain(text: str) -> str:
    """The text on one line, with whatever could steer a terminal or fake a line written as an escape.

    A byte that was no UTF-8 (a lone surrogate) and a control character become ``\\xNN``, other invisible characters
    ``\\uNNNN``. Letters, emoji and spaces of any script stay.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in _KEPT else _escaped(char) for char in text)


def coloured(stream: IO[str]) -> bool:
    """Whether ``stream`` is a terminal that shows styles, and its user wants them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _escaped(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def write(stream: IO[str], text: str) -> None:
    """Write and flush. Raises ClosedPipe when nobody reads any more."""
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        raise ClosedPipe from None


def prepare_streams() -> None:
    """Make stdout and stderr take every character, whatever the locale, and be there even if they were closed."""
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _open_closed() -> None:
    """Give closed standard streams a place to go, before a file of ours gets their number and their text."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)  # takes the lowest free number: this one
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - as long as the process


def abandon_stdout() -> None:
    """Point stdout and stderr at nothing, lest the interpreter complain about a closed pipe on its way out."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        try:
            os.dup2(nothing, stream.fileno())
        except (OSError, ValueError):
            continue


def _open_log(path: str) -> IO[str]:
    try:
        return open(path, "a", encoding="utf-8", errors="backslashreplace", buffering=1)
    except OSError as error:
        raise UsageError(
            f"cannot write the log file {path!r}: {error.strerror}", hint="name another file with --log-file"
        ) from error


def _batches(rows: Iterable[list[str]], size: int) -> Iterator[list[list[str]]]:
    rows = iter(rows)
    while batch := list(itertools.islice(rows, size)):
        yield batch


class Layout:
    """The widths of a table's columns on a terminal. A column without anything in it is left out."""

    def __init__(
        self,
        columns: Sequence[str],
        right: Collection[str],
        fold: Collection[str],
        shorten: Collection[str],
        drop: Sequence[str],
        width: int,
        *,
        bold: bool,
    ) -> None:
        self._columns = columns
        self._right = {place for place, name in enumerate(columns) if name in right}
        self._fold = {place for place, name in enumerate(columns) if name in (*fold, *shorten)}
        self._shorten = {place for place, name in enumerate(columns) if name in shorten}
        self._drop = [columns.index(name) for name in drop]
        self._hidden: list[str] = []
        self._cut = False
        self._terminal = width
        self._natural = [0] * len(columns)
        self._header: str | None = BOLD if bold else "{}"

    @property
    def missing(self) -> str:
        """What the terminal had no room for, in words; empty when there was room for all."""
        said = [f"No room for {', '.join(self._hidden)}"] if self._hidden else []
        said += ["long names are shortened" if said else "Long names are shortened"] if self._cut else []
        return ", and ".join(said)

    def render(self, rows: Sequence[Sequence[str]]) -> str:
        """These rows, with the header the first time. Columns never become narrower from one call to the next."""
        self._measure(rows)
        widths = self._widths(self._used())
        lines = [line for row in rows for line in self._lines(row, widths)]
        if self._header is not None:
            lines[:0] = [self._header.format(line) for line in self._lines(self._columns, widths)]
            self._header = None
        return "".join(f"{line}\n" for line in lines)

    def _measure(self, rows: Sequence[Sequence[str]]) -> None:
        for place, name in enumerate(self._columns):
            longest = max((cell_len(row[place]) for row in rows), default=0)
            if longest:
                self._natural[place] = max(self._natural[place], longest, cell_len(name))

    def _used(self) -> list[int]:
        """The columns with anything in them, less those a narrow terminal has no room for."""
        least = {
            place: min(width, NARROWEST) if place in self._fold else width
            for place, width in enumerate(self._natural)
            if width
        }
        for place in self._drop:
            if sum(least.values()) + GAP * (len(least) - 1) <= self._terminal:
                break
            least.pop(place, None)
        self._hidden = [name for place, name in enumerate(self._columns) if self._natural[place] and place not in least]
        return list(least)

    def _widths(self, used: Sequence[int]) -> dict[int, int]:
        """Wider than the terminal if it must be: a line it breaks reads better than columns of single letters."""
        widths = {place: self._natural[place] for place in used}
        folding = sorted(self._fold.intersection(used), key=widths.__getitem__)
        fixed = sum(width for place, width in widths.items() if place not in folding) + GAP * (len(used) - 1)
        room = self._terminal - fixed
        for number, place in enumerate(folding):
            widths[place] = min(widths[place], max(NARROWEST, room // (len(folding) - number)))
            room -= widths[place]
        return widths

    def _lines(self, row: Sequence[str], widths: dict[int, int]) -> Iterator[str]:
        pieces = {place: self._pieces(place, row[place], width) for place, width in widths.items()}
        for number in range(max(map(len, pieces.values()), default=0)):
            line = ""
            for place, width in widths.items():
                cell = pieces[place][number] if number < len(pieces[place]) else ""
                space = " " * (width - cell_len(cell))
                line += (space + cell if place in self._right else cell + space) + " " * GAP
            yield line.rstrip()

    def _pieces(self, place: int, text: str, width: int) -> list[str]:
        if cell_len(text) <= width:
            return [text]
        if place not in self._shorten:
            return folded(text, width)
        self._cut = True
        return [shortened(text, width)]


def shortened(text: str, width: int) -> str:
    """``text`` with ``…`` in its middle, in ``width`` columns. Most of its end stays: there is the file's name."""
    last = cell_len(text) - cell_len(text[: text.rfind("/") + 1])
    room = width - 1
    end = chop_cells(text[::-1], min(room * 3 // 4, max(last, room * 2 // 3)))[0][::-1]
    start = room - cell_len(end)
    return (chop_cells(text, start)[0] if start else "") + "…" + end


def folded(text: str, width: int) -> list[str]:
    """``text`` in lines of at most ``width`` columns, broken between words, or at signs where a word is too long."""
    lines: list[str] = []
    for word in text.split(" "):
        joined = f"{lines[-1]} {word}" if lines else word
        if cell_len(joined) <= width:
            lines[-1:] = [joined]
        else:
            lines += _cut(word, width)
    return lines


def _cut(word: str, width: int) -> Iterator[str]:
    """A word in pieces of at most ``width`` columns, cut behind a ``/`` or else another sign in it, unless that leaves
    a stub."""
    while cell_len(word) > width:
        piece = chop_cells(word, width)[0]
        folder, sign = piece.rfind("/") + 1, max(piece.rfind(sign) for sign in "-._:") + 1
        piece = piece[: folder if folder > len(piece) // 3 else sign if sign > len(piece) // 2 else None]
        yield piece
        word = word[len(piece) :]
    yield word
