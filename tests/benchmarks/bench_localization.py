"""Suppression, and whole localizers on one hour of features, beside the code they were published with, in one run.

    python tests/benchmarks/bench_localization.py nms ACTIONFORMER
    python tests/benchmarks/bench_localization.py model ACTIONFORMER actionformer
    python tests/benchmarks/bench_localization.py model TRIDET tridet

ACTIONFORMER and TRIDET are checkouts of the authors' repositories (happyharrycn/actionformer_release,
dingfengshi/TriDet), kept outside this one, with the packages they need (pandas, joblib, PyYAML); their compiled
suppression is built in a temporary folder. Both sides take turns in one process with as many threads; printed
is the original's time over vidact's, so that 1.0 and more means not slower. Results are compared, too: a ratio of
different answers says nothing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import cpp_extension

from vidact import load_model
from vidact.models.localization.segments import Detections, suppress
from vidact.models.localization.settings import Suppression

CAPS = (100, 200, 1000, 2000)
NAMES = {"actionformer": "actionformer.thumos14-i3d", "tridet": "tridet.thumos14-i3d"}
CONFIG = "configs/thumos_i3d.yaml"


def original(checkout: Path, folder: str) -> Any:
    """The authors' module of suppression, with its extension built in ``folder``."""
    source = checkout / "libs" / "utils" / "csrc" / "nms_cpu.cpp"
    sys.modules["nms_1d_cpu"] = cpp_extension.load(
        "nms_1d_cpu", [str(source)], extra_cflags=["-O3"], build_directory=folder
    )
    sys.path.insert(0, str(checkout))
    from libs.utils import nms

    return nms


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median CPU seconds of ours, the ratio of CPU times and that of wall times; the two take turns."""
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for number in range(rounds + 1):
        for name, call in (("ours", ours), ("theirs", theirs))[:: 1 if number % 2 else -1]:
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            if number:  # the first round warms up
                times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    (cpu, wall), (their_cpu, their_wall) = (
        [statistics.median(column) for column in zip(*times[name], strict=True)] for name in ("ours", "theirs")
    )
    return cpu, their_cpu / cpu, their_wall / wall


def candidates(count: int, classes: int, seed: int) -> Detections:
    """Segments as a pyramid gives them: several around each of many moments, best first within a level."""
    draw = np.random.default_rng(seed)
    centre = draw.choice(draw.uniform(0, 4000, count // 20), count) + draw.normal(0, 2, count)
    half = draw.lognormal(1.5, 1.0, count) / 2
    segments = np.stack([centre - half, centre + half], axis=1).astype(np.float32)
    scores = np.sort(draw.beta(0.5, 4, count).astype(np.float32))[::-1].copy()
    return Detections(segments, scores, draw.integers(0, classes, count))


def nms(checkout: Path, build: str, rounds: int) -> None:
    """Every published way, at the published caps and without one."""
    theirs = original(checkout, build)
    print("method                  segments     cap   ours ms   CPU ratio  wall ratio")
    for title, rules in (
        ("soft, by class", Suppression()),
        ("soft, voting", Suppression(by_class=False, voting=0.7, voting_by_iou=True)),
        ("hard, by class", Suppression(method="hard", iou=0.5)),
        ("hard, all together", Suppression(method="hard", iou=0.5, by_class=False)),
    ):
        for count in (2000, 5000, 10_000):
            given = candidates(count, 20, count)
            tensors = [torch.from_numpy(part) for part in given]
            for cap in sorted({*CAPS, count}):
                own = Suppression(**{**_values(rules), "max_segments": cap})

                def run_theirs(own: Suppression = own, tensors: list[torch.Tensor] = tensors) -> Any:
                    return theirs.batched_nms(
                        *tensors,
                        own.iou,
                        own.min_score,
                        own.max_segments,
                        use_soft_nms=own.method != "hard",
                        multiclass=own.by_class,
                        sigma=own.sigma,
                        voting_thresh=own.voting,
                    )

                def run_ours(own: Suppression = own, given: Detections = given) -> Detections:
                    return suppress(given, own)

                found, (segments, scores, labels) = run_ours(), run_theirs()
                assert np.array_equal(found.labels, labels.numpy()), (title, count, cap)
                assert np.abs(found.scores - scores.numpy()).max(initial=0) < 1e-6
                assert np.abs(found.segments - segments.numpy()).max(initial=0) < 1e-2
                cpu, ratio, wall = compare(run_ours, run_theirs, rounds)
                shown = "none" if cap == count > CAPS[-1] else str(cap)
                print(f"{title:22}  {count:8}  {shown:>6}  {1000 * cpu:8.1f}  {ratio:10.2f}  {wall:10.2f}", flush=True)


def _values(rules: Suppression) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in Suppression.__slots__}


def model(checkout: Path, build: str, name: str, rounds: int, seconds: float) -> None:
    """Forward and post-processing of ``seconds`` of features, weights drawn by the originals' own initialisation."""
    original(checkout, build)
    with tempfile.TemporaryDirectory() as folder:
        from libs.core import load_config
        from libs.modeling import make_meta_arch

        torch.manual_seed(0)
        config = load_config(str(checkout / CONFIG))
        network = make_meta_arch(config["model_name"], **config["model"]).eval()
        state = {f"module.{key}": value for key, value in network.state_dict().items()}
        file = Path(folder) / "weights.pth.tar"
        torch.save({"epoch": 1, "state_dict": {}, "state_dict_ema": state}, file)
        ours = load_model(NAMES[name], checkpoint=file)
    fps, stride, window = 30.0, config["dataset"]["feat_stride"], config["dataset"]["num_frames"]
    rows = int((seconds * fps - window) / stride) + 1
    features = np.random.default_rng(0).normal(0, 1, (rows, config["dataset"]["input_dim"])).astype(np.float32)
    video = {
        "video_id": "hour",
        "feats": torch.from_numpy(features.T.copy()),
        "fps": fps,
        "duration": seconds,
        "feat_stride": stride,
        "feat_num_frames": window,
    }

    def run_theirs() -> Any:
        with torch.no_grad():
            return network([video])[0]

    def run_ours() -> Any:
        return ours.localize(features, duration=seconds, fps=fps)

    found, expected = run_ours(), run_theirs()
    difference = float(np.abs(found.score - expected["scores"].numpy()).max())
    print(
        f"{name}: {rows} rows, {len(found)} and {len(expected['scores'])} segments, scores differ by {difference:.1e}"
    )
    cpu, ratio, wall = compare(run_ours, run_theirs, rounds)
    print(f"{name}: ours {cpu:.1f} s CPU; CPU ratio {ratio:.2f}, wall ratio {wall:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nms", "model"))
    parser.add_argument("original", type=Path, help="checkout of the authors' repository")
    parser.add_argument("name", nargs="?", choices=sorted(NAMES), default="actionformer")
    parser.add_argument("--build", help="folder for the compiled extension, to build it once only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=3600.0)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        build = given.build or folder
        if given.what == "nms":
            nms(given.original, build, given.rounds)
        else:
            model(given.original, build, given.name, given.rounds, given.seconds)


if __name__ == "__main__":
    main()
