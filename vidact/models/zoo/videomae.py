"""VideoMAE and VideoMAE V2 weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES, UNORDERED, Scores, mmaction
from vidact.records import Geometry, Published, Sampling, Spec

_HUB_MARK = r"videomae\.embeddings\."
_ORIGINAL_MARK = r"patch_embed\.proj\."
_PIPELINE = (
    "Its protocol is the one clip of the hub's pipeline; the authors', with 5x3 views, is in sets called -original."
)
_DRIVE = "on Google Drive, linked from MODEL_ZOO.md of github.com/MCG-NJU/VideoMAE"


def _entry(
    name: str,
    source: str,
    scores: Scores | None,
    *,
    features: int,
    mark: str,
    labels: str = "kinetics400",
    stride: int = 4,
    views: str = "5x3",
    where: str = "",
    ordered: bool = True,
) -> Entry:
    """``ordered``: the order of the classes is known."""
    family = "VideoMAE V2" if name.startswith("videomae2") else "VideoMAE"
    protocol = protocols.videomae(stride, views, segments=labels == "something_v2")
    if mark == _HUB_MARK:
        protocol = protocols.hub_pipeline(stride)
    spec = Spec(
        name=name,
        architecture=name.partition(".")[0],
        sampling=Sampling(frames=16, stride=stride, fps=30.0),
        geometry=Geometry(size=(224, 224), short_side=224),
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
        labels=(),
        classes=CLASSES[labels.partition("_videomaev2")[0]],
        feature_dimension=features,
        # The second version's repository is MIT; what holds for its weight files was not found out.
        licence="MIT (code; weights not checked)" if family == "VideoMAE V2" else "CC-BY-NC-4.0",
        published=None if scores is None else Published(*scores, protocols.told(protocol), f"{family} model zoo"),
        protocol=protocol,
        notes=_PIPELINE if mark == _HUB_MARK else "" if ordered else UNORDERED,
    )
    named = labels if ordered else ""
    return Entry(spec, family, source, sha256="", size=0, labels=named, mark=mark, where=where)


def _hub(name: str, repository: str, features: int, *, labels: str = "kinetics400", stride: int = 4) -> Entry:
    """``--protocol paper`` is the hub's own pipeline here: the format of a file decides whose rules hold."""
    source = f"hub:MCG-NJU/{repository}/model.safetensors"
    return _entry(name, source, None, features=features, mark=_HUB_MARK, labels=labels, stride=stride)


def _second(name: str, file: str, top1: float, features: int, *, labels: str = "kinetics710_videomaev2") -> Entry:
    source = f"https://huggingface.co/OpenGVLab/VideoMAE2/resolve/main/distill/{file}" if file else ""
    where = "" if file else "the authors give it to those who ask with the form at github.com/OpenGVLab/VideoMAEv2"
    return _entry(
        name,
        source,
        (top1, None),
        features=features,
        mark=_ORIGINAL_MARK,
        labels=labels,
        where=where,
    )


ENTRIES = (
    _hub("videomae-s16.k400", "videomae-small-finetuned-kinetics", 384),
    _hub("videomae-b16.k400", "videomae-base-finetuned-kinetics", 768),
    _hub("videomae-l16.k400", "videomae-large-finetuned-kinetics", 1024),
    _hub("videomae-h16.k400", "videomae-huge-finetuned-kinetics", 1280),
    _hub("videomae-b16.ssv2", "videomae-base-finetuned-ssv2", 768, labels="something_v2", stride=2),
    _entry(
        "videomae-s16.k400-original",
        "",
        (79.0, 93.8),
        features=384,
        mark=_ORIGINAL_MARK,
        where=_DRIVE,
    ),
    _entry(
        "videomae-s16.ssv2-original",
        "",
        (66.8, 90.3),
        features=384,
        mark=_ORIGINAL_MARK,
        labels="something_v2",
        stride=2,
        views="2x3",
        where=_DRIVE,
    ),
    _entry(
        "videomae-b16.k400-original",
        "",
        (81.5, 95.1),
        features=768,
        mark=_ORIGINAL_MARK,
        where=_DRIVE,
    ),
    _entry(
        "videomae-b16.k400-800-original",
        "",
        (80.0, 94.4),
        features=768,
        mark=_ORIGINAL_MARK,
        where=_DRIVE,
    ),
    _entry(
        "videomae-b16.ssv2-original",
        "",
        (70.8, 92.4),
        features=768,
        mark=_ORIGINAL_MARK,
        labels="something_v2",
        stride=2,
        views="2x3",
        where=_DRIVE,
    ),
    _entry(
        "videomae-b16.ucf101-original",
        "",
        (91.3, 98.5),
        features=768,
        mark=_ORIGINAL_MARK,
        labels="ucf101",
        where=_DRIVE,
        ordered=False,
    ),
    mmaction(
        "videomae-b16.k400-mmaction2",
        "videomae/vit-base-p16_videomae-k400-pre_16x4x1_kinetics-400_20221013-860a3cd3.pth",
        (81.3, 95.0),
        frames=16,
        stride=4,
        features=768,
        size=224,
        short_side=224,
        views="5x3",
        family="VideoMAE",
    ),
    _second("videomae2-s16.k710", "vit_s_k710_dl_from_giant.pth", 77.6, 384),
    _second("videomae2-b16.k710", "vit_b_k710_dl_from_giant.pth", 81.5, 768),
    _second("videomae2-g14.k710", "", 83.8, 1408),
    _second("videomae2-g14.k400", "", 88.4, 1408, labels="kinetics400"),
)
