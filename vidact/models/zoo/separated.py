"""Weights of the networks that take 3-D convolutions apart: R(2+1)D and CSN."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo.publishers import mmaction, pytorchvideo

_r21d = partial(mmaction, family="R(2+1)D", features=512)
_csn = partial(mmaction, family="CSN", frames=32, stride=2, features=2048)
_OLD = "https://download.openmmlab.com/mmaction/recognition/csn/vmz/"

ENTRIES = (
    pytorchvideo(
        "r2plus1d-r50.k400",
        "kinetics/R2PLUS1D_16x4_R50.pyth",
        (76.01, 92.23),
        frames=16,
        stride=4,
        features=2048,
        family="R(2+1)D",
    ),
    _r21d(
        "r2plus1d-r34.k400-8x8-mmaction2",
        "r2plus1d/r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb/"
        "r2plus1d_r34_8xb8-8x8x1-180e_kinetics400-rgb_20220812-47cfe041.pth",
        (69.76, 88.41),
        frames=8,
        stride=8,
    ),
    _r21d(
        "r2plus1d-r34.k400-32x2-mmaction2",
        "r2plus1d/r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb/"
        "r2plus1d_r34_8xb8-32x2x1-180e_kinetics400-rgb_20220812-4270588c.pth",
        (75.46, 92.28),
        frames=32,
        stride=2,
    ),
    pytorchvideo(
        "csn-r101.k400",
        "kinetics/CSN_32x2_R101.pyth",
        (77.00, 92.90),
        frames=32,
        stride=2,
        features=2048,
        family="CSN",
    ),
    _csn(
        "ircsn-r50.k400-mmaction2",
        "csn/ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb/"
        "ircsn_ig65m-pretrained-r50-bnfrozen_8xb12-32x2x1-58e_kinetics400-rgb_20220811-44395bae.pth",
        (79.44, 94.26),
    ),
    _csn(
        "ircsn-r152.k400-mmaction2",
        "csn/ircsn_ig65m-pretrained-r152_8xb12-32x2x1-58e_kinetics400-rgb/"
        "ircsn_ig65m-pretrained-r152_8xb12-32x2x1-58e_kinetics400-rgb_20220811-c7a3cc5b.pth",
        (82.87, 95.90),
    ),
    _csn(
        "ipcsn-r152.k400-mmaction2",
        _OLD + "vmz_ipcsn_ig65m_pretrained_r152_32x2x1_58e_kinetics400_rgb_20210617-c3be9793.pth",
        (82.68, 95.69),
    ),
)
