"""The published feature sets localizers were trained on, and the classes of their data sets where they are short."""

from __future__ import annotations

from vidact.records import Contract

_I3D = "two-stream-i3d.k400"

THUMOS_I3D = Contract("native", 16, 4, 8.0, 2048, _I3D, "kinetics400", flow=True)
ANET_I3D = Contract(25.0, 16, 16, 8.0, 2048, _I3D, "kinetics400", flow=True)
ANET_TSP = Contract(15.0, 16, 16, 8.0, 512, "R(2+1)D-34 TSP", "activitynet")
EPIC_SLOWFAST = Contract(30.0, 32, 16, 16.0, 2304, "SlowFast", "epic-kitchens100")
HACS_SLOWFAST = Contract(15.0, 32, 8, 16.0, 2304, "SlowFast-R101", "kinetics")
EGO4D_SOE = Contract(30.0, 32, 16, 16.0, 4096, "SlowFast, then Omnivore, then EgoVLP", "ego4d")
ANET_400 = Contract("native", 16, 16, 8.0, 400, "TSN (RGB then flow), 100 rows a video", "activitynet", flow=True)
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
# Where these classes stand among the 101 of UCF101, in which video-level classifiers of this set give their scores.
THUMOS_IN_UCF101 = (6, 8, 11, 20, 21, 22, 23, 25, 30, 32, 35, 39, 44, 50, 67, 78, 84, 91, 92, 96)
