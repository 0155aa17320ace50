"""SlowFast weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo.publishers import mmaction, pyslowfast, pytorchvideo

_ptv = partial(pytorchvideo, family="SlowFast", stride=2, features=2304)
_psf = partial(pyslowfast, family="SlowFast", stride=2, features=2304)
_mma = partial(mmaction, family="SlowFast", frames=32, stride=2, features=2304)
_MULTIGRID = "pyslowfast/model_zoo/multigrid/model_zoo/"

ENTRIES = (
    _ptv("slowfast-r50-8x8.k400", "kinetics/SLOWFAST_8x8_R50.pyth", (76.94, 92.69), frames=32),
    _ptv(
        "slowfast-r50-8x8.ssv2",
        "ssv2/SLOWFAST_8x8_R50.pyth",
        (61.68, 86.92),
        frames=32,
        labels="something_v2",
        views="1x3",
    ),
    _psf("slowfast-r50-8x8.k400-pyslowfast", "model_zoo/kinetics400/SLOWFAST_8x8_R50.pkl", (77.0, 92.6), frames=32),
    _psf(
        "slowfast-r50-8x8.k400-stepwise-pyslowfast",
        _MULTIGRID + "Kinetics/SLOWFAST_8x8_R50_stepwise.pkl",
        (76.8, 92.7),
        frames=32,
    ),
    _psf(
        "slowfast-r50-8x8.k400-multigrid-pyslowfast",
        _MULTIGRID + "Kinetics/SLOWFAST_8x8_R50_stepwise_multigrid.pkl",
        (76.6, 92.7),
        frames=32,
    ),
    _mma(
        "slowfast-r50-8x8.k400-mmaction2",
        "slowfast/slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb/"
        "slowfast_r50_8xb8-8x8x1-256e_kinetics400-rgb_20220818-1cb6dfc8.pth",
        (76.80, 92.99),
    ),
    _ptv("slowfast-r50-4x16.k400", "kinetics/SLOWFAST_4x16_R50.pyth", (75.34, 91.89), frames=32),
    _psf("slowfast-r50-4x16.k400-pyslowfast", "model_zoo/kinetics400/SLOWFAST_4x16_R50.pkl", (75.6, 92.0), frames=32),
    _mma(
        "slowfast-r50-4x16.k400-mmaction2",
        "slowfast/slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb/"
        "slowfast_r50_8xb8-4x16x1-256e_kinetics400-rgb_20220901-701b0f6f.pth",
        (75.55, 92.35),
    ),
    _psf(
        "slowfast-r50-16x8.ssv2-pyslowfast",
        _MULTIGRID + "SSv2/SLOWFAST_16x8_R50.pkl",
        (63.0, 88.5),
        frames=64,
        labels="something_v2",
        views="1x3",
    ),
    _psf(
        "slowfast-r50-16x8.ssv2-multigrid-pyslowfast",
        _MULTIGRID + "SSv2/SLOWFAST_16x8_R50_multigrid.pkl",
        (63.5, 88.7),
        frames=64,
        labels="something_v2",
        views="1x3",
    ),
    _ptv("slowfast-r101-8x8.k400", "kinetics/SLOWFAST_8x8_R101.pyth", (77.90, 93.27), frames=32),
    _mma(
        "slowfast-r101-8x8.k400-mmaction2",
        "slowfast/slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb/"
        "slowfast_r101_8xb8-8x8x1-256e_kinetics400-rgb_20220901-9c0e09bd.pth",
        (78.65, 93.88),
    ),
    _ptv("slowfast-r101-16x8.k400", "kinetics/SLOWFAST_16x8_R101_50_50.pyth", (78.70, 93.61), frames=64),
)
