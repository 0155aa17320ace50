"""``vidact classify PATH...``: find, decode, score, write; resumable.

Options in, a request out; what is the same for every command that makes a run is in ``_work``.
"""

from __future__ import annotations

from vidact.cli import _options as options
from vidact.cli._work import work


def classify(
    paths: options.Inputs,
    model: options.Model = None,
    checkpoint: options.Checkpoint = None,
    backbone_checkpoint: options.BackboneCheckpoint = None,
    labels: options.Labels = None,
    clip_seconds: options.ClipSeconds = None,
    stride_seconds: options.StrideSeconds = None,
    views: options.Views = None,
    protocol: options.Protocol = "clips",
    top_k: options.TopK = 5,
    threshold: options.Threshold = 0.0,
    output: options.Output = "vidact-out",
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
    retry_failed: options.RetryFailed = False,
    dry_run: options.DryRun = False,
    limit: options.MaxVideos = None,
    max_runtime: options.MaxRuntime = None,
    allow_empty: options.AllowEmpty = False,
) -> None:
    """Tell which action every clip of your videos shows, and every video as a whole.

    The same command goes on where it stopped: what is done is not done again, and new or changed files are.
    """
    work("classify", locals())
