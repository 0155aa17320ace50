"""MViT and MViTv2 weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo.publishers import mmaction, pyslowfast, pytorchvideo

_V2 = "model_zoo/mvitv2/pysf_video_models/"
_ptv = partial(pytorchvideo, family="MViT", features=768, size=224, views="5x1")
_psf = partial(pyslowfast, family="MViT", features=768, size=224, views="5x1", mark=r"patch_embed\.proj\.", offset=True)
_mma = partial(
    mmaction, family="MViT", features=768, size=224, short_side=224, mean=(0.45,) * 3, std=(0.225,) * 3, views="5x1"
)

ENTRIES = (
    _ptv("mvit-b-16x4.k400", "kinetics/MVIT_B_16x4.pyth", (78.85, 93.85), frames=16, stride=4),
    _psf("mvit-b-16x4.k400-pyslowfast", "", (78.4, 93.5), frames=16, stride=4),
    _psf("mvit-b-32x3.k400-pyslowfast", "model_zoo/mvit/k400.pyth", (80.4, 94.8), frames=32, stride=3),
    _psf(
        "mvit-b-32x3.k600-pyslowfast",
        "model_zoo/mvit/k600.pyth",
        (83.9, 96.5),
        frames=32,
        stride=3,
        labels="kinetics600",
        ordered=False,
    ),
    _ptv("mvit-b-32x3.k400", "kinetics/MVIT_B_32x3_f294077834.pyth", (80.30, 94.69), frames=32, stride=3),
    _psf(
        "mvitv2-s-16x4.k400-pyslowfast",
        _V2 + "MViTv2_S_16x4_k400_f302660347.pyth",
        (81.0, 94.6),
        frames=16,
        stride=4,
    ),
    _psf(
        "mvitv2-s-16x4.ssv2-pyslowfast",
        _V2 + "MViTv2_S_16x4_ssv2_f308341823.pyth",
        (68.2, 91.4),
        frames=16,
        stride=4,
        labels="something_v2",
        views="1x3",
    ),
    _mma(
        "mvitv2-s-16x4.k400-mmaction2",
        "mvit/mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb/"
        "mvit-small-p244_32xb16-16x4x1-200e_kinetics400-rgb_20230201-23284ff3.pth",
        (80.6, 94.7),
        frames=16,
        stride=4,
    ),
    _mma(
        "mvitv2-s-16x4.k400-converted-mmaction2",
        "mvit/converted/mvit-small-p244_16x4x1_kinetics400-rgb_20221021-9ebaaeed.pth",
        (81.1, 94.7),
        frames=16,
        stride=4,
        notes="PySlowFast's weights under mmaction2's names.",
    ),
    _mma(
        "mvitv2-s-16x4.k400-maskfeat-mmaction2",
        "mvit/mvit-small-p244_k400-maskfeat-pre_8xb32-16x4x1-100e_kinetics400-rgb/"
        "mvit-small-p244_k400-maskfeat-pre_8xb32-16x4x1-100e_kinetics400-rgb_20230201-5bced1d0.pth",
        (81.8, 95.2),
        frames=16,
        stride=4,
    ),
    _psf(
        "mvitv2-b-32x3.k400-pyslowfast",
        _V2 + "MViTv2_B_32x3_k400_f304025456.pyth",
        (82.9, 95.7),
        frames=32,
        stride=3,
    ),
    _psf(
        "mvitv2-b-32x3.ssv2-pyslowfast",
        _V2 + "MViTv2_B_32x3_ssv2_f305803282.pyth",
        (70.5, 92.7),
        frames=32,
        stride=3,
        labels="something_v2",
        views="1x3",
    ),
)
