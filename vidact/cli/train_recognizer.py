"""``vidact train recognizer DATA``: learn labels from videos of one's own, and write a checkpoint that runs by itself.

Options in, messages out; the training is in ``vidact.training``, whose slow part is imported once the list of videos is
read and makes sense.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vidact.cli import _options as options
from vidact.cli import _training as training
from vidact.cli._output import Output, counted
from vidact.cli._report import program
from vidact.errors import ModelError

if TYPE_CHECKING:
    from vidact.training.lists import Examples
    from vidact.training.loop import Recipe, Round
    from vidact.training.recognizer import Start

_data, _network, _schedule, _machine = training.data, training.network, training.schedule, training.machine

Data = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="A directory of class folders (DIR/label/video.mp4, or DIR/train/… with DIR/val/…), or a CSV with the "
        "columns path,label and, if wanted, start,end (seconds) and split.",
        show_default=False,
    ),
]
Split = Annotated[
    str | None,
    _data(
        "--split",
        metavar="FILE",
        help="UCF-101's trainlist01.txt, any *_test_split1.txt of HMDB-51, or a CSV with path,split.",
        show_default="folders or column of that name",
    ),
]
Labels = Annotated[
    str | None, _data("--labels", metavar="FILE", help="The labels in their order, one a line.", show_default="sorted")
]
HeldOut = Annotated[
    float,
    _data(
        "--held-out", metavar="SHARE", min=0.01, max=0.9, help="Share of every class to validate on, without a split."
    ),
]
Flip = Annotated[
    bool, _data("--flip/--no-flip", help="Mirror half of the clips; --no-flip where labels say left or right.")
]
Architecture = Annotated[
    str | None,
    _network(
        "--model",
        "-m",
        metavar="NAME",
        help="An architecture such as attention-r3d-18.",
        show_default="attention-r3d-10",
    ),
]
Init = Annotated[
    str | None,
    _network(
        "--init", metavar="FILE", help="Start from this checkpoint instead of random weights.", show_default=False
    ),
]
Frames = Annotated[int, _network("--frames", metavar="N", min=2, help="Pictures in a clip (not with --init).")]
Fps = Annotated[float, _network("--fps", metavar="FPS", min=0.1, help="Pictures a second of a clip (not with --init).")]
Size = Annotated[int, _network("--size", metavar="PIXELS", min=16, help="Side of a picture (not with --init).")]
Width = Annotated[
    int, _network("--width", metavar="CHANNELS", min=4, help="Channels of the first stage (not with --init).")
]

Lr = Annotated[
    float | None, _schedule("--lr", metavar="RATE", help="Highest learning rate.", show_default="sgd 0.05, adamw 0.001")
]
WeightDecay = Annotated[
    float | None,
    _schedule(
        "--weight-decay", metavar="DECAY", min=0, help="Pull towards zero.", show_default="sgd 0.0005, adamw 0.05"
    ),
]
Decoders = Annotated[
    int, _machine("--decoders", metavar="N", min=0, help="Processes that decode; 0: none but this one.")
]


_RATES = {"sgd": (0.05, 5e-4), "adamw": (1e-3, 0.05)}
"""Highest learning rate and weight decay where none are given."""


def recognizer(
    data: Data,
    split: Split = None,
    labels: Labels = None,
    held_out: HeldOut = 0.1,
    flip: Flip = True,
    output: training.Output = "vidact-trained",
    name: training.Name = None,
    resume: training.Resume = False,
    quiet: options.Quiet = False,
    model: Architecture = None,
    init: Init = None,
    frames: Frames = 16,
    fps: Fps = 8.0,
    size: Size = 112,
    width: Width = 32,
    epochs: training.Epochs = 30,
    max_minutes: training.MaxMinutes = None,
    batch_size: training.BatchSize = 16,
    optimizer: training.Optimizer = "adamw",
    lr: Lr = None,
    weight_decay: WeightDecay = None,
    warmup: training.Warmup = 0.05,
    smoothing: training.Smoothing = 0.1,
    clip: training.Clip = 1.0,
    ema: training.Ema = 0.999,
    seed: training.Seed = 0,
    amp: training.Amp = False,
    decoders: Decoders = 2,
    *,
    device: options.Device,
) -> None:
    """Train a recogniser on labelled videos; DIR/best.safetensors then runs with `vidact classify --checkpoint`.

    The best epoch by validation top-1 is kept. A stopped training goes on with --resume.
    """
    from vidact.models.labels import read_labels
    from vidact.training.lists import read_examples

    names = None if labels is None else read_labels(labels)
    examples = read_examples(data, split=split, labels=names, share=held_out, seed=seed)
    training.check_output(output, resume)
    if init is not None and not Path(init).exists():  # before what is slow to import
        raise ModelError(f"there is no file {init!r}", hint="check the path given to --init")
    from vidact.training.loop import Recipe
    from vidact.training.recognizer import fresh, from_checkpoint

    called, learnt = training.called(name, output, resume), examples.labels
    if init is None:
        shape: dict[str, Any] = {"frames": frames, "fps": fps, "size": size, "width": width}
        start = fresh(model or "attention-r3d-10", called, learnt, seed=seed, **shape)
    else:
        start = from_checkpoint(init, model, called, learnt, seed=seed)
    rate, decay = _RATES[optimizer]
    recipe = Recipe(
        rounds=None if max_minutes else epochs,
        minutes=max_minutes,
        optimizer=optimizer,
        lr=rate if lr is None else lr,
        weight_decay=decay if weight_decay is None else weight_decay,
        warmup=warmup,
        smoothing=smoothing,
        clip=clip,
        ema=ema,
        amp=amp,
        seed=seed,
    )
    with Output(quiet=quiet) as out:
        job = training.Job(Path(output), resume, batch_size, training.resolve_device(device))
        _train(out, examples, start, recipe, job, decoders=decoders, flip=flip)


def _train(
    out: Output,
    examples: Examples,
    start: Start,
    recipe: Recipe,
    job: training.Job,
    *,
    decoders: int,
    flip: bool,
) -> None:
    from vidact.training.classifier import Trainer
    from vidact.training.data import Augmentation, VideoData
    from vidact.training.files import held

    data = VideoData(
        examples,
        start.spec,
        batch_size=job.batch_size,
        workers=decoders,
        seed=recipe.seed,
        augmentation=Augmentation(flip=flip),
        output=job.output,
    )
    trainer = Trainer(start.network, start.spec, data, recipe, job.output, device=job.device, named=start.named)

    def tell(row: Round) -> None:
        lost = f", {counted(len(data.failures), 'video')} unreadable" if data.failures else ""
        out.note(
            f"epoch {row.round}: loss {row.loss:.3f}, top-1 {row.train['train_top1']:.1%}; "
            f"validation {row.val_loss:.3f}, {row.val_score:.1%}; {row.speed:.1f} clips/s{lost}"
        )

    for line in start.notes:
        out.note(line)
    with held(str(job.output)):
        training.begin(out, trainer, examples.labels, resume=job.resume)
        _announce(out, examples, start, job.device)
        if flip and (sided := [label for label in examples.labels if _sided(label)]):
            out.note(
                f"Clips are mirrored, and the label {sided[0]!r} sounds as if that changed it: consider --no-flip."
            )
        best = training.run(out, trainer, tell)
    if data.failures:
        out.note(f"{counted(len(data.failures), 'video')} could not be read: {job.output / 'unreadable.csv'} says why.")
    out.text(f"Best validation top-1: {trainer.state.best:.1%} ({best})")
    out.text(f"Next: {program()} classify --checkpoint {shlex.quote(str(best))} PATH")


def _announce(out: Output, examples: Examples, start: Start, device: str) -> None:
    parameters = sum(parameter.numel() for parameter in start.network.parameters())
    out.note(
        f"{start.spec.name}, {parameters / 1e6:.1f} M parameters, {counted(len(examples.labels), 'label')}, "
        f"{counted(len(examples.train), 'example')} to train on, {len(examples.held_out)} to validate on, on {device}."
    )


def _sided(label: str) -> bool:
    words = set(label.lower().replace("-", " ").replace("_", " ").split())
    return bool(words & {"left", "right", "clockwise", "counterclockwise"})
