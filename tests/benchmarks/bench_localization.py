"""Suppression, whole localizers on an hour of features and steps of training beside the code they were published with.

    python tests/benchmarks/bench_localization.py nms ACTIONFORMER --counts 2000,5000,10000
    python tests/benchmarks/bench_localization.py model ACTIONFORMER
    python tests/benchmarks/bench_localization.py model TRIDET --name tridet
    python tests/benchmarks/bench_localization.py model OPENTAD --name bmn
    python tests/benchmarks/bench_localization.py train ACTIONFORMER
    python tests/benchmarks/bench_localization.py train TRIDET --name tridet --rows 576
    python tests/benchmarks/bench_localization.py train OPENTAD --name bmn

ACTIONFORMER, TRIDET and OPENTAD are checkouts of the authors' repositories (happyharrycn/actionformer_release,
dingfengshi/TriDet, sming256/OpenTAD), kept outside this one; PyYAML is needed. Their compiled suppression is built in a
temporary folder, or in ``--build`` (one folder a checkout), where it is found again. Both sides take turns in one
process with as many threads; printed is the original's time over vidact's, so that 1.0 and more means not slower.
Results are compared, too: a ratio of different answers says nothing.
"""

from __future__ import annotations

import argparse
import copy
import importlib
import itertools
import runpy
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils import cpp_extension

from vidact import load_model
from vidact.models.localization import actionformer, tridet
from vidact.models.localization import bmn as boundary_matching
from vidact.models.localization.keys import published_by
from vidact.models.localization.segments import Detections, suppress
from vidact.models.localization.settings import Suppression
from vidact.models.localization.timing import align
from vidact.models.localizer import Localizer
from vidact.records import Contract
from vidact.training.localizer import LocalizerTrainer, Shape, fresh
from vidact.training.loop import Recipe
from vidact.training.objectives import Losses, Sequences, stack

NAMES = {"actionformer": "actionformer.thumos14-i3d", "tridet": "tridet.thumos14-i3d", "bmn": "bmn.anet-tsp"}
CONFIG = "configs/thumos_i3d.yaml"
READERS: dict[str, Any] = {"actionformer": actionformer, "tridet": tridet, "bmn": boundary_matching}


def build(source: Path, folder: str) -> None:
    """The authors' extension of suppression, compiled in ``folder``."""
    Path(folder).mkdir(parents=True, exist_ok=True)
    sys.modules["nms_1d_cpu"] = cpp_extension.load(
        "nms_1d_cpu", [str(source)], extra_cflags=["-O3"], build_directory=folder
    )


def hollow(root: Path, *names: str) -> None:
    """Packages of a checkout without what their ``__init__`` imports: metrics and networks that are not compared."""
    for name in names:
        package = types.ModuleType(name)
        package.__path__ = [str(root / name.replace(".", "/"))]
        sys.modules[name] = package


def original(checkout: Path, folder: str) -> Any:
    """The authors' module of suppression, with its extension built in ``folder``."""
    build(checkout / "libs" / "utils" / "csrc" / "nms_cpu.cpp", folder)
    hollow(checkout, "libs", "libs.utils")
    nms = importlib.import_module("libs.utils.nms")
    sys.modules["libs.utils"].batched_nms = nms.batched_nms  # type: ignore[attr-defined]
    return nms


def compare(ours: Callable[[], Any], theirs: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """Median CPU seconds of ours, the ratio of CPU times and that of wall times; the two, called before, take turns."""
    times: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    for number in range(rounds):
        for name, call in (("ours", ours), ("theirs", theirs))[:: 1 if number % 2 else -1]:
            cpu, wall = time.process_time(), time.perf_counter()
            call()
            times[name].append((time.process_time() - cpu, time.perf_counter() - wall))
    (cpu, wall), (their_cpu, their_wall) = (
        [statistics.median(column) for column in zip(*times[name], strict=True)] for name in ("ours", "theirs")
    )
    return cpu, their_cpu / cpu, their_wall / wall


def moments(count: int, classes: int, draw: np.random.Generator) -> Detections:
    """Segments as a pyramid gives them: several around each of many moments, best first within a level."""
    centre = draw.choice(draw.uniform(0, 4000, count // 20), count) + draw.normal(0, 2, count)
    given = around(centre, draw.lognormal(1.5, 1.0, count)[None].repeat(2, 0), classes, draw)
    return given._replace(scores=np.sort(given.scores)[::-1].copy())


def around(centre: Any, lengths: Any, classes: int, draw: np.random.Generator) -> Detections:
    """Segments half of two lengths (2, N) before and after ``centre``, with scores as a network gives them."""
    before, after = lengths / 2
    segments = np.stack([centre - before, centre + after], axis=1).astype(np.float32)
    count = len(segments)
    return Detections(segments, draw.beta(0.5, 4, count).astype(np.float32), draw.integers(0, classes, count))


def within(rows: float, count: int, classes: int, draw: np.random.Generator) -> Detections:
    """Segments some rows long anywhere on ``rows`` rows."""
    return around(draw.uniform(0, rows, count), draw.lognormal(1.5, 1.0, count)[None].repeat(2, 0), classes, draw)


def anything(rows: float, count: int, classes: int, draw: np.random.Generator) -> Detections:
    """Any two places on ``rows`` rows: a segment overlaps two of three others."""
    first, second = np.sort(draw.uniform(0, rows, (2, count)), axis=0)
    return around(first, np.stack([0 * first, 2 * (second - first)]), classes, draw)


def crossing(count: int, classes: int, draw: np.random.Generator) -> Detections:
    """Segments that all share an instant."""
    return around(np.full(count, 100.0), draw.uniform(2, 200, (2, count)), classes, draw)


def one_level(count: int, classes: int, draw: np.random.Generator) -> Detections:
    """A pyramid of one level: up to a row before and after one of 200 places."""
    return around(draw.integers(0, 200, count).astype(float), draw.uniform(0, 2, (2, count)), classes, draw)


SETS: dict[str, tuple[Callable[[int, int, np.random.Generator], Detections], tuple[int, ...]]] = {
    "around moments": (moments, (1, 20, 200)),
    "short, 2304 rows": (partial(within, 2304), (1, 20, 200)),
    "short, 200 rows": (partial(within, 200), (1, 2, 20)),
    "any, 2304 rows": (partial(anything, 2304), (1, 20, 200)),
    "one level": (one_level, (1, 20)),
    "all crossing": (crossing, (1, 2, 20)),
}
RULES = {
    "soft, by class": Suppression(),
    "hard, by class": Suppression(method="hard", iou=0.5),
    "soft, voting": Suppression(by_class=False, voting=0.7, voting_by_iou=True),
    "hard, all together": Suppression(method="hard", iou=0.5, by_class=False),
}


def nms(checkout: Path, folder: str, rounds: int, counts: Sequence[int], caps: Sequence[int]) -> None:
    """Every published way, at the published caps, on candidates as networks give them and on dense ones."""
    theirs = original(checkout, folder)
    print("method              candidates        classes  segments   cap  kept   ours ms  CPU ratio  wall ratio")
    for title, rules in RULES.items():
        for name, (make, classes) in SETS.items():
            for many, count, cap in itertools.product(classes if rules.by_class else (1,), counts, caps):
                given = make(count, many, np.random.default_rng(count))
                own = Suppression(**{**_values(rules), "max_segments": cap})
                run_ours, run_theirs = partial(suppress, given, own), partial(batched, theirs, given, own)
                found, expected = run_ours(), run_theirs()
                check(found, Detections(*(part.numpy() for part in expected)))
                cpu, ratio, wall = compare(run_ours, run_theirs, rounds)
                sizes = f"{many:7}  {count:8}  {cap:4}  {len(found.scores):4}"
                print(f"{title:18}  {name:16}  {sizes}  {1000 * cpu:8.2f}  {ratio:9.2f}  {wall:10.2f}", flush=True)


def batched(theirs: Any, given: Detections, own: Suppression) -> Any:
    """The authors' suppression by these rules."""
    return theirs.batched_nms(
        *(torch.from_numpy(part) for part in given),
        own.iou,
        own.min_score,
        own.max_segments,
        use_soft_nms=own.method != "hard",
        multiclass=own.by_class,
        sigma=own.sigma,
        voting_thresh=own.voting,
    )


def check(found: Detections, expected: Detections) -> None:
    """Votes of segments without length, which the originals make NaN, are left out by vidact."""
    expected = expected.take(~np.isnan(expected.segments).any(axis=1))
    assert np.array_equal(found.labels, expected.labels)
    assert np.abs(found.scores - expected.scores).max(initial=0) < 1e-6
    assert np.abs(found.segments - expected.segments).max(initial=0) < 1e-2


def _values(rules: Suppression) -> dict[str, Any]:
    return {name: getattr(rules, name) for name in Suppression.__slots__}


def published(checkout: Path, folder: str, rows: int = 0) -> tuple[Any, dict[str, Any]]:
    """The authors' ActionFormer or TriDet for THUMOS-14, weights drawn by their own initialisation, and its config."""
    original(checkout, folder)
    from libs.core import load_config
    from libs.modeling import make_meta_arch

    torch.manual_seed(0)
    config = load_config(str(checkout / CONFIG))
    # The points of its pyramid stand in a table, as published for six times the training length: 13,824 rows at most.
    longest = config["model"]["max_buffer_len_factor"]
    config["model"]["max_buffer_len_factor"] = max(longest, float(rows // config["dataset"]["max_seq_len"] + 1))
    return make_meta_arch(config["model_name"], **config["model"]).eval(), config


def loaded(name: str, network: torch.nn.Module) -> Localizer:
    """vidact's localizer with the authors' weights."""
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "weights.pth.tar"
        torch.save({"epoch": 1, "state_dict": state, "state_dict_ema": state}, file)
        return load_model(NAMES[name], checkpoint=file)  # type: ignore[return-value]


def model(checkout: Path, folder: str, name: str, rounds: int, minutes: float) -> None:
    """Forward and post-processing of features that cover ``minutes``.

    BMN sees them resized: OpenTAD when it reads a file, with torchvision, which is not timed; vidact here.
    """
    fps, seconds = 15.0 if name == "bmn" else 30.0, 60 * minutes
    stride, window, dimension = (16, 16, 512) if name == "bmn" else (4, 16, 2048)
    rows = int((seconds * fps - window) / stride) + 1
    features = np.random.default_rng(0).normal(0, 1, (rows, dimension)).astype(np.float32)
    if name == "bmn":
        network, run = bmn(checkout, folder)
        run_theirs = partial(run, align(torch.from_numpy(features.T), 128).T.numpy(), seconds)
    else:
        network, config = published(checkout, folder, rows)
        assert (stride, window, dimension) == tuple(
            config["dataset"][key] for key in ("feat_stride", "num_frames", "input_dim")
        )
        video = {"video_id": "", "feats": torch.from_numpy(features.T.copy()), "fps": fps, "duration": seconds}
        video |= {"feat_stride": stride, "feat_num_frames": window}

        def run_theirs() -> Any:
            with torch.no_grad():
                return network([video])[0]["scores"].numpy()

    ours = loaded(name, network)

    def run_ours() -> Any:
        return ours.localize(features, duration=seconds, fps=fps).score

    found, expected = run_ours(), run_theirs()
    assert len(found) == len(expected), (len(found), len(expected))
    difference = np.abs(found - expected).max(initial=0)
    print(f"{name}: {len(features)} rows, {len(found)} segments, scores differ by {difference:.1e}", flush=True)
    cpu, ratio, wall = compare(run_ours, run_theirs, rounds)
    print(f"{name}: ours {cpu:.2f} s CPU; CPU ratio {ratio:.2f}, wall ratio {wall:.2f}")


class _Config(dict[str, Any]):
    """Values by key or attribute, as OpenTAD reads them."""

    __getattr__ = dict.__getitem__


class _Registry:
    """As much of mmengine's registry as OpenTAD's modules need."""

    def __init__(self, name: str) -> None:
        self.known: dict[str, Any] = {}

    def register_module(self) -> Callable[[Any], Any]:
        return lambda made: self.known.setdefault(made.__name__, made)

    def build(self, config: dict[str, Any]) -> Any:
        values = {key: _Config(value) if isinstance(value, dict) else value for key, value in config.items()}
        return self.known[values.pop("type")](**values)


def bmn(checkout: Path, folder: str) -> tuple[Any, Callable[[Any, float], Any]]:
    """OpenTAD's BMN for TSP features of ActivityNet, and its forward and post-processing, which rounds to 4 digits."""
    build(checkout / "opentad/models/utils/post_processing/nms/nms_cpu.cpp", folder)
    parts = ("backbones", "projections", "dense_heads", "detectors", "roi_heads", "losses", "utils")
    inner = ("proposal_generator", "proposal_head", "roi_extractors")
    hollow(checkout, "opentad", "opentad.models", *(f"opentad.models.{part}" for part in parts))
    hollow(checkout, *(f"opentad.models.roi_heads.{part}" for part in inner))
    for name in ("mmengine", "mmengine.registry"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["mmengine.registry"].Registry = _Registry  # type: ignore[attr-defined]
    sys.modules["opentad.models.backbones"].BackboneWrapper = None  # type: ignore[attr-defined]
    for module in (
        *("projections.base", "dense_heads.tem_head", "detectors.bmn", "roi_heads.standard_map_head"),
        *("roi_heads.proposal_generator.dense_map", "roi_heads.proposal_head.pem_head"),
        *("roi_heads.roi_extractors.bmn_extractor", "losses.balanced_bce_loss", "losses.balanced_l2_loss"),
    ):
        importlib.import_module(f"opentad.models.{module}")
    config = runpy.run_path(str(checkout / "configs/_base_/models/bmn.py"))["model"]
    config["projection"]["in_channels"] = 512
    torch.manual_seed(0)
    network = importlib.import_module("opentad.models.builder").build_detector(config).eval()
    way = {"use_soft_nms": True, "sigma": 0.5, "max_seg_num": 100, "min_score": 0.01, "multiclass": False}
    rules = types.SimpleNamespace(nms={**way, "voting_thresh": 0.95})

    def run(features: Any, seconds: float) -> Any:
        meta = {"video_name": "", "fps": -1, "resize_length": len(features), "duration": seconds}
        with torch.no_grad():
            rows = torch.from_numpy(features.T.copy())[None]
            scores = network.forward_test(rows, torch.ones(1, len(features), dtype=torch.bool))
            found = network.post_processing(scores, [meta], rules, lambda _, *both: (both[0], both[1], both[1]))
        return np.array([one["score"] for one in found[""]], dtype=np.float32)

    return network, run


def train(checkout: Path, folder: str, name: str, rounds: int, rows: int) -> None:
    """A step of training on the same sequences from the same weights: losses, gradients, clipping, optimiser, mean
    weights. Both begin with the originals' weights; the first losses are printed (layers are dropped and pairs drawn by
    chance)."""
    network, batch, loss = (bmn_training if name == "bmn" else pyramid_training)(checkout, folder, rows)
    count, _, length = batch.features.shape
    averaged, network = copy.deepcopy(network), network.train()
    method = torch.optim.Adam if name == "bmn" else torch.optim.AdamW  # as published
    solver = method(network.parameters(), lr=1e-4, weight_decay=1e-4 if name == "bmn" else 0.05)
    losses: dict[str, float] = {}

    def run_theirs() -> None:
        solver.zero_grad(set_to_none=True)
        lost = loss()
        lost.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        solver.step()
        with torch.no_grad():
            for mean, value in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
                mean.copy_(0.999 * mean + 0.001 * value)
        losses.setdefault("theirs", float(lost.detach()))

    trainer = own_training(name, network, batch)

    def run_ours() -> None:
        trainer.step(batch)
        losses.setdefault("ours", trainer.state.loss / count)

    sizes = [sum(part.numel() for part in one.parameters()) for one in (trainer.network, network)]
    run_theirs(), run_ours()
    print(f"{name}, a step of {count} × {length} rows: {sizes[0]} and {sizes[1]} weights")
    print(f"{name}: first loss of ours {losses['ours']:.4f}, of theirs {losses['theirs']:.4f}", flush=True)
    cpu, ratio, wall = compare(run_ours, run_theirs, rounds)
    print(f"{name}: ours {cpu:.2f} s CPU; CPU ratio {ratio:.2f}, wall ratio {wall:.2f}")


def own_training(name: str, network: torch.nn.Module, batch: Sequences) -> LocalizerTrainer:
    """vidact's training of the same network, from the same weights."""
    _, dimension, length = batch.features.shape
    state = network.state_dict()
    labels = [str(label) for label in range(1 if name == "bmn" else state["cls_head.cls_head.conv.bias"].numel())]
    shape = Shape(length, fit="resize", width=256) if name == "bmn" else Shape(length)
    start = fresh(name, "bench", Contract(30, 16, 4, 8.0, dimension, "i3d"), labels, shape)
    form = published_by(state, READERS[name].MARKS, name)
    start.network.load_state_dict(READERS[name].from_state(form, state, start.spec.network)[1])
    data: Any = types.SimpleNamespace(steps=lambda: 1000)
    score: Any = None
    trainer = LocalizerTrainer(start, data, Recipe(rounds=1, lr=1e-4), "", losses=Losses(), score=score)
    trainer.network.train()
    return trainer


def sequences(count: int, dimension: int, length: int, classes: int, longest: float) -> Sequences:
    """Features and 15 segments of each of some sequences."""
    draw = torch.Generator().manual_seed(0)
    features = [torch.randn(dimension, length, generator=draw) for _ in range(count)]
    starts = [torch.rand(15, 1, generator=draw) * length * 0.9 for _ in range(count)]
    lengths = [2 + torch.rand(15, 1, generator=draw) * longest for _ in range(count)]
    segments = [
        torch.cat([start, torch.clamp(start + size, max=length)], dim=1)
        for start, size in zip(starts, lengths, strict=True)
    ]
    labels = [torch.randint(classes, (15,), generator=draw) for _ in range(count)]
    return Sequences(*stack(features, length), tuple(segments), tuple(labels))


Training = tuple[Any, Sequences, Callable[[], torch.Tensor]]
"""The authors' network, a batch for it, and its loss on that batch."""


def pyramid_training(checkout: Path, folder: str, rows: int) -> Training:
    """ActionFormer or TriDet on two sequences, the published batch."""
    network, config = published(checkout, folder)
    length = rows or config["dataset"]["max_seq_len"]
    network.max_seq_len = length  # to which the originals pad whatever is shorter
    batch = sequences(2, config["dataset"]["input_dim"], length, config["dataset"]["num_classes"], 40.0)
    videos = [
        dict(zip(("feats", "segments", "labels"), one, strict=True))
        for one in zip(batch.features, batch.segments, batch.labels, strict=True)
    ]
    return network, batch, lambda: network(videos)["final_loss"]


def bmn_training(checkout: Path, folder: str, rows: int) -> Training:
    """BMN on four sequences of the published length, a quarter of the published batch: 16 take OpenTAD 20 GB."""
    network, _ = bmn(checkout, folder)
    batch = sequences(4, 512, rows or 128, 1, 80.0)
    mask = batch.mask[:, 0] > 0

    def loss() -> torch.Tensor:
        parts = network(batch.features, mask, None, gt_segments=batch.segments, gt_labels=batch.labels)
        return parts["cost"]  # type: ignore[no-any-return]

    return network, batch, loss


def whole_numbers(text: str) -> list[int]:
    return [int(one) for one in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("nms", "model", "train"))
    parser.add_argument("original", type=Path, help="checkout of the authors' repository")
    parser.add_argument("--name", choices=sorted(NAMES), default="actionformer")
    parser.add_argument("--build", help="folder for the compiled extension, to build it once only")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0, help="of features for model")
    parser.add_argument("--counts", type=whole_numbers, default=[2000], help="of candidates for nms")
    parser.add_argument("--caps", type=whole_numbers, default=[100, 200, 1000, 2000], help="for nms")
    parser.add_argument("--rows", type=int, default=0, help="of a sequence for train; 0: as published")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        built = given.build or folder
        if given.what == "nms":
            nms(given.original, built, given.rounds, given.counts, given.caps)
        elif given.what == "train":
            train(given.original, built, given.name, given.rounds, given.rows)
        else:
            model(given.original, built, given.name, given.rounds, given.minutes)


if __name__ == "__main__":
    main()
