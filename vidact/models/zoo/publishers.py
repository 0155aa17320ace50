"""What all weights of one publisher have in common: normalisation, licence, protocol. One function a publisher.

Sizes are those of the published test; ``file`` is the end of the address the weights lie at.
"""

from __future__ import annotations

import re
from typing import Literal

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.records import Flow, Geometry, Protocol, Published, Sampling, Spec

# The names stand in the assets; those of Diving-48 are its vocabulary as mmaction2 lists it (Apache-2.0).
CLASSES = {
    "kinetics400": 400,
    "kinetics600": 600,
    "kinetics700": 700,
    "kinetics710": 710,
    "something_v2": 174,
    "ucf101": 101,
    "hmdb51": 51,
    "diving48": 48,
}
Scores = tuple[float | None, float | None]
"""Published top-1 and top-5 in percent."""
_PYTORCHVIDEO_MARK = r"(^|\.)blocks\.\d+\."
_MMACTION_MARK = r"(backbone|cls_head)\."

_GREY_MEAN, _GREY_STD = (0.45, 0.45, 0.45), (0.225, 0.225, 0.225)
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


OLD = "mmaction2 model zoo, releases 0.x"
"""What mmaction2 published before its release 1.0 and lists no longer; of UCF-101 and HMDB-51 scores are of split 1."""
UNORDERED = "The order of its classes is not published, so they have no names; --labels FILE gives them."


def fingerprint(file: str) -> str:
    """The first digits of a file's SHA-256, where its publisher ends names with them (mmaction2, torchvision)."""
    found = re.search(r"-([0-9a-f]{8})\.pth$", file)
    return found[1] if found else ""


def first_releases(family: str, recipe: str, stamp: str) -> str:
    """Where a file of mmaction2's releases 0.x lies; ``stamp`` is its date and fingerprint."""
    return f"https://download.openmmlab.com/mmaction/recognition/{family}/{recipe}/{recipe}_{stamp}.pth"


def architecture(name: str) -> str:
    """The part of a weight set's name before the dot."""
    return name.partition(".")[0]


def pytorchvideo(
    name: str,
    file: str,
    scores: Scores,
    *,
    frames: int,
    stride: int,
    features: int,
    size: int = 256,
    labels: str = "kinetics400",
    views: str = "10x3",
    family: str,
) -> Entry:
    """Weights of pytorchvideo's model zoo (``.pyth``)."""
    protocol = protocols.pytorchvideo(frames, stride, views, size=size, frame_folders=labels == "something_v2")
    spec = Spec(
        name=name,
        architecture=architecture(name),
        sampling=Sampling(frames=frames, stride=stride, fps=30.0),
        geometry=Geometry(size=(size, size), short_side=size),
        mean=_GREY_MEAN,
        std=_GREY_STD,
        labels=(),
        classes=CLASSES[labels],
        feature_dimension=features,
        licence="Apache-2.0",
        published=Published(*scores, protocols.told(protocol), "pytorchvideo model zoo"),
        protocol=protocol,
    )
    source = f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/{file}"
    return Entry(spec, family, source, sha256="", size=0, labels=labels, mark=_PYTORCHVIDEO_MARK)


def pyslowfast(
    name: str,
    file: str,
    scores: Scores,
    *,
    frames: int,
    stride: int,
    features: int,
    size: int = 256,
    labels: str = "kinetics400",
    views: str = "10x3",
    family: str,
    mark: str = r"s1\.pathway0_stem\.",
    offset: bool = False,
    ordered: bool = True,
) -> Entry:
    """Weights of PySlowFast's model zoo; its first ``.pkl`` files are Caffe2's and have to be converted.

    ``offset`` as in ``protocols.pyslowfast``; ``ordered``: the order of the classes is known. Without ``file`` it is
    one on Google Drive.
    """
    caffe2 = file.startswith("model_zoo/kinetics400/") and file.endswith(".pkl")
    folders = labels == "something_v2"
    protocol = protocols.pyslowfast(frames, stride, views, size=size, offset=offset, frame_folders=folders)
    spec = Spec(
        name=name,
        architecture=architecture(name),
        sampling=Sampling(frames=frames, stride=stride, fps=30.0),
        geometry=Geometry(size=(size, size), short_side=size),
        mean=_GREY_MEAN,
        std=_GREY_STD,
        labels=(),
        classes=CLASSES[labels],
        feature_dimension=features,
        licence="Apache-2.0",
        published=Published(*scores, protocols.told(protocol), "PySlowFast model zoo"),
        protocol=protocol,
        notes="A Caffe2 file: `vidact models convert` makes it usable." if caffe2 else "" if ordered else UNORDERED,
    )
    source = f"https://dl.fbaipublicfiles.com/pyslowfast/{file}" if file else ""
    where = "" if file else "on Google Drive, linked from MODEL_ZOO.md of github.com/facebookresearch/SlowFast"
    named = labels if ordered else ""
    return Entry(spec, family, source, sha256="", size=0, labels=named, mark=mark, where=where)


def mmaction(
    name: str,
    file: str,
    scores: Scores,
    *,
    frames: int,
    stride: int,
    features: int,
    size: int = 256,
    short_side: int = 256,
    labels: str = "kinetics400",
    views: str = "10x3",
    family: str,
    mean: tuple[float, ...] = _IMAGENET_MEAN,
    std: tuple[float, ...] = _IMAGENET_STD,
    flow: Flow | None = None,
    notes: str = "",
    protocol: Protocol | None = None,
    convert: bool = False,
    average: Literal["scores", "logits"] = "scores",
    source: str = "mmaction2 model zoo",
) -> Entry:
    """Weights of mmaction2's model zoo (``.pth``). ``views`` and ``convert`` say the protocol, unless it is given."""
    if protocol is None:
        protocol = protocols.mmaction(frames, stride, views, short_side=short_side, size=size, convert=convert)
    spec = Spec(
        name=name,
        architecture=architecture(name),
        sampling=Sampling(frames=frames, stride=stride, fps=30.0),
        geometry=Geometry(size=(size, size), short_side=short_side),
        labels=(),
        classes=CLASSES[labels],
        feature_dimension=features,
        licence="Apache-2.0",
        average=average,
        published=Published(*scores, protocols.told(protocol), source),
        protocol=protocol,
        mean=mean,
        std=std,
        flow=flow,
        notes=notes,
    )
    whole = not file or file.startswith("https://")
    address = file if whole else f"https://download.openmmlab.com/mmaction/v1.0/recognition/{file}"
    return Entry(spec, family, address, sha256=fingerprint(address), size=0, labels=labels, mark=_MMACTION_MARK)
