"""Weights of C3D, S3D and the 3-D ResNets of 3D-ResNets-PyTorch."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES, OLD, first_releases, mmaction
from vidact.records import Geometry, Published, Sampling, Spec


def _s3d() -> Entry:
    spec = Spec(
        name="s3d.k400",
        architecture="s3d",
        sampling=Sampling(frames=64, stride=1, fps=25.0),
        geometry=Geometry(size=(224, 224), short_side=256),
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
        labels=(),
        classes=CLASSES["kinetics400"],
        feature_dimension=1024,
        licence="MIT",
        published=Published(72.1, 90.4, "not stated by the publisher", "kylemin/S3D"),
    )
    where = "S3D_kinetics400.pt, on Google Drive, linked from github.com/kylemin/S3D"
    return Entry(spec, "S3D", source="", sha256="", size=0, labels="kinetics400", where=where)


def _r3d(architecture: str, file: str, weights: str, classes: int, features: int) -> Entry:
    # The order of the classes is the authors' own, not the alphabet's; they publish no list.
    where = f"{file}, on Google Drive, linked from github.com/kenshohara/3D-ResNets-PyTorch" if file else ""
    order = "The publisher gives no list of the classes in the order of the outputs; --labels FILE names them."
    spec = Spec(
        name=f"{architecture}.{weights}",
        architecture=architecture,
        sampling=Sampling(frames=16, stride=1, fps=25.0),
        geometry=Geometry(size=(112, 112), short_side=112),
        mean=(0.4345, 0.4051, 0.3775),
        std=(0.2768, 0.2713, 0.2737),
        labels=(),
        classes=classes,
        feature_dimension=features,
        licence="MIT",
        protocol=protocols.windows(16, 112),
        notes=order if file else "The publisher's recipe; no file of it is listed.",
    )
    return Entry(spec, "3D-ResNet", source="", sha256="", size=0, where=where)


_c3d = partial(
    mmaction,
    family="C3D",
    frames=16,
    stride=1,
    features=4096,
    size=112,
    short_side=128,
    labels="ucf101",
    views="10x1",
    mean=(104 / 255, 117 / 255, 128 / 255),
    std=(1 / 255,) * 3,
)

ENTRIES = (
    _c3d(
        "c3d.ucf101-mmaction2",
        "c3d/c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb/"
        "c3d_sports1m-pretrained_8xb30-16x1x1-45e_ucf101-rgb_20220811-31723200.pth",
        (83.08, 95.93),
    ),
    _c3d(
        "c3d.ucf101-2020-mmaction2",
        first_releases("c3d", "c3d_sports1m_16x1x1_45e_ucf101_rgb", "20201021-26655025"),
        (83.27, 95.90),
        average="logits",
        source=OLD,
    ),
    _s3d(),
    _r3d("r3d-18", "r3d18_K_200ep.pth", "k700", 700, 512),
    _r3d("r3d-18", "r3d18_KM_200ep.pth", "k700-mit", 1039, 512),
    _r3d("r3d-34", "r3d34_K_200ep.pth", "k700", 700, 512),
    _r3d("r3d-34", "r3d34_KM_200ep.pth", "k700-mit", 1039, 512),
    _r3d("r3d-50", "r3d50_K_200ep.pth", "k700", 700, 2048),
    _r3d("r3d-50", "r3d50_KM_200ep.pth", "k700-mit", 1039, 2048),
    _r3d("r3d-50", "r3d50_KS_200ep.pth", "k700-stair", 800, 2048),
    _r3d("r3d-50", "r3d50_KMS_200ep.pth", "k700-mit-stair", 1139, 2048),
    _r3d("r3d-50", "r3d50_M_200ep.pth", "mit", 339, 2048),
    _r3d("r3d-50", "r3d50_MS_200ep.pth", "mit-stair", 439, 2048),
    _r3d("r3d-50", "r3d50_S_200ep.pth", "stair", 100, 2048),
    _r3d("r3d-101", "r3d101_K_200ep.pth", "k700", 700, 2048),
    _r3d("r3d-101", "r3d101_KM_200ep.pth", "k700-mit", 1039, 2048),
    _r3d("r3d-152", "r3d152_K_200ep.pth", "k700", 700, 2048),
    _r3d("r3d-152", "r3d152_KM_200ep.pth", "k700-mit", 1039, 2048),
    _r3d("r3d-200", "r3d200_K_200ep.pth", "k700", 700, 2048),
    _r3d("r3d-200", "r3d200_KM_200ep.pth", "k700-mit", 1039, 2048),
    _r3d("r3d-18-a", "", "k400", 400, 512),
    _r3d("r2p1d-18", "", "k700", 700, 512),
    _r3d("r2p1d-50", "", "k700", 700, 2048),
)
