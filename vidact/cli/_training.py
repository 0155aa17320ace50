"""What the commands that train have in common: options, where they may write, what computes, how a training runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vidact.cli import _options as options
from vidact.cli import _output
from vidact.cli._live import Live, clock
from vidact.errors import ModelError, RunError, UsageError

if TYPE_CHECKING:
    from vidact.training.loop import Loop, Round

data = partial(options.option, rich_help_panel="Data")
network = partial(options.option, rich_help_panel="Network")
schedule = partial(options.option, rich_help_panel="Schedule")
machine = partial(options.option, rich_help_panel="Machine")

Output = Annotated[str, data("--output", "-o", metavar="DIR", help="Folder for the checkpoint, the log and the state.")]
Resume = Annotated[
    bool, data("--resume", help="Go on from DIR/last.pt, with the same settings and length.", allow_from_autoenv=False)
]

Name = Annotated[
    str | None,
    data(
        "--name",
        metavar="NAME",
        help="What the weights are called, behind their architecture: ARCHITECTURE.NAME.",
        show_default="as the folder",
    ),
]

Epochs = Annotated[int, schedule("--epochs", metavar="N", min=1, help="How often every video is seen.")]
MaxMinutes = Annotated[
    float | None,
    schedule(
        "--max-minutes",
        metavar="MINUTES",
        min=0.01,
        help="Instead: train so long, the schedule follows.",
        show_default=False,
    ),
]
BatchSize = Annotated[int, schedule("--batch-size", metavar="N", min=1, help="Examples in one step.")]
Optimizer = Annotated[
    Literal["sgd", "adamw"], schedule("--optimizer", metavar="sgd|adamw", help="SGD with Nesterov momentum, or AdamW.")
]
Warmup = Annotated[
    float, schedule("--warmup", metavar="SHARE", min=0, max=0.9, help="Share of the training before the highest rate.")
]
Smoothing = Annotated[float, schedule("--smoothing", metavar="SHARE", min=0, max=0.9, help="Label smoothing.")]
Clip = Annotated[float, schedule("--clip", metavar="NORM", min=0, help="Bound of the gradient's norm; 0: none.")]
Ema = Annotated[
    float, schedule("--ema", metavar="DECAY", min=0, max=0.99999, help="Decay of the averaged weights; 0: none.")
]
Seed = Annotated[int, schedule("--seed", metavar="N", min=0, help="All chance follows from it.")]

Amp = Annotated[bool, machine("--amp/--no-amp", help="Compute in bfloat16 where that is safe.")]


@dataclass(frozen=True, slots=True)
class Job:
    """Where and with what to train."""

    output: Path
    resume: bool
    batch_size: int
    device: str


def check_output(output: str, resume: bool) -> None:
    """RunError when there is nothing to go on with, or something that would be lost."""
    state = Path(output) / "last.pt"
    if os.path.lexists(output) and not os.path.isdir(output):
        raise RunError(f"{output!r} is not a folder", hint="choose another --output")
    if resume and not state.exists():
        raise RunError(f"there is nothing to go on with: {str(state)!r} does not exist", hint="leave --resume out")
    if not resume and state.exists():
        raise RunError(
            f"{output!r} holds a training already", hint="go on with it by --resume, or choose another --output"
        )


def called(name: str | None, output: str, resume: bool) -> str:
    """``--name``; else what the weights are called already, where a training goes on; else like the folder."""
    from vidact.models.weights import read_localizer_spec, read_spec

    best = Path(output) / "best.safetensors"
    if name is None and resume and best.exists():
        with suppress(ModelError):
            spec = read_spec(best) or read_localizer_spec(best)
            name = spec.name.partition(".")[2] if spec else None
    return name or Path(output).resolve().name


def resolve_device(device: str) -> str:
    """``auto`` is the first CUDA device, or the processor. UsageError for a device that is not there."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("there is no CUDA device here", hint="--device cpu")
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


class Steps(Live):
    """Where a training stands within its epoch: the step, the mean loss so far, the time left."""

    def __init__(self, out: _output.Output, trainer: Loop[Any]) -> None:
        super().__init__(out)
        self._trainer = trainer

    def parts(self) -> tuple[str, float | None, list[str]]:
        """Read from the state of the loop, which goes on meanwhile."""
        state, steps, share = self._trainer.state, self._trainer.data.steps(), min(self._trainer.progress(), 1.0)
        epoch = f"epoch {state.round + 1}"
        if state.batch >= steps or share == 1:
            return epoch, share, ["validating"]
        told = [f"step {state.batch} of {steps}"]
        loss, seen = state.loss, state.seen  # once: a new epoch may begin between two looks
        told += [f"loss {loss / seen:.3f}"] if seen else []
        told += [f"{clock(state.seconds * (1 - share) / share)} left"] if share else []
        return epoch, share, told


def begin(out: _output.Output, trainer: Loop[Any], labels: Sequence[str], *, resume: bool) -> None:
    """Take up the training that is there, where that is asked for, and write down the labels."""
    from vidact.store.atomic import make_folder, replacing
    from vidact.training.files import cut_log

    if resume:
        trainer.resume()  # refuses another training's folder, so nothing is written before
        out.note(f"Going on after epoch {trainer.state.round}.")
    else:
        cut_log(trainer.output / "log.csv", 0)  # of a training that was stopped before its first checkpoint
    make_folder(str(trainer.output))
    with replacing(str(trainer.output / "classes.txt")) as file:
        file.write("".join(f"{label}\n" for label in labels).encode())


def run(out: _output.Output, trainer: Loop[Any], tell: Callable[[Round], None]) -> Path:
    """Train to the end; the best checkpoint. Who interrupts it is told how to go on."""
    steps = Steps(out, trainer)

    def told(row: Round) -> None:
        with steps.aside():
            tell(row)

    try:
        with steps:
            return trainer.run(told)
    except KeyboardInterrupt:
        if (trainer.output / "last.pt").exists():
            out.note(f"Stopped after epoch {trainer.state.round}; the same command with --resume goes on.")
        raise
    except RunError as error:  # what is written was refused
        again = "the same command with --resume goes on" if (trainer.output / "last.pt").exists() else "begin again"
        raise RunError(error.message, hint=f"make room there, or make it writable; then {again}") from error
