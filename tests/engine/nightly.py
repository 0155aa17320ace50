"""A run as the command line does it, with the fake task: ``python nightly.py FOLDER OUT WORKERS``.

For tests that kill it. Exits 0 when done, 143 after SIGTERM; prints nothing.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from engine.fakes import FakeTask, videos

from vidact.engine import machine, plan, run
from vidact.engine.request import Choice
from vidact.models import zoo
from vidact.models.build import Chosen
from vidact.records import RunSettings
from vidact.store import rundir
from vidact.video.find import Found


def main(folder: str, out: str, workers: str) -> int:
    rundir.COMMIT_VIDEOS = 7
    run.Classify = lambda settings, spec: FakeTask(chunk_rows=6, model_seconds=0.01)  # type: ignore[assignment,misc]
    named = sorted(path.name for path in Path(folder).iterdir())
    found = Found(folder, videos(Path(folder), named, touch=False), [])
    settings = RunSettings(root=folder, batch_size=8, workers=int(workers), decoders=1)
    split = machine.Split(1, 1, 1, 1, "cpu")
    todo = plan.Todo([], {}, 0, 0, 0, 0, 0, 0)
    chosen = Chosen(zoo.ENTRIES[zoo.DEFAULT].spec, "", "")
    prepared = run.Prepared(settings, Choice(chosen), split, found, todo, False)

    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(True))
    store = rundir.RunDir.open(out, settings)
    for _ in run.execute(prepared, store, stop=lambda: bool(asked)):
        pass
    store.close({"exit": "interrupted" if asked else "done"})
    return 143 if asked else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
