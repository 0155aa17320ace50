"""The weights that ship inside vidact: camera motion and shot transitions."""

from __future__ import annotations

from vidact.models.zoo.entry import Entry
from vidact.records import Geometry, Published, Sampling, Spec

LABELS = (
    "static",
    "pan-left",
    "pan-right",
    "tilt-up",
    "tilt-down",
    "zoom-in",
    "zoom-out",
    "roll-clockwise",
    "roll-counterclockwise",
    "shake",
    "cut",
    "fade",
)

ENTRIES = (
    Entry(
        spec=Spec(
            name="attention-r3d-10.camera-motion-1",
            architecture="attention-r3d-10",
            sampling=Sampling(frames=16, stride=1, fps=12.0),
            geometry=Geometry(size=(96, 96), resize="squash", short_side=96),
            mean=(0.5, 0.5, 0.5),
            std=(0.25, 0.25, 0.25),
            labels=LABELS,
            classes=len(LABELS),
            feature_dimension=128,
            licence="Apache-2.0",
            published=Published(
                96.1,
                None,
                "720 clips of 23 real videos with known camera paths; 95 % interval 94.3 to 97.7",
                "examples/camera_motion/README.md",
            ),
            network={
                "depth": 10,
                "width": 16,
                "attention": True,
                "reduction": 8,
                "stem": [5, 7, 7],
                "stem_stride": [1, 4, 4],
                "stem_pool": False,
            },
            notes="Camera motion and shot transitions only; it does not know human actions.",
        ),
        family="Attention-R3D",
        source="bundled:attention-r3d-10.camera-motion-1.safetensors",
        sha256="d5851c61ef5b7a99c79f36ba4749e5a47448871add7b937d95875f510485575b",
        size=3_681_424,
        tested=True,
    ),
)
