"""Weights of the single-pathway 3-D ResNets: Slow, I3D-R50 and C2D.

The first set of an architecture also says how a file of the user's own is fed.
"""

from __future__ import annotations

from functools import partial

from vidact.models.zoo.publishers import OLD, first_releases, mmaction, pyslowfast, pytorchvideo
from vidact.records import Flow

_slow_ptv = partial(pytorchvideo, family="Slow", features=2048)
_slow_psf = partial(pyslowfast, family="Slow", features=2048)
_slow_mma = partial(mmaction, family="Slow", features=2048)
_slow_old = partial(_slow_mma, frames=8, stride=4, source=OLD)
_i3d_ptv = partial(pytorchvideo, family="I3D-R50", frames=8, stride=8, features=2048)
_i3d_psf = partial(pyslowfast, family="I3D-R50", frames=8, stride=8, features=2048)
_i3d_mma = partial(mmaction, family="I3D-R50", frames=32, stride=2, features=2048)

ENTRIES = (
    _slow_ptv("slow-r50-8x8.k400", "kinetics/SLOW_8x8_R50.pyth", (74.58, 91.63), frames=8, stride=8),
    _slow_ptv(
        "slow-r50-8x8.ssv2",
        "ssv2/SLOW_8x8_R50.pyth",
        (60.04, 85.19),
        frames=8,
        stride=8,
        labels="something_v2",
        views="1x3",
    ),
    _slow_psf(
        "slow-r50-8x8.k400-pyslowfast",
        "model_zoo/kinetics400/SLOWONLY_8x8_R50.pkl",
        (74.8, 91.6),
        frames=8,
        stride=8,
    ),
    _slow_mma(
        "slow-r50-8x8.k400-mmaction2",
        "slowonly/slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb/"
        "slowonly_r50_8xb16-8x8x1-256e_kinetics400-rgb_20220901-2132fc87.pth",
        (74.82, 91.80),
        frames=8,
        stride=8,
    ),
    _slow_mma(
        "slow-r50-8x8.k600-mmaction2",
        first_releases("slowonly", "slowonly_r50_video_8x8x1_256e_kinetics600_rgb", "20201015-81e5153e"),
        (77.5, 93.7),
        frames=8,
        stride=8,
        labels="kinetics600",
        source=OLD,
    ),
    _slow_mma(
        "slow-r50-8x8.k700-mmaction2",
        "slowonly/slowonly_imagenet-pretrained-r50_8xb16-8x8x1-steplr-150e_kinetics700-rgb/"
        "slowonly_imagenet-pretrained-r50_16xb16-8x8x1-steplr-150e_kinetics700-rgb_20220901-4098e1eb.pth",
        (66.93, 87.47),
        frames=8,
        stride=8,
        labels="kinetics700",
    ),
    _slow_mma(
        "slow-r50-8x8.k710-mmaction2",
        "slowonly/slowonly_imagenet-pretrained-r50_32xb8-8x8x1-steplr-150e_kinetics710-rgb/"
        "slowonly_imagenet-pretrained-r50_32xb8-8x8x1-steplr-150e_kinetics710-rgb_20230612-12ce977c.pth",
        (72.39, 90.60),
        frames=8,
        stride=8,
        labels="kinetics710",
    ),
    _slow_old(
        "slow-r50-8x4.ucf101-mmaction2",
        first_releases("slowonly", "slowonly_k400_pretrained_r50_8x4x1_40e_ucf101_rgb", "20210630-ee8c850f"),
        (92.78, 99.42),
        labels="ucf101",
    ),
    _slow_old(
        "slow-r50-8x4.ucf101-imagenet-mmaction2",
        first_releases("slowonly", "slowonly_imagenet_pretrained_r50_8x4x1_64e_ucf101_rgb", "20210630-181e1661"),
        (71.35, 89.35),
        labels="ucf101",
    ),
    _slow_old(
        "slow-r50-8x4.hmdb51-mmaction2",
        first_releases("slowonly", "slowonly_k400_pretrained_r50_8x4x1_40e_hmdb51_rgb", "20210630-cee5f725"),
        (65.95, 91.05),
        labels="hmdb51",
    ),
    _slow_old(
        "slow-r50-8x4.hmdb51-imagenet-mmaction2",
        first_releases("slowonly", "slowonly_imagenet_pretrained_r50_8x4x1_64e_hmdb51_rgb", "20210630-16faeb6a"),
        (37.52, 71.50),
        labels="hmdb51",
    ),
    _slow_ptv("slow-r50-4x16.k400", "kinetics/SLOW_4x16_R50.pyth", (72.40, 90.18), frames=4, stride=16),
    _slow_psf(
        "slow-r50-4x16.k400-pyslowfast",
        "model_zoo/kinetics400/SLOWONLY_4x16_R50.pkl",
        (72.7, 90.3),
        frames=4,
        stride=16,
    ),
    _slow_mma(
        "slow-r50-4x16.k400-mmaction2",
        "slowonly/slowonly_r50_8xb16-4x16x1-256e_kinetics400-rgb/"
        "slowonly_r50_4x16x1_256e_8xb16_kinetics400-rgb_20220901-f6a40d08.pth",
        (72.68, 90.68),
        frames=4,
        stride=16,
    ),
    _slow_mma(
        "slow-r50-4x16.k700-mmaction2",
        "slowonly/slowonly_imagenet-pretrained-r50_8xb16-4x16x1-steplr-150e_kinetics700-rgb/"
        "slowonly_imagenet-pretrained-r50_16xb16-4x16x1-steplr-150e_kinetics700-rgb_20220901-f73b3e89.pth",
        (65.18, 86.05),
        frames=4,
        stride=16,
        labels="kinetics700",
    ),
    _slow_mma(
        "slow-r101-8x8.k400-mmaction2",
        "slowonly/slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb/"
        "slowonly_r101_8xb16-8x8x1-196e_kinetics400-rgb_20220901-e6281431.pth",
        (76.28, 92.70),
        frames=8,
        stride=8,
    ),
    _slow_mma(
        "slow-r50-flow.k400-mmaction2",
        "",
        (None, None),
        frames=16,
        stride=4,
        mean=(128 / 255, 128 / 255),
        std=(128 / 255, 128 / 255),
        flow=Flow(),
        notes="Optical flow, two channels. mmaction2 publishes a recipe, no file.",
    ),
    _i3d_ptv("i3d-r50.k400", "kinetics/I3D_8x8_R50.pyth", (73.27, 90.70)),
    _i3d_psf("i3d-r50.k400-pyslowfast", "model_zoo/kinetics400/I3D_8x8_R50.pkl", (73.5, 90.8)),
    _i3d_mma(
        "i3d-r50.k400-mmaction2",
        "i3d/i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb/"
        "i3d_imagenet-pretrained-r50_8xb8-32x2x1-100e_kinetics400-rgb_20220812-e213c223.pth",
        (73.47, 91.27),
    ),
    _i3d_psf("i3d-nln-r50.k400-pyslowfast", "model_zoo/kinetics400/I3D_NLN_8x8_R50.pkl", (74.0, 91.1)),
    pytorchvideo(
        "c2d-r50.k400",
        "kinetics/C2D_8x8_R50.pyth",
        (71.46, 89.68),
        frames=8,
        stride=8,
        features=2048,
        family="C2D",
    ),
)
