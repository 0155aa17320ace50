"""``vidact features PATH...``: dense features of any recogniser, cached and, if asked for, in the field's formats."""

from __future__ import annotations

import os

from vidact.cli import _options as options
from vidact.cli._work import work
from vidact.errors import UsageError


def features(
    paths: options.Inputs,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    backbone_checkpoint: options.BackboneCheckpoint = None,
    fps: options.FeatureFps = None,
    stride: options.FeatureStride = None,
    export: options.Export = None,
    layout: options.Layout = "TC",
    output: options.Output = "vidact-features",
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
    """Extract clip features of your videos, dense in time, for localizers and for training them.

    --model takes a recogniser, or a localizer whose features are wanted. Features are kept in the cache, once for each
    video and way of making them; the output folder lists them, and serves as --features of other commands.
    """
    given = dict(locals())

    def write() -> None:
        from vidact.store.feature_files import export as write_files
        from vidact.store.feature_files import open_features

        if export is not None:
            write_files(open_features(output), os.path.join(output, "export"), export, turned=layout == "CT")

    if output == "-" and export is not None:
        raise UsageError("--export writes into the output folder, and there is none", hint="name one with -o DIR")
    work("features", given, then=write)
