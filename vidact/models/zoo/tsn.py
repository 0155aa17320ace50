"""Weights of TSN, the two-dimensional network that takes a few segments of a whole video.

Published segments are spread over a whole video, and the stride here spreads them over as much as one usually has: ten
seconds of Kinetics, seven of UCF-101, five of Diving-48, three of HMDB-51.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import OLD, Scores, first_releases, mmaction
from vidact.records import Flow

_test = partial(protocols.mmaction, stride=1, short_side=256, segments=True)
# TSN's head averages segments and crops alike before it classifies them.
_tsn = partial(
    mmaction, family="TSN", features=2048, size=224, average="logits", protocol=_test(25, views="1x10", size=224)
)


def _old_tsn(
    name: str,
    recipe: str,
    stamp: str,
    scores: Scores,
    *,
    frames: int = 8,
    stride: int,
    labels: str,
    segments: int,
    views: str,
    size: int,
) -> Entry:
    """TSN of the releases 0.x; ``segments`` are those of the test, ``frames`` those of the training."""
    return _tsn(
        name,
        first_releases("tsn", recipe, stamp),
        scores,
        frames=frames,
        stride=stride,
        labels=labels,
        protocol=_test(segments, views=views, size=size),
        source=OLD,
    )


_hmdb = partial(_old_tsn, stride=12, labels="hmdb51", segments=8, views="1x1", size=256)
_diving = partial(_old_tsn, labels="diving48", views="1x1", size=224)
_kinetics = partial(_old_tsn, stride=37, segments=25, views="1x3", size=256)

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
        "tsn-r50.ssv2-16-mmaction2",
        "tsn/tsn_imagenet-pretrained-r50_8xb32-1x1x16-50e_sthv2-rgb/"
        "tsn_imagenet-pretrained-r50_8xb32-1x1x16-50e_sthv2-rgb_20230221-85bcc1c3.pth",
        (36.91, 68.77),
        frames=16,
        stride=8,
        labels="something_v2",
    ),
    _kinetics(
        "tsn-r50.k600-mmaction2",
        "tsn_r50_video_1x1x8_100e_kinetics600_rgb",
        "20201015-4db3c461",
        (74.8, 92.3),
        labels="kinetics600",
    ),
    _kinetics(
        "tsn-r50.k700-mmaction2",
        "tsn_r50_video_1x1x8_100e_kinetics700_rgb",
        "20201015-e381a6c7",
        (61.7, 83.6),
        labels="kinetics700",
    ),
    _old_tsn(
        "tsn-r50.ucf101-mmaction2",
        "tsn_r50_1x1x3_75e_ucf101_rgb",
        "20201023-d85ab600",
        (83.03, 96.78),
        frames=3,
        stride=72,
        labels="ucf101",
        segments=25,
        views="1x3",
        size=256,
    ),
    _hmdb(
        "tsn-r50.hmdb51-mmaction2",
        "tsn_r50_1x1x8_50e_hmdb51_kinetics400_rgb",
        "20201123-7f84701b",
        (56.08, 84.31),
    ),
    _hmdb(
        "tsn-r50.hmdb51-mit-mmaction2",
        "tsn_r50_1x1x8_50e_hmdb51_mit_rgb",
        "20201123-01526d41",
        (54.25, 83.86),
    ),
    _hmdb(
        "tsn-r50.hmdb51-imagenet-mmaction2",
        "tsn_r50_1x1x8_50e_hmdb51_imagenet_rgb",
        "20201123-ce6c27ed",
        (48.95, 80.19),
    ),
    _diving(
        "tsn-r50.diving48-mmaction2",
        "tsn_r50_video_1x1x8_100e_diving48_rgb",
        "20210426-6dde0185",
        (71.27, 95.74),
        stride=20,
        segments=8,
    ),
    _diving(
        "tsn-r50.diving48-16-mmaction2",
        "tsn_r50_video_1x1x16_100e_diving48_rgb",
        "20210426-63c5f2f7",
        (76.75, 96.95),
        frames=16,
        stride=10,
        segments=16,
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
)
