"""What the commands that judge have in common: which part of the truth is judged, and how shares are shown."""

from __future__ import annotations

from typing import Annotated

from vidact.cli import _options as options

Subset = Annotated[
    str | None,
    options.option(
        "--subset",
        metavar="NAME",
        help="The part of the truth that is judged.",
        show_default="the protocol's own, where the file has several",
    ),
]
Part = Annotated[
    str | None,
    options.option(
        "--subset",
        metavar="NAME",
        help="The part of the truth that is judged.",
        show_default="all of it; of HMDB-51's lists test",
    ),
]


def percent(share: float) -> str:
    """A share as people read it."""
    return f"{100 * share:.2f} %"
