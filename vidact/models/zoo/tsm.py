"""Weights of TSM, TSN that shifts channels between the segments of a video; strides as in ``tsn.py``."""

from __future__ import annotations

from functools import partial

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import OLD, Scores, first_releases, mmaction

_test = partial(protocols.mmaction, stride=1, short_side=256, segments=True)
_of_mmaction = partial(mmaction, features=2048, size=224, family="TSM")


def _tsm(name: str, file: str, scores: Scores, *, frames: int, stride: int, labels: str = "kinetics400") -> Entry:
    """On Something-Something every segment is seen twice, in three larger crops."""
    twice = labels == "something_v2"
    test = _test(frames, views="2x3", size=256) if twice else _test(frames, views="1x10", size=224)
    return _of_mmaction(
        name,
        file,
        scores,
        frames=frames,
        stride=stride,
        labels=labels,
        protocol=test,
    )


def _old_tsm(name: str, recipe: str, stamp: str, scores: Scores, *, frames: int, stride: int, labels: str) -> Entry:
    """TSM of the releases 0.x: one centre crop."""
    return _of_mmaction(
        name,
        first_releases("tsm", recipe, stamp),
        scores,
        frames=frames,
        stride=stride,
        labels=labels,
        protocol=_test(frames, views="1x1", size=224),
        source=OLD,
    )


ENTRIES = (
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
    _old_tsm(
        "tsm-r50.ucf101-mmaction2",
        "tsm_k400_pretrained_r50_1x1x8_25e_ucf101_rgb",
        "20210630-1fae312b",
        (94.50, 99.58),
        frames=8,
        stride=27,
        labels="ucf101",
    ),
    _old_tsm(
        "tsm-r50.hmdb51-mmaction2",
        "tsm_k400_pretrained_r50_1x1x8_25e_hmdb51_rgb",
        "20210630-10c74ee5",
        (72.68, 92.03),
        frames=8,
        stride=12,
        labels="hmdb51",
    ),
    _old_tsm(
        "tsm-r50.diving48-mmaction2",
        "tsm_r50_video_1x1x8_50e_diving48_rgb",
        "20210426-aba5aa3d",
        (75.99, 97.16),
        frames=8,
        stride=20,
        labels="diving48",
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
    _old_tsm(
        "tsm-r50-16.ucf101-mmaction2",
        "tsm_k400_pretrained_r50_1x1x16_25e_ucf101_rgb",
        "20210630-8df9c358",
        (94.58, 99.37),
        frames=16,
        stride=14,
        labels="ucf101",
    ),
    _old_tsm(
        "tsm-r50-16.hmdb51-mmaction2",
        "tsm_k400_pretrained_r50_1x1x16_25e_hmdb51_rgb",
        "20210630-4785548e",
        (74.77, 93.86),
        frames=16,
        stride=6,
        labels="hmdb51",
    ),
    _old_tsm(
        "tsm-r50-16.diving48-mmaction2",
        "tsm_r50_video_1x1x16_50e_diving48_rgb",
        "20210426-aa9631c0",
        (81.62, 97.66),
        frames=16,
        stride=10,
        labels="diving48",
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
