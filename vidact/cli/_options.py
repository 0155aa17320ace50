"""Every option of the command line, once: the same name, help and check wherever a command uses it.

A parameter must be called like its option: then its value also comes from ``VIDACT_<COMMAND>_<OPTION>``. Device,
decoder and address have a machine-wide variable besides, which the command's own one overrides. ``--overwrite``
destroys, so it has none. The help names no variables: the rule is said once, below it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

import typer

from vidact.cli import _parse as parse


def option(
    *names: str,
    metavar: str = "",
    min: float | None = None,
    max: float | None = None,
    callback: Callable[[Any], Any] | None = None,
    **more: Any,
) -> Any:
    """One option. ``metavar`` stands for its value in the help and lists the choices; a switch has none.

    ``min`` and ``max`` bound a number. (Typer's own range writes a formula into the help, and lets NaN through.)
    """
    bounded = min is not None or max is not None
    check = parse.between(min, max) if bounded else callback
    return typer.Option(*names, metavar=metavar, callback=check, show_envvar=False, **more)


_model = partial(option, rich_help_panel="Model")
_output = partial(option, rich_help_panel="Output")
_clips = partial(option, rich_help_panel="Clips and labels")
_features = partial(option, rich_help_panel="Features")
_segments = partial(option, rich_help_panel="Segments")
_machine = partial(option, rich_help_panel="Machine")
_run = partial(option, rich_help_panel="This run")

# What to work on

Inputs = Annotated[
    list[str],
    typer.Argument(
        metavar="PATH",
        help="Videos, directories (searched to the bottom), patterns, lists of paths (.txt, .csv, .jsonl, .parquet; "
        "relative ones count from the list's folder), or - for a list on standard input.",
        show_default=False,
    ),
]
OptionalInputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="PATH",
        help="Videos, directories, patterns, lists of paths, or -; as `vidact classify` takes them. "
        "May be left out with --features.",
        show_default=False,
    ),
]
Out = Annotated[str, typer.Argument(metavar="OUT", help="The folder a run wrote.")]
ModelName = Annotated[
    str,
    typer.Argument(
        metavar="NAME", help="A model, as `vidact models list` names it.", autocompletion=parse.complete_any
    ),
]

# Model

Model = Annotated[
    str | None,
    _model(
        "--model",
        "-m",
        metavar="NAME",
        help="A name from `vidact models list`.",
        autocompletion=parse.complete_model,
        show_default="the bundled one",
    ),
]
Checkpoint = Annotated[
    str | None, _model("--checkpoint", metavar="FILE", help="Take the weights from this file.", show_default=False)
]
Labels = Annotated[
    str | None,
    _model(
        "--labels",
        metavar="FILE",
        help="Names of the classes, one a line, or JSON.",
        show_default="those of the weights",
    ),
]

Localizer = Annotated[
    str | None,
    _model(
        "--model",
        "-m",
        metavar="NAME",
        help="A localizer from `vidact models list`.",
        autocompletion=parse.complete_localizer,
        show_default="the bundled one",
    ),
]
BackboneCheckpoint = Annotated[
    list[str] | None,
    _model(
        "--backbone-checkpoint",
        metavar="NAME=FILE",
        help="Take the weights of a network the model builds on from this file. Repeatable.",
        show_default=False,
    ),
]

# Features

Features = Annotated[
    str | None,
    _features(
        "--features",
        metavar="DIR",
        help="Use the features in this folder: of `vidact features`, or .npy, .npz, .pt files with a manifest.json.",
        show_default=False,
    ),
]
SaveFeatures = Annotated[bool, _features("--save-features", help="Keep the features of every video in the cache.")]
Cache = Annotated[
    str | None,
    _features(
        "--cache",
        metavar="DIR",
        help="Folder of cached features.",
        show_default="VIDACT_CACHE/features, else the platform's cache folder",
    ),
]
FeatureFps = Annotated[
    str | None,
    _features(
        "--fps",
        metavar="FPS|native",
        help="Frames a second features are made at; native takes every frame as it is.",
        parser=parse.rate,
        show_default="the model's own",
    ),
]
FeatureStride = Annotated[
    int | None,
    _features(
        "--stride", metavar="FRAMES", min=1, help="Frames from row to row.", show_default="a quarter of the window"
    ),
]
Export = Annotated[
    Literal["npy", "npz", "pt"] | None,
    _features(
        "--export",
        metavar="npy|npz|pt",
        help="Write the features to OUT/export as well, one such file a video, with a manifest.json.",
        show_default=False,
    ),
]
Layout = Annotated[
    Literal["TC", "CT"],
    _features("--layout", metavar="TC|CT", help="Exported files hold (rows, dimension) or (dimension, rows)."),
]

# Segments

Nms = Annotated[
    Literal["soft", "hard", "none"] | None,
    _segments(
        "--nms",
        metavar="soft|hard|none",
        help="How segments that overlap are thinned out.",
        show_default="as the weights were evaluated",
    ),
]
SegmentScore = Annotated[
    float | None,
    _segments(
        "--min-score",
        metavar="SCORE",
        help="Leave out segments that score less; 0 keeps what evaluation needs.",
        callback=parse.score,
        show_default="the weights' own, mostly 0",
    ),
]
MaxSegments = Annotated[
    int | None,
    _segments(
        "--max-segments", metavar="N", min=1, help="Keep the N best of each video.", show_default="the weights' own"
    ),
]

# Clips and labels

ClipSeconds = Annotated[
    float | None,
    _clips(
        "--clip-seconds",
        metavar="SECONDS",
        help="Length of a clip.",
        callback=parse.seconds,
        show_default="the model's own",
    ),
]
StrideSeconds = Annotated[
    float | None,
    _clips(
        "--stride-seconds",
        metavar="SECONDS",
        help="From the start of one clip to the start of the next.",
        callback=parse.seconds,
        show_default="the length of a clip",
    ),
]
Views = Annotated[
    str | None,
    _clips(
        "--views",
        metavar="CLIPSxCROPS",
        help="Instead: so many clips spread evenly over each video, 1 or 3 crops of each, such as 10x3.",
        parser=parse.views,
        show_default="clip after clip, 1 crop",
    ),
]
Protocol = Annotated[
    Literal["clips", "paper"],
    _clips(
        "--protocol",
        metavar="clips|paper",
        help="clips: as the options above say; paper: the frames, crops and averaging the weights were published with.",
    ),
]
TopK = Annotated[int, _clips("--top-k", metavar="N", min=1, help="Labels kept for each clip and each video.")]
Threshold = Annotated[
    float,
    _clips(
        "--threshold",
        metavar="SCORE",
        help="Leave out labels that score less, but never the best of a video.",
        callback=parse.score,
    ),
]

# Output

Output = Annotated[
    str, _output("--output", "-o", metavar="DIR", help="Folder to write to; - writes JSONL to standard output.")
]
Format = Annotated[
    Literal["parquet", "jsonl"], _output("--format", metavar="parquet|jsonl", help="Format of the tables.")
]
Root = Annotated[
    str | None,
    _output(
        "--root",
        metavar="DIR",
        help="Name videos relative to this directory.",
        show_default="the one all inputs share; without one, whole paths",
    ),
]
Overwrite = Annotated[
    bool,
    _output(
        "--overwrite",
        help="Delete what vidact left in the folder before, and begin again.",
        allow_from_autoenv=False,
    ),
]
LogFile = Annotated[
    str | None, _output("--log-file", metavar="FILE", help="Append a plain log to this file.", show_default=False)
]
Quiet = Annotated[bool, _output("--quiet", "-q", help="Say nothing but errors.")]

# Machine

Device = Annotated[
    Literal["auto", "cpu", "cuda"],
    _machine(
        "--device",
        metavar="auto|cpu|cuda",
        help="Where the model runs.",
        default_factory=parse.machine_wide("DEVICE", "auto"),
        show_default="VIDACT_DEVICE, else auto",
    ),
]
Dtype = Annotated[
    Literal["auto", "float32", "bfloat16", "float16"],
    _machine(
        "--dtype",
        metavar="DTYPE",
        help="Numbers the model computes with: auto, float32, bfloat16 or float16. auto: classify takes bfloat16 on a "
        "GPU; else float32.",
    ),
]
BatchSize = Annotated[
    int | None,
    _machine(
        "--batch-size",
        metavar="auto|N",
        help="Clips in one call of the model. On a CPU, 1 is slow for small networks.",
        parser=parse.auto_or_count(1),
        show_default="auto",
    ),
]
Workers = Annotated[
    int | None,
    _machine(
        "--workers",
        metavar="auto|N",
        help="Processes that hold a model; with 0 this process does everything, without Ray.",
        parser=parse.auto_or_count(0),
        show_default="auto",
    ),
]
Decoders = Annotated[
    int | None,
    _machine(
        "--decoders",
        metavar="auto|N",
        help="Processes that decode video.",
        parser=parse.auto_or_count(1),
        show_default="auto",
    ),
]
Decoder = Annotated[
    Literal["auto", "decord", "pyav"],
    _machine(
        "--decoder",
        metavar="auto|decord|pyav",
        help="What decodes; auto means decord where it can, PyAV where it must.",
        default_factory=parse.machine_wide("DECODER", "auto"),
        show_default="VIDACT_DECODER, else auto",
    ),
]
Address = Annotated[
    str | None,
    _machine(
        "--address",
        metavar="HOST:PORT",
        help="Work on this Ray cluster.",
        default_factory=parse.machine_wide("ADDRESS", None),
        show_default="VIDACT_ADDRESS, else a private Ray",
    ),
]

# This run

RetryFailed = Annotated[bool, _run("--retry-failed", help="Try again what failed before.")]
DryRun = Annotated[bool, _run("--dry-run", help="Say what would be done and what is done already; do nothing.")]
MaxVideos = Annotated[
    int | None, _run("--limit", metavar="N", min=1, help="Do at most so many videos now.", show_default=False)
]
MaxRuntime = Annotated[
    float | None,
    _run(
        "--max-runtime",
        metavar="TIME",
        help="Stop after 90s, 30m or 8h (exit code 6); the same command goes on later.",
        parser=parse.duration,
        show_default=False,
    ),
]
AllowEmpty = Annotated[bool, _run("--allow-empty", help="Finding no video is no error.")]

# What to print

Json = Annotated[bool, option("--json", help="One JSON object a line, for programs.")]
MaxLines = Annotated[
    int | None, option("--limit", metavar="N", min=1, help="Print at most so many lines.", show_default=False)
]
OnlyVideos = Annotated[
    list[str] | None,
    option(
        "--video",
        metavar="NAME",
        help="Only this video, clip by clip; also a pattern such as 'day1/*'. Repeatable.",
        show_default=False,
    ),
]
OnlyLabels = Annotated[
    list[str] | None, option("--label", metavar="LABEL", help="Only this label. Repeatable.", show_default=False)
]
MinScore = Annotated[
    float | None,
    option(
        "--min-score",
        metavar="SCORE",
        help="Only labels that score at least this.",
        callback=parse.score,
        show_default=False,
    ),
]
OnlyStatus = Annotated[
    Literal["ok", "partial", "failed"] | None,
    option("--status", metavar="ok|partial|failed", help="Only videos with this status.", show_default=False),
]
Clips = Annotated[bool, option("--clips", help="A line for every clip, or every segment, instead of every video.")]
