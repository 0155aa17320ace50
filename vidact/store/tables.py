"""Tables as CSV: values between commas, and a first line that names the columns. Knows nothing of what they mean."""

from __future__ import annotations

import csv
import os
from collections.abc import Collection, Iterator, Sequence

from vidact.errors import UsageError

_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def column_names(line: str) -> list[str]:
    """The columns a first line names, in small letters."""
    return [name.strip().lower() for name in next(csv.reader([line]), [])]


def refuse_separator(path: str | os.PathLike[str], number: int, line: str, wanted: Collection[str]) -> None:
    """UsageError where a first line (``number`` in the file) names columns that are wanted, but something else than
    commas stands between."""
    for separator, name in _SEPARATORS.items():
        names = {part.strip(' "').lower() for part in line.split(separator)}
        if len(names) > 1 and not names.isdisjoint(wanted):
            raise UsageError(
                f"{os.fspath(path)}, line {number}: {name} stand between the columns, where commas are expected",
                hint="save it as CSV with commas (and points in numbers: 12.5)",
            )


def read_rows(
    path: str | os.PathLike[str], required: Sequence[str], shape: str
) -> Iterator[tuple[int, dict[str, str]]]:
    """(line, row) of a CSV, its columns in small letters, its values without space around them; empty lines are none.

    ``shape`` shows what a first line may look like. UsageError, with the line, for a file that cannot be read, does not
    have the ``required`` columns, or has a row that is longer or shorter than the first.
    """
    name = os.fspath(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            first = next((row for row in reader if any(value.strip() for value in row)), [])
            columns = [column.strip().lower() for column in first]
            if missing := [column for column in required if column not in columns]:
                number = reader.line_num if columns else 1
                refuse_separator(path, number, ",".join(columns), required)
                raise UsageError(
                    f"{name}, line {number}: the column {missing[0]!r} is missing; there are "
                    + (", ".join(columns) or "none"),
                    hint=f"the first line names the columns: {shape}",
                )
            for row in reader:
                values = [value.strip() for value in row]
                if not any(values):
                    continue
                if len(values) != len(columns):
                    raise UsageError(
                        f"{name}, line {reader.line_num}: {len(columns)} values were expected, there are {len(values)}",
                        hint="put a value that holds a comma in double quotes",
                    )
                yield reader.line_num, dict(zip(columns, values, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(
            f"{name!r} cannot be read: {getattr(error, 'strerror', None) or error}", hint="give a CSV file in UTF-8"
        ) from error
