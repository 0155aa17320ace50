"""Which module builds which architecture: a table, so that names can be listed without importing torch."""

from __future__ import annotations

_RECOGNITION = "vidact.models.recognition."

# A module offers from_state(architecture, state, options) → (network, state under its own keys).
NETWORKS: dict[str, str] = {
    architecture: _RECOGNITION + module
    for module, architectures in {
        "attention_r3d": tuple(
            f"{family}-{depth}" for family in ("attention-r3d", "r3d-plain") for depth in (10, 18, 34, 50)
        ),
        "i3d": ("i3d", "i3d-flow"),
        "resnet3d": (
            "slow-r50-8x8",
            "slow-r50-8x4",
            "slow-r50-4x16",
            "slow-r50-flow",
            "slow-r101-8x8",
            "i3d-r50",
            "i3d-nln-r50",
            "c2d-r50",
        ),
        "slowfast": (
            "slowfast-r50-4x16",
            "slowfast-r50-8x8",
            "slowfast-r50-16x8",
            "slowfast-r101-8x8",
            "slowfast-r101-16x8",
        ),
        "r2plus1d": ("r2plus1d-r34", "r2plus1d-r50"),
        "csn": ("csn-r101", "ircsn-r50", "ircsn-r152", "ipcsn-r152"),
        "x3d": ("x3d-xs", "x3d-s", "x3d-m", "x3d-l"),
        "mvit": ("mvit-b-16x4", "mvit-b-32x3", "mvitv2-s-16x4", "mvitv2-b-32x3"),
        "videomae": (
            "videomae-s16",
            "videomae-b16",
            "videomae-l16",
            "videomae-h16",
            "videomae2-s16",
            "videomae2-b16",
            "videomae2-g14",
        ),
        "timesformer": ("timesformer-b16", "timesformer-b16-joint", "timesformer-b16-space"),
        "swin": ("swin3d-t", "swin3d-s", "swin3d-b", "swin3d-l"),
        "shots_r3d": ("shots-r3d-10",),
        "vivit": ("vivit-b16x2",),
        "vjepa2": ("vjepa2-l16", "vjepa2-g16"),
        "resnet2d": ("tsn-r50", "tsn-r101", "tsn-r50-flow", "tsm-r50", "tsm-r50-16", "tsm-r101"),
        "mobilenet2d": ("tsm-mobilenetv2",),
        "c3d": ("c3d",),
        "s3d": ("s3d",),
        "r3d": (
            "r3d-18",
            "r3d-34",
            "r3d-50",
            "r3d-101",
            "r3d-152",
            "r3d-200",
            "r3d-18-a",
            "r2p1d-18",
            "r2p1d-50",
        ),
    }.items()
    for architecture in architectures
}
