"""TimeSformer weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES, UNORDERED, Scores, mmaction
from vidact.records import Geometry, Published, Sampling, Spec

_HUB_MARK = r"timesformer\.embeddings\."
_ORIGINAL_MARK = r"(^|\.)patch_embed\.proj\."


def _timesformer(
    name: str,
    source: str,
    scores: Scores | None,
    mark: str = _ORIGINAL_MARK,
    *,
    frames: int = 8,
    stride: int = 32,
    size: int = 224,
    classes: str = "kinetics400",
    labels: str = "kinetics400",
    notes: str = "",
) -> Entry:
    folders = labels == "something_v2"
    own = protocols.timesformer(frames, stride, size, frame_folders=folders)
    protocol = protocols.hub_ends(frames) if mark == _HUB_MARK else own
    spec = Spec(
        name=name,
        architecture=name.partition(".")[0],
        sampling=Sampling(frames=frames, stride=stride, fps=30.0),
        geometry=Geometry(size=(size, size), short_side=size),
        mean=(0.45, 0.45, 0.45),
        std=(0.225, 0.225, 0.225),
        labels=(),
        classes=CLASSES[classes],
        average="logits",  # the authors' network gives logits to their test, which adds up the views
        feature_dimension=768,
        licence="CC-BY-NC-4.0",
        published=None if scores is None else Published(*scores, protocols.told(protocol), "TimeSformer README"),
        network={"blue_first": True} if folders else {},
        protocol=protocol,
        notes=notes,
    )
    return Entry(spec, "TimeSformer", source, sha256="", size=0, labels=labels, mark=mark)


def _mmaction(name: str, kind: str, stamp: str, scores: Scores) -> Entry:
    recipe = f"timesformer_{kind}_8xb8-8x32x1-15e_kinetics400-rgb"
    return mmaction(
        name,
        f"timesformer/{recipe}/{recipe}_{stamp}.pth",
        scores,
        frames=8,
        stride=32,
        features=768,
        size=224,
        short_side=224,
        views="1x3",
        family="TimeSformer",
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
    )


def _k600(name: str, file: str, scores: Scores, *, frames: int = 8, stride: int = 32, size: int = 224) -> Entry:
    source = f"{_SHARED}{file}?dl=1"
    return _timesformer(
        name, source, scores, frames=frames, stride=stride, size=size, classes="kinetics600", labels="", notes=UNORDERED
    )


def _ssv2(name: str, file: str, scores: Scores, *, frames: int, stride: int, size: int = 224) -> Entry:
    """The authors read the pictures of Something-Something with OpenCV, blue first, and leave their channels so."""
    return _timesformer(
        name,
        f"{_SHARED}{file}?dl=1",
        scores,
        frames=frames,
        stride=stride,
        size=size,
        classes="something_v2",
        labels="something_v2",
        notes="Trained on pictures whose channels are blue, green, red; vidact turns its first layer round.",
    )


_SHARED = "https://www.dropbox.com/s/"
_NONE = "The authors publish the recipe, no file."

ENTRIES = (
    _timesformer(
        "timesformer-b16.k400",
        _SHARED + "g5t24we9gl5yk88/TimeSformer_divST_8x32_224_K400.pyth?dl=1",
        (77.9, 93.2),
    ),
    _timesformer(
        "timesformer-b16.k400-16x448",
        _SHARED + "6f0x172lpqy3oxt/TimeSformer_divST_16x16_448_K400.pyth?dl=1",
        (79.6, 94.0),
        frames=16,
        stride=16,
        size=448,
    ),
    _timesformer(
        "timesformer-b16.k400-96x224",
        _SHARED + "r1iuxahif3sgimo/TimeSformer_divST_96x4_224_K400.pyth?dl=1",
        (80.6, 94.7),
        frames=96,
        stride=4,
    ),
    _k600("timesformer-b16.k600", "4h2qt41m2z3aqrb/TimeSformer_divST_8x32_224_K600.pyth", (79.1, 94.4)),
    _k600(
        "timesformer-b16.k600-16x448",
        "ft1e92g2vhvxecv/TimeSformer_divST_16x16_448_K600.pyth",
        (81.8, 95.8),
        frames=16,
        stride=16,
        size=448,
    ),
    _k600(
        "timesformer-b16.k600-96x224",
        "857rx6xeclxfhdg/TimeSformer_divST_96x4_224_K600.pyth",
        (82.2, 95.6),
        frames=96,
        stride=4,
    ),
    _ssv2(
        "timesformer-b16.ssv2",
        "tybhuml57y24wpm/TimeSformer_divST_8_224_SSv2.pyth",
        (59.1, 85.6),
        frames=8,
        stride=15,
    ),
    _ssv2(
        "timesformer-b16.ssv2-16x448",
        "9t68uzk8w2fpfnv/TimeSformer_divST_16_448_SSv2.pyth",
        (61.8, 86.9),
        frames=16,
        stride=8,
        size=448,
    ),
    _ssv2(
        "timesformer-b16.ssv2-64x224",
        "3f1rm2al8mhprwa/TimeSformer_divST_64_224_SSv2.pyth",
        (62.0, 87.5),
        frames=64,
        stride=2,
    ),
    _timesformer(
        "timesformer-b16.k400-hub",
        "hub:facebook/timesformer-base-finetuned-k400/pytorch_model.bin",
        None,
        _HUB_MARK,
    ),
    _mmaction("timesformer-b16.k400-mmaction2", "divST", "20220815-a4d0d01f", (77.69, 93.45)),
    _timesformer("timesformer-b16-joint.k400", "", None, notes=_NONE),
    _mmaction("timesformer-b16-joint.k400-mmaction2", "jointST", "20220815-8022d1c0", (76.95, 93.28)),
    _timesformer("timesformer-b16-space.k400", "", None, notes=_NONE),
    _mmaction("timesformer-b16-space.k400-mmaction2", "spaceOnly", "20220815-78f05367", (76.93, 92.88)),
)
