"""vidact: which action every clip shows, and when actions happen, for whole archives of videos.

The public Python surface is imported on first use, so that ``import vidact`` costs nothing. The rooms, from the top;
imports point down only (``tests/test_layers.py``), and every file begins by saying what it is for::

    cli         one file a command; _options: every option once; _output: all that is printed; _work: around a run
    engine      request → run → driver: what to do (plan, ledger), by whom (worker), on Ray (pool) or without (local)
    training    what to learn from (lists, truth), batches (data, sequences), loop, recognizer, localizer
    evaluation  segments (benchmarks, detection, diagnosis, frames, localization) and labels (recognition, accuracy)
    tasks       what to do with one video: classify, features, localize
    models      build: from name and file to network; weights, cache, download, convert; recognizer and localizer around
                the networks; recognition/ and localization/: one network a file; zoo/: published weights, as data
    video       find, index (packets, times), decode, sampling, windows, protocols, transform, resize, flow
    store       written: schemas, parts, rundir, manifest, reader, features; read: lists, annotations, labelled, tables
    records     the dataclasses that travel between rooms; RunSettings says which settings a run folder keeps
    errors      the tree of errors; cli/_errors gives each its exit code

A new network is a file in models/recognition or models/localization, its line in models/networks or models/localizer,
and a family in models/zoo; a new option a line in cli/_options and a field of records.RunSettings; a new column a line
in store/schemas; a new benchmark a line in evaluation/benchmarks.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "classify", "load_model", "localize"]

if TYPE_CHECKING:
    from vidact.engine.run import classify, localize
    from vidact.models.build import load_model

_HOMES = {
    "classify": "vidact.engine.run",
    "localize": "vidact.engine.run",
    "load_model": "vidact.models.build",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vidact' has no attribute {name!r}")
