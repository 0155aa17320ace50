"""The weights that ship inside vidact: camera motion and shot transitions, of clips and of whole videos."""

from __future__ import annotations

from dataclasses import replace

from vidact.models.localization.settings import Instants, Settings, Suppression
from vidact.models.zoo.entry import Entry, LocalizerEntry
from vidact.records import Contract, Geometry, LocalizerSpec, Published, Sampling, Spec

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

_MOTION = Spec(
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
)
_SHOTS = replace(
    _MOTION,
    name="shots-r3d-10.camera-motion-1",
    architecture="shots-r3d-10",
    sampling=Sampling(frames=32, stride=1, fps=24.0),
    feature_dimension=198,
    published=None,
    network={"trunk": _MOTION.network, "frames": 32},
    notes="The features of actionformer.camera-motion-1: those of attention-r3d-10.camera-motion-1, whose scores it "
    "gives, and for each frame how much it looks like a cut or a fade.",
)

ENTRIES = (
    Entry(
        spec=_MOTION,
        family="Attention-R3D",
        source="bundled:attention-r3d-10.camera-motion-1.safetensors",
        sha256="d5851c61ef5b7a99c79f36ba4749e5a47448871add7b937d95875f510485575b",
        size=3_681_424,
        tested=True,
    ),
    Entry(
        spec=_SHOTS,
        family="Shots-R3D",
        source="bundled:shots-r3d-10.camera-motion-1.safetensors",
        sha256="2e813d6e3703023a7bbb75aa4b7e5a7e8114d3efe80411d191dfe9b8d99c85b6",
        size=3_828_592,
        tested=True,
    ),
)

CUTS = Instants(label=LABELS.index("cut") - 1, column=128, frames=32, within=0.25, half=0.5)
"""Where the features tell cuts by the frame: behind the trunk's numbers stand the branch's logits of a new shot."""

LOCALIZERS = (
    LocalizerEntry(
        spec=LocalizerSpec(
            name="actionformer.camera-motion-1",
            architecture="actionformer",
            contract=Contract(
                fps=24.0,
                window=32,
                stride=8,
                offset=16.0,
                dimension=198,
                backbone=_SHOTS.name,
                weights=f"sha256:{ENTRIES[1].sha256}",
                normalisation="mean 0.5 0.5 0.5 std 0.25 0.25 0.25",
                crop="96x96, squashed",
            ),
            classes=11,
            labels=LABELS[1:],
            licence="Apache-2.0",
            network={"heads": 4, "window": 9, "codes": 0},
            settings={
                "vidact": Settings(
                    384, threshold=0.05, nms=Suppression(sigma=0.5, min_score=0.05), instants=CUTS
                ).to_json()
            },
            min_score=0.3,
            notes="Moves of the camera, cuts and fades; a cut is the middle of its segment. It knows no human actions.",
        ),
        family="ActionFormer",
        source="bundled:actionformer.camera-motion-1.safetensors",
        sha256="6db867f7d10652da2a1b78c2978937d4a04b5a997e4682c6a97d2545cf923460",
        size=4_006_004,
        tested=True,
    ),
)
