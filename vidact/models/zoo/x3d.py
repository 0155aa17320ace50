"""X3D weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo.publishers import mmaction, pyslowfast, pytorchvideo

_ptv = partial(pytorchvideo, family="X3D", features=2048)
_psf = partial(pyslowfast, family="X3D", features=2048)
_mma = partial(
    mmaction,
    family="X3D",
    features=2048,
    convert=True,
    mean=(114.75 / 255,) * 3,
    std=(57.38 / 255,) * 3,
    notes="PySlowFast's weights under mmaction2's names.",
)

ENTRIES = (
    _ptv("x3d-xs.k400", "kinetics/X3D_XS.pyth", (69.12, 88.63), frames=4, stride=12, size=182),
    _psf("x3d-xs.k400-pyslowfast", "x3d_models/x3d_xs.pyth", (69.5, None), frames=4, stride=12, size=182),
    _ptv("x3d-s.k400", "kinetics/X3D_S.pyth", (73.33, 91.27), frames=13, stride=6, size=182),
    _psf("x3d-s.k400-pyslowfast", "x3d_models/x3d_s.pyth", (73.5, None), frames=13, stride=6, size=182),
    _mma(
        "x3d-s.k400-mmaction2",
        "x3d/facebook/x3d_s_13x6x1_facebook-kinetics400-rgb_20201027-623825a0.pth",
        (73.3, None),
        frames=13,
        stride=6,
        size=182,
        short_side=182,
    ),
    _ptv("x3d-m.k400", "kinetics/X3D_M.pyth", (75.94, 92.72), frames=16, stride=5),
    _psf("x3d-m.k400-pyslowfast", "x3d_models/x3d_m.pyth", (76.2, None), frames=16, stride=5),
    _mma(
        "x3d-m.k400-mmaction2",
        "x3d/facebook/x3d_m_16x5x1_facebook-kinetics400-rgb_20201027-3f42382a.pth",
        (76.4, None),
        frames=16,
        stride=5,
    ),
    _ptv("x3d-l.k400", "kinetics/X3D_L.pyth", (77.44, 93.31), frames=16, stride=5, size=356),
    _psf("x3d-l.k400-pyslowfast", "x3d_models/x3d_l.pyth", (77.5, None), frames=16, stride=5, size=356),
)
