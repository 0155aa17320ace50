"""Video Swin weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES, Scores, fingerprint, mmaction
from vidact.records import Geometry, Protocol, Published, Sampling, Spec

_STORAGE = "https://github.com/SwinTransformer/storage/releases/download/v1.0.4/"
# The authors' files and mmaction2's have the same keys but for the last norm's.
_ORIGINAL_MARK = r"backbone\.norm\."
_TORCHVISION_MARK = r"features\.0\.0\.attn\."


def _swin(
    name: str,
    source: str,
    scores: Scores,
    *,
    features: int,
    labels: str = "kinetics400",
    mark: str = _ORIGINAL_MARK,
    fps: float = 30.0,
    stride: int = 2,
    short_side: int = 224,
    protocol: Protocol | None = None,
    licence: str = "Apache-2.0",
    publisher: str = "Video Swin README",
    notes: str = "",
) -> Entry:
    protocol = protocol or protocols.mmaction(32, 2, "4x3", short_side=224, size=224)
    spec = Spec(
        name=name,
        architecture=name.partition(".")[0],
        sampling=Sampling(frames=32, stride=stride, fps=fps),
        geometry=Geometry(size=(224, 224), short_side=short_side),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        labels=(),
        classes=CLASSES[labels],
        feature_dimension=features,
        licence=licence,
        published=Published(*scores, protocols.told(protocol), publisher),
        protocol=protocol,
        notes=notes,
    )
    return Entry(spec, "Video Swin", source, sha256=fingerprint(source), size=0, labels=labels, mark=mark)


def _authors(name: str, file: str, scores: Scores, features: int, labels: str = "kinetics400") -> Entry:
    return _swin(name, _STORAGE + file, scores, features=features, labels=labels)


_mma = partial(
    mmaction,
    family="Video Swin",
    frames=32,
    stride=2,
    size=224,
    short_side=224,
    views="4x3",
    mean=(123.675 / 255, 116.28 / 255, 103.53 / 255),
    std=(58.395 / 255, 57.12 / 255, 57.375 / 255),
)


def _mmaction(name: str, recipe: str, stamp: str, scores: Scores, features: int, labels: str = "kinetics400") -> Entry:
    return _mma(name, f"swin/{recipe}/{recipe}_{stamp}.pth", scores, features=features, labels=labels)


def _torchvision(name: str, file: str, scores: Scores, features: int) -> Entry:
    return _swin(
        name,
        f"https://download.pytorch.org/models/{file}",
        scores,
        features=features,
        mark=_TORCHVISION_MARK,
        fps=15.0,
        stride=1,
        short_side=256,
        protocol=protocols.torchvision(32, 12),
        licence="BSD-3-Clause",
        publisher="torchvision's documentation",
    )


ENTRIES = (
    _authors("swin3d-t.k400", "swin_tiny_patch244_window877_kinetics400_1k.pth", (78.8, 93.6), 768),
    _authors("swin3d-s.k400", "swin_small_patch244_window877_kinetics400_1k.pth", (80.6, 94.5), 768),
    _authors("swin3d-b.k400", "swin_base_patch244_window877_kinetics400_1k.pth", (80.6, 94.6), 1024),
    _authors("swin3d-b.k400-in22k", "swin_base_patch244_window877_kinetics400_22k.pth", (82.7, 95.5), 1024),
    _authors("swin3d-b.k600", "swin_base_patch244_window877_kinetics600_22k.pth", (84.0, 96.5), 1024, "kinetics600"),
    _swin(
        "swin3d-b.ssv2",
        _STORAGE + "swin_base_patch244_window1677_sthv2.pth",
        (69.6, 92.7),
        features=1024,
        labels="something_v2",
        fps=12.0,
        protocol=protocols.mmaction_spread(32, "1x3"),
        notes="Trained and tested on 32 frames spread evenly over the whole video.",
    ),
    _mmaction(
        "swin3d-t.k400-mmaction2",
        "swin-tiny-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930-241016b2",
        (78.90, 93.77),
        768,
    ),
    _mmaction(
        "swin3d-s.k400-mmaction2",
        "swin-small-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930-e91ab986",
        (80.54, 94.46),
        768,
    ),
    _mmaction(
        "swin3d-s.k710-mmaction2",
        "swin-small-p244-w877_in1k-pre_32xb4-amp-32x2x1-30e_kinetics710-rgb",
        "20230612-8e082ff1",
        (76.90, 92.96),
        768,
        "kinetics710",
    ),
    _mmaction(
        "swin3d-b.k400-mmaction2",
        "swin-base-p244-w877_in1k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930-182ec6cc",
        (80.57, 94.49),
        1024,
    ),
    _mmaction(
        "swin3d-l.k400-mmaction2",
        "swin-large-p244-w877_in22k-pre_8xb8-amp-32x2x1-30e_kinetics400-rgb",
        "20220930-78ad8b11",
        (83.46, 95.91),
        1536,
    ),
    _mmaction(
        "swin3d-l.k700-mmaction2",
        "swin-large-p244-w877_in22k-pre_16xb8-amp-32x2x1-30e_kinetics700-rgb",
        "20220930-f8d74db7",
        (75.92, 92.72),
        1536,
        "kinetics700",
    ),
    _torchvision("swin3d-t.k400-torchvision", "swin3d_t-7615ae03.pth", (77.715, 93.519), 768),
    _torchvision("swin3d-s.k400-torchvision", "swin3d_s-da41c237.pth", (79.521, 94.158), 768),
    _torchvision("swin3d-b.k400-torchvision", "swin3d_b_1k-24f7c7c6.pth", (79.427, 94.386), 1024),
)
