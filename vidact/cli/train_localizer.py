"""``vidact train localizer``: learn where actions begin and end from features and annotations.

Options in, messages out; the training is in ``vidact.training``, whose slow part is imported once annotations and
features are found and make sense.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from vidact.cli import _options as options
from vidact.cli import _training as training
from vidact.cli._output import Output, counted
from vidact.cli._report import program

if TYPE_CHECKING:
    from vidact.training.localizer import Shape, Start
    from vidact.training.loop import Recipe, Round
    from vidact.training.objectives import Losses
    from vidact.training.sequences import Cutting, FeatureSet
    from vidact.training.truth import Truth

_data, _network, _schedule = training.data, training.network, training.schedule

Features = Annotated[
    str,
    _data(
        "--features",
        metavar="DIR",
        help="The folder `vidact features -o` wrote, or .npy, .npz or .pt files named like their videos, with a "
        "manifest.json.",
        show_default=False,
    ),
]
AnnotationFile = Annotated[
    str,
    _data(
        "--annotations",
        metavar="FILE",
        help="ActivityNet's JSON, or a CSV with video,start,end,label and, if wanted, subset,duration,fps.",
        show_default=False,
    ),
]
Labels = Annotated[
    str | None,
    _data(
        "--labels",
        metavar="FILE",
        help="Learn these labels, one a line, in this order; segments of others are left out.",
        show_default="those of the annotations",
    ),
]
TrainSubset = Annotated[
    list[str] | None,
    _data("--train-subset", metavar="NAME", help="Subset to train on. Repeatable.", show_default="train or training"),
]
ValSubset = Annotated[
    list[str] | None,
    _data("--val-subset", metavar="NAME", help="Subset to validate on. Repeatable.", show_default="validation or test"),
]
HeldOut = Annotated[
    float,
    _data("--held-out", metavar="SHARE", min=0.01, max=0.9, help="Share to validate on, without subsets."),
]
CropRatio = Annotated[
    float, _data("--crop-ratio", metavar="SHARE", min=0.05, max=1, help="Train on random pieces at least so long.")
]
TruncThresh = Annotated[
    float, _data("--trunc-thresh", metavar="SHARE", min=0, max=1, help="A cut segment counts with so much left.")
]

Model = Annotated[
    Literal["actionformer", "tridet", "bmn", "tcn"],
    _network("--model", "-m", metavar="KIND", help="The network: actionformer, tridet, bmn or tcn."),
]
Fit = Annotated[
    Literal["cut", "resize"] | None,
    _network(
        "--fit",
        metavar="cut|resize",
        help="Cut what is longer than --length (and search it whole), or resize every video to it.",
        show_default="cut; bmn: resize",
    ),
]
Length = Annotated[
    int | None,
    _network(
        "--length", metavar="ROWS", min=8, help="Rows trained on at a time.", show_default="the longest, up to 2304"
    ),
]
Width = Annotated[
    int | None,
    _network("--width", metavar="CHANNELS", min=4, help="Size of the layers.", show_default="512; bmn 256, tcn 64"),
]
Levels = Annotated[int, _network("--levels", metavar="N", min=1, max=10, help="Levels of the pyramid.")]
Heads = Annotated[int, _network("--heads", metavar="N", min=1, help="Attention heads (actionformer).")]
Window = Annotated[int, _network("--window", metavar="ROWS", help="Attention window; 1: everything (actionformer).")]
PositionCodes = Annotated[
    bool, _network("--position-codes", help="Tell the network where in the video a row is, by sines.")
]
DropPath = Annotated[
    float, _network("--drop-path", metavar="SHARE", min=0, max=0.9, help="Chance to skip a layer in training.")
]

ClsLoss = Annotated[
    Literal["focal", "cross-entropy"] | None,
    _schedule(
        "--cls-loss",
        metavar="LOSS",
        help="Loss of classes: focal or cross-entropy.",
        show_default="focal; tcn: cross-entropy",
    ),
]
RegLoss = Annotated[
    Literal["diou", "giou", "smooth-l1"],
    _schedule("--reg-loss", metavar="LOSS", help="Loss of starts and ends: diou, giou or smooth-l1."),
]
RegWeight = Annotated[float, _schedule("--reg-weight", metavar="WEIGHT", min=0, help="Weight of that loss.")]
Radius = Annotated[
    float,
    _schedule(
        "--radius",
        metavar="STRIDES",
        min=0,
        help="Strides around a centre in which points learn; 0: the whole segment.",
    ),
]
Balance = Annotated[
    float, _schedule("--balance", metavar="POWER", min=0, max=1, help="Weigh rare labels by (mean/count)^POWER.")
]
BatchSize = Annotated[
    int | None,
    _schedule("--batch-size", metavar="N", min=1, help="Videos in one step.", show_default="2; bmn 16, tcn 8"),
]
Lr = Annotated[
    float | None,
    _schedule("--lr", metavar="RATE", help="Highest learning rate.", show_default="0.0001; bmn 0.001, tcn 0.0005"),
]
WeightDecay = Annotated[float, _schedule("--weight-decay", metavar="DECAY", min=0, help="Pull towards zero.")]


@dataclass(frozen=True, slots=True)
class _Usual:
    """What the publications of a network used."""

    width: int
    batch_size: int
    lr: float
    fit: Literal["cut", "resize"] = "cut"
    classes: Literal["focal", "cross-entropy"] = "focal"


_USUAL = {
    "actionformer": _Usual(512, 2, 1e-4),
    "tridet": _Usual(512, 2, 1e-4),
    "bmn": _Usual(256, 16, 1e-3, fit="resize"),
    "tcn": _Usual(64, 8, 5e-4, classes="cross-entropy"),
}
_LONGEST, _RESIZED, _MAP = 2304, 192, 128


def localizer(
    features: Features,
    annotations: AnnotationFile,
    model: Model = "actionformer",
    labels: Labels = None,
    train_subset: TrainSubset = None,
    val_subset: ValSubset = None,
    held_out: HeldOut = 0.2,
    crop_ratio: CropRatio = 0.9,
    trunc_thresh: TruncThresh = 0.5,
    output: training.Output = "vidact-trained",
    name: training.Name = None,
    resume: training.Resume = False,
    quiet: options.Quiet = False,
    fit: Fit = None,
    length: Length = None,
    width: Width = None,
    levels: Levels = 6,
    heads: Heads = 4,
    window: Window = 19,
    position_codes: PositionCodes = False,
    drop_path: DropPath = 0.1,
    cls_loss: ClsLoss = None,
    reg_loss: RegLoss = "diou",
    reg_weight: RegWeight = 1.0,
    radius: Radius = 1.5,
    smoothing: training.Smoothing = 0.0,
    balance: Balance = 0.0,
    epochs: training.Epochs = 35,
    max_minutes: training.MaxMinutes = None,
    batch_size: BatchSize = None,
    optimizer: training.Optimizer = "adamw",
    lr: Lr = None,
    weight_decay: WeightDecay = 0.05,
    warmup: training.Warmup = 0.15,
    clip: training.Clip = 1.0,
    ema: training.Ema = 0.999,
    seed: training.Seed = 0,
    amp: training.Amp = False,
    *,
    device: options.Device,
) -> None:
    """Train a localizer on features; DIR/best.safetensors then runs with `vidact localize --checkpoint`.

    The best epoch by validation mAP (mean of IoU 0.3 to 0.7) is kept. A stopped training goes on with --resume.
    """
    with Output(quiet=quiet) as out:
        truth, source = _truth(features, annotations, labels, train_subset, val_subset, held_out, seed)
        training.check_output(output, resume)
        from vidact.training.localizer import Shape
        from vidact.training.sequences import Cutting, opened

        usual, feature_set = _USUAL[model], opened(source, truth.train)
        way = fit or usual.fit
        rows = _length(model, way, levels, feature_set, truth, length)
        sizes: dict[str, Any] = {"length": rows, "fit": way, "width": width or usual.width, "levels": levels}
        shape = Shape(**sizes, codes=position_codes, drop_path=drop_path, heads=heads, window=window)
        losses = _losses(truth, usual, cls_loss, reg_loss, reg_weight, radius, smoothing, balance)
        rate = usual.lr if lr is None else lr
        recipe = _recipe(epochs, max_minutes, optimizer, rate, weight_decay, warmup, clip, ema, seed, amp)
        cutting = Cutting(rows, None if crop_ratio == 1 else (crop_ratio, 1.0), trunc_thresh)
        job = training.Job(Path(output), resume, batch_size or usual.batch_size, training.resolve_device(device))
        _train(
            out,
            _Plan(model, training.called(name, output, resume), truth, feature_set, shape, losses, recipe, cutting),
            job,
        )


@dataclass(frozen=True)
class _Plan:
    """What to train on what, and how; ``name`` is what the weights are called behind their architecture."""

    model: str
    name: str
    truth: Truth
    feature_set: FeatureSet
    shape: Shape
    losses: Losses
    recipe: Recipe
    cutting: Cutting


def _truth(
    features: str,
    annotations: str,
    labels: str | None,
    train: list[str] | None,
    held: list[str] | None,
    share: float,
    seed: int,
) -> tuple[Truth, Any]:
    from vidact.models.labels import read_labels
    from vidact.store.annotations import read_annotations
    from vidact.store.feature_files import open_features
    from vidact.training.truth import AMBIGUOUS, choose

    names = None if labels is None else read_labels(labels)
    found, folder = read_annotations(annotations, labels=names), open_features(features)
    if names is None and AMBIGUOUS in found.labels:
        found = read_annotations(annotations, labels=[label for label in found.labels if label != AMBIGUOUS])
    chosen = choose(
        found, folder, train=train or (), held_out=held or (), share=share, seed=seed, listed=labels is not None
    )
    return chosen, folder


def _losses(
    truth: Truth, usual: _Usual, classes: Any, places: Any, weight: float, radius: float, smoothing: float, power: float
) -> Losses:
    from vidact.training.objectives import Losses, weights

    return Losses(
        classification=classes or usual.classes,
        regression=places,
        weight=weight,
        radius=radius,
        smoothing=smoothing,
        class_weights=weights(truth.counts(), power),
    )


def _recipe(
    epochs: int,
    minutes: float | None,
    optimizer: Any,
    lr: float,
    weight_decay: float,
    warmup: float,
    clip: float,
    ema: float,
    seed: int,
    amp: bool,
) -> Recipe:
    from vidact.training.loop import Recipe

    return Recipe(
        rounds=None if minutes else epochs,
        minutes=minutes,
        optimizer=optimizer,
        lr=lr,
        weight_decay=weight_decay,
        warmup=warmup,
        final_lr=0.0,
        smoothing=0.0,
        clip=clip,
        ema=ema,
        amp=amp,
        seed=seed,
    )


def _length(model: str, fit: str, levels: int, feature_set: FeatureSet, truth: Truth, given: int | None) -> int:
    """Rows to train on at a time. Reads, and with that checks, all features: what is wrong is said at once."""
    longest = max(len(feature_set.read(example).array) for example in (*truth.train, *truth.held_out))
    if given is not None:
        return given
    if model == "bmn":
        return _MAP
    step = 1 if model == "tcn" else 2 ** (levels - 1)
    rows = _RESIZED if fit == "resize" else min(longest, _LONGEST)
    return max(-(-rows // step) * step, 8)


def _train(out: Output, plan: _Plan, job: training.Job) -> None:
    from vidact.evaluation.validation import mean_precision
    from vidact.training.files import held
    from vidact.training.localizer import LocalizerTrainer, fresh
    from vidact.training.sequences import SequenceData

    truth = plan.truth
    empty = [number for number, count in enumerate(truth.counts()) if not count]
    start = fresh(
        plan.model, plan.name, plan.feature_set.contract, truth.labels, plan.shape, empty=empty, seed=plan.recipe.seed
    )
    data = SequenceData(
        plan.feature_set,
        truth,
        start.settings,
        plan.cutting,
        batch_size=job.batch_size,
        seed=plan.recipe.seed,
        multiple=start.multiple,
        whole=start.whole,
    )
    trainer = LocalizerTrainer(
        start, data, plan.recipe, job.output, losses=plan.losses, score=mean_precision, device=job.device
    )

    def tell(row: Round) -> None:
        parts = ", ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in row.train.items())
        out.note(
            f"epoch {row.round}: loss {row.loss:.3f} ({parts}); validation {row.val_loss:.3f}, "
            f"mAP {row.val_score:.1%}; {row.speed:.1f} videos/s"
        )

    for line in truth.notes:
        out.note(line)
    with held(str(job.output)):
        training.begin(out, trainer, truth.labels, resume=job.resume)
        _announce(out, plan, start, job.device)
        best = training.run(out, trainer, tell)
    out.text(f"Best validation mAP: {trainer.state.best:.1%} ({best})")
    out.text(f"Next: {program()} localize --checkpoint {shlex.quote(str(best))} PATH")


def _announce(out: Output, plan: _Plan, start: Start, device: str) -> None:
    parameters = sum(parameter.numel() for parameter in start.network.parameters())
    segments = sum(plan.truth.counts())
    out.note(
        f"{start.spec.name}, {parameters / 1e6:.1f} M parameters, {counted(len(plan.truth.labels), 'label')}, "
        f"{counted(segments, 'segment')} in {counted(len(plan.truth.train), 'video')} to train on, "
        f"{counted(len(plan.truth.held_out), 'video')} to validate on, on {device}."
    )
    if start.settings.fusion is not None:
        out.note("BMN tells no labels apart: it finds actions, and a classifier of whole videos may name them.")
