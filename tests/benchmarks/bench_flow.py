"""TV-L1 beside OpenCV's: CPU time of one thread for pairs of 340 x 256 pixels, turn and turn about.

    python tests/benchmarks/bench_flow.py [ROUNDS]

The pictures are those of the record in tests/golden/pipelines. × real time is for a field between all frames at 25 a
second. OpenCV's column needs opencv-contrib-python-headless.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from vidact.video.flow import tvl1

PICTURES = Path(__file__).resolve().parents[1] / "golden" / "pipelines" / "tvl1_grey__mm_demo_mp4.npz"


def opencv() -> Callable[[np.ndarray, np.ndarray], Any] | None:
    """OpenCV's own, on one thread; None where it is not installed."""
    try:
        import cv2

        method = cv2.optflow.DualTVL1OpticalFlow_create()
    except (ImportError, AttributeError):
        return None
    cv2.setNumThreads(1)
    return lambda first, second: method.calc(first, second, None)


def ours(first: np.ndarray, second: np.ndarray) -> Any:
    return tvl1(torch.from_numpy(first)[None], torch.from_numpy(second)[None])


def main(rounds: int) -> None:
    torch.set_num_threads(1)
    with np.load(PICTURES) as file:
        pictures = file["grey"]
    methods = {"vidact": ours, "OpenCV": opencv()}
    seconds: dict[str, list[float]] = {name: [] for name, method in methods.items() if method is not None}
    for turn in range(rounds + 1):
        for name in seconds:
            for pair in range(len(pictures) - 1):
                began = time.process_time()
                methods[name](pictures[pair], pictures[pair + 1])  # type: ignore[misc]
                if turn:  # the first warms up
                    seconds[name].append(time.process_time() - began)
    for name, spent in seconds.items():
        print(f"{name:8} {1000 * median(spent):6.0f} ms a pair, {1 / (25 * median(spent)):.3f} x real time")
    if "OpenCV" in seconds:
        print(f"ratio    {median(seconds['OpenCV']) / median(seconds['vidact']):6.2f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
