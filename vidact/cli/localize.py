"""``vidact localize PATH...``: when actions happen in videos, or in features that exist; resumable."""

from __future__ import annotations

from vidact.cli import _options as options
from vidact.cli._work import work


def localize(
    paths: options.OptionalInputs = None,
    model: options.Localizer = None,
    checkpoint: options.Checkpoint = None,
    backbone_checkpoint: options.BackboneCheckpoint = None,
    labels: options.Labels = None,
    features: options.Features = None,
    save_features: options.SaveFeatures = False,
    nms: options.Nms = None,
    min_score: options.SegmentScore = None,
    max_segments: options.MaxSegments = None,
    output: options.Output = "vidact-segments",
    format: options.Format = "parquet",
    root: options.Root = None,
    overwrite: options.Overwrite = False,
    log_file: options.LogFile = None,
    quiet: options.Quiet = False,
    *,
    device: options.Device,
    dtype: options.Dtype = "auto",
    batch_size: options.BatchSize = None,
    workers: options.Workers = None,
    decoders: options.Decoders = None,
    decoder: options.Decoder,
    address: options.Address,
    cache: options.Cache = None,
    retry_failed: options.RetryFailed = False,
    dry_run: options.DryRun = False,
    limit: options.MaxVideos = None,
    max_runtime: options.MaxRuntime = None,
    allow_empty: options.AllowEmpty = False,
) -> None:
    """Tell when actions happen in your videos: segments with start, end, label and score.

    The same command goes on where it stopped: what is done is not done again, and new or changed files are.
    """
    work("localize", locals())
