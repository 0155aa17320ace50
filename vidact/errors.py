"""The exceptions vidact raises on purpose, and nothing else.

    VidactError
    ├── UsageError      a wrong option, or nothing to work on        exit code 2
    ├── ModelError      weights missing, unreadable or not fitting    exit code 3
    │   └── MissingWeights    not on this machine; ``vidact models pull`` gets them
    ├── RunError        the run folder, disk or cluster               exit code 4
    └── VideoError      one video; becomes a row, never ends a run    no exit code

Every message says what happened (with the value), why (if known) and what to run next. Only the command line turns an
error into an exit code; only the engine turns a VideoError into a row.
"""

from __future__ import annotations


class VidactError(Exception):
    """Root of every error vidact raises on purpose. ``hint`` is the command or step to try next.

    ``details`` are further lines below the message. It is lines apart and not a message with line ends in it, since
    a line end in a message may come from the name of a file, and is shown as an escape.
    """

    def __init__(self, message: str, *, hint: str = "", details: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = details

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and these cross process borders.
        return _rebuild, (type(self), self.message, dict(self.__dict__))


class UsageError(VidactError):
    """An option, an input or a combination of them that makes no sense, or nothing found to work on."""


class ModelError(VidactError):
    """Weights that are unknown, missing, damaged, unsafe to load or do not fit their network."""


class MissingWeights(ModelError):
    """The weights ``name`` are not on this machine, and there is an address to get them from."""

    def __init__(self, message: str, *, name: str, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.name = name


class RunError(VidactError):
    """Something about the run as a whole: its folder, its settings, the disk, the cluster.

    ``busy`` marks the one case cron jobs tell apart: another run holds the folder (exit code 75).
    """

    def __init__(self, message: str, *, hint: str = "", busy: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.busy = busy


class VideoError(VidactError):
    """One video that cannot be read or scored.

    ``kind`` is a short CamelCase name that ends up in the column ``error`` (``NotFound``, ``NoVideoStream``,
    ``StillChanging``, ``EmptyFile``, ``Undecodable`` …); ``stage`` is where it happened (``find``, ``index``,
    ``decode``, ``model``, ``finish``).
    """

    def __init__(self, kind: str, message: str, *, stage: str = "decode", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.kind = kind
        self.stage = stage


def _rebuild(cls: type[VidactError], message: str, facts: dict[str, object]) -> VidactError:
    error = cls.__new__(cls)
    Exception.__init__(error, message)
    error.__dict__.update(facts)
    return error
