"""The published feature sets localizers were trained on, and the classes of their data sets where they are short."""

from __future__ import annotations

from vidact.records import Contract

_I3D = "two-stream I3D (RGB then flow)"

THUMOS_I3D = Contract("native", 16, 4, 8.0, 2048, _I3D, "kinetics400", flow=True)
ANET_I3D = Contract(25.0, 16, 16, 8.0, 2048, _I3D, "kinetics400", flow=True)
ANET_TSP = Contract(15.0, 16, 16, 8.0, 512, "R(2+1)D-34 TSP", "activitynet")
EPIC_SLOWFAST = Contract(30.0, 32, 16, 16.0, 2304, "SlowFast", "epic-kitchens100")
HACS_SLOWFAST = Contract(15.0, 32, 8, 16.0, 2304, "SlowFast-R101", "kinetics")
EGO4D_SOE = Contract(30.0, 32, 16, 16.0, 4096, "SlowFast, then Omnivore, then EgoVLP", "ego4d")
CHARADES_I3D_RGB = Contract(24.0, 16, 8, 0.0, 1024, "I3D (RGB)", "charades")

THUMOS_CLASSES = (
    "BaseballPitch",
    "BasketballDunk",
    "Billiards",
    "CleanAndJerk",
    "CliffDiving",
    "CricketBowling",
    "CricketShot",
    "Diving",
    "FrisbeeCatch",
    "GolfSwing",
    "HammerThrow",
    "HighJump",
    "JavelinThrow",
    "LongJump",
    "PoleVault",
    "Shotput",
    "SoccerPenalty",
    "TennisSwing",
    "ThrowDiscus",
    "VolleyballSpiking",
)
