"""Weights of the two-dimensional networks that take a few segments of a whole video: TSN and TSM.

Published segments are spread over a whole Kinetics video of ten seconds; the stride here spreads them over as much.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import Scores, mmaction
from vidact.records import Flow

_test = partial(protocols.mmaction, stride=1, short_side=256, segments=True)
_tsn = partial(mmaction, family="TSN", features=2048, size=224, protocol=_test(25, views="1x10", size=224))


def _tsm(name: str, file: str, scores: Scores, *, frames: int, stride: int, labels: str = "kinetics400") -> Entry:
    """On Something-Something every segment is seen twice, in three larger crops."""
    twice = labels == "something_v2"
    test = _test(frames, views="2x3", size=256) if twice else _test(frames, views="1x10", size=224)
    return mmaction(
        name,
        file,
        scores,
        frames=frames,
        stride=stride,
        features=2048,
        size=224,
        labels=labels,
        family="TSM",
        protocol=test,
    )


ENTRIES = (
    _tsn(
        "tsn-r50.k400-mmaction2",
        "tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb/"
        "tsn_imagenet-pretrained-r50_8xb32-1x1x8-100e_kinetics400-rgb_20220906-2692d16c.pth",
        (74.12, 91.34),
        frames=8,
        stride=37,
    ),
    _tsn(
        "tsn-r50.ssv2-mmaction2",
        "tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb/"
        "tsn_imagenet-pretrained-r50_8xb32-1x1x8-50e_sthv2-rgb_20230313-06ad7d03.pth",
        (35.51, 67.09),
        frames=8,
        stride=15,
        labels="something_v2",
    ),
    _tsn(
        "tsn-r101.k400-mmaction2",
        "tsn/tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb/"
        "tsn_imagenet-pretrained-r101_8xb32-1x1x8-100e_kinetics400-rgb_20220906-23cff032.pth",
        (75.89, 92.07),
        frames=8,
        stride=37,
    ),
    _tsn(
        "tsn-r50-flow.k400-mmaction2",
        "",
        (None, None),
        frames=3,
        stride=100,
        mean=(128 / 255,) * 10,
        std=(128 / 255,) * 10,
        flow=Flow(fields=5),
        protocol=replace(_test(25, views="1x10", size=224), rule="mmaction2-stacks", stride=5),
        notes="Optical flow, ten channels a segment: x and y of five frames. mmaction2 publishes a recipe, no file.",
    ),
    _tsm(
        "tsm-r50.k400-mmaction2",
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb/"
        "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_kinetics400-rgb_20220831-64d69186.pth",
        (73.18, 90.56),
        frames=8,
        stride=37,
    ),
    _tsm(
        "tsm-r50.ssv2-mmaction2",
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb/"
        "tsm_imagenet-pretrained-r50_8xb16-1x1x8-50e_sthv2-rgb_20230317-be0fc26e.pth",
        (62.72, 87.70),
        frames=8,
        stride=15,
        labels="something_v2",
    ),
    _tsm(
        "tsm-r50-16.k400-mmaction2",
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb/"
        "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_kinetics400-rgb_20220831-042b1748.pth",
        (75.12, 91.55),
        frames=16,
        stride=19,
    ),
    _tsm(
        "tsm-r50-16.ssv2-mmaction2",
        "tsm/tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb/"
        "tsm_imagenet-pretrained-r50_8xb16-1x1x16-50e_sthv2-rgb_20230317-ec6696ad.pth",
        (64.16, 88.61),
        frames=16,
        stride=8,
        labels="something_v2",
    ),
    mmaction(
        "tsm-mobilenetv2.k400-mmaction2",
        "",
        (None, None),
        frames=8,
        stride=37,
        features=1280,
        family="TSM",
        size=224,
        protocol=_test(8, views="1x3", size=256),
        notes="mmaction2 publishes a recipe, no file of these names.",
    ),
    _tsm(
        "tsm-r101.ssv2-mmaction2",
        "tsm/tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb/"
        "tsm_imagenet-pretrained-r101_8xb16-1x1x8-50e_sthv2-rgb_20230320-efcc0d1b.pth",
        (63.70, 88.28),
        frames=8,
        stride=15,
        labels="something_v2",
    ),
)
