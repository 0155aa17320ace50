"""Whether test videos and training sources share pictures: perceptual hashes of their frames, compared.

    python examples/camera_motion/overlap.py --videos DIR --train-sources DIR

Prints every test video that has a frame within ``--distance`` bits (of 64) of a training picture or frame.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from sources import PICTURES, VIDEOS

Frame = NDArray[np.uint8]
FEW_DETAILS = 6.0


def fingerprint(frame: Frame) -> int | None:
    """64 bits: which of the 8 x 8 lowest waves of the grey picture lie above their median; None for a plain picture."""
    grey = cv2.cvtColor(cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    if grey.std() < FEW_DETAILS:
        return None
    waves = cv2.dct(grey.astype(np.float32))[:8, :8].ravel()
    return int.from_bytes(np.packbits(waves > np.median(waves[1:])).tobytes(), "big")


def frames_of(path: Path, seconds: float = 0.5) -> Iterator[Frame]:
    """The picture, or a frame of the video every ``seconds``."""
    if path.suffix.lower() in PICTURES:
        picture = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if picture is not None:
            yield np.asarray(picture, np.uint8)
        return
    capture = cv2.VideoCapture(str(path))
    every = max(1, round((capture.get(cv2.CAP_PROP_FPS) or 25.0) * seconds))
    index = 0
    while capture.grab():
        if index % every == 0:
            good, frame = capture.retrieve()
            if good:
                yield np.asarray(frame, np.uint8)
        index += 1
    capture.release()


def fingerprints(directory: Path) -> dict[Path, NDArray[np.uint64]]:
    """The hashes of every picture and video of a directory."""
    files = sorted(p for p in directory.rglob("*") if p.suffix.lower() in PICTURES | VIDEOS)
    found = {path: [mark for frame in frames_of(path) if (mark := fingerprint(frame)) is not None] for path in files}
    return {path: np.array(marks, np.uint64) for path, marks in found.items() if marks}


def overlaps(test: Path, train: Path, distance: int = 8) -> list[tuple[Path, Path, int]]:
    """(test file, nearest training file, bits between them) for every test file that is too near to one."""
    known = fingerprints(train)
    names = [path for path, marks in known.items() for _ in marks]
    marks = np.concatenate(list(known.values())) if known else np.zeros(0, np.uint64)
    near = []
    for path, own in fingerprints(test).items() if len(marks) else ():
        bits = np.stack([_bits_set(marks ^ mark) for mark in own])
        if bits.min() <= distance:
            near.append((path, names[int(bits.min(0).argmin())], int(bits.min())))
    return near


def _bits_set(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    return np.unpackbits(values.view(np.uint8).reshape(len(values), 8), axis=1).sum(1).astype(np.int64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--videos", type=Path, required=True, help="test videos")
    parser.add_argument("--train-sources", type=Path, required=True, help="pictures and videos of the training")
    parser.add_argument("--distance", type=int, default=8, help="bits of 64 that may differ in the same picture")
    options = parser.parse_args()
    near = overlaps(options.videos, options.train_sources, options.distance)
    for test, train, bits in near:
        print(f"{test}\t{train}\t{bits}")
    print(f"{len(near)} test videos share a picture with the training")


if __name__ == "__main__":
    main()
