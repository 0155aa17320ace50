"""ViViT weights. The first set of an architecture also says how a file of the user's own is fed."""

from __future__ import annotations

from vidact.models.zoo import protocols
from vidact.models.zoo.entry import Entry
from vidact.models.zoo.publishers import CLASSES
from vidact.records import Geometry, Published, Sampling, Spec

ENTRIES = (
    Entry(
        spec=Spec(
            name="vivit-b16x2.k400",
            architecture="vivit-b16x2",
            sampling=Sampling(frames=32, stride=2, fps=30.0),
            geometry=Geometry(size=(224, 224), short_side=256),
            # The hub's image processor first brings pixels to -1..1 and then takes 0.5 off and doubles them: -3..1.
            mean=(0.75, 0.75, 0.75),
            std=(0.25, 0.25, 0.25),
            labels=(),
            classes=CLASSES["kinetics400"],
            feature_dimension=768,
            licence="Apache-2.0 (code; weights not checked)",
            published=Published(
                79.9, None, "4x3 views of 224x224", "scenic's ViViT model zoo, the original checkpoint"
            ),
            protocol=protocols.hub_ends(32, short_side=256),
            notes="Pixels as the classes of transformers prepare them; which range the training used is not verified.",
        ),
        family="ViViT",
        source="hub:google/vivit-b-16x2-kinetics400/pytorch_model.bin",
        sha256="",
        size=0,
        labels="kinetics400",
        mark=r"vivit\.embeddings\.",
    ),
)
