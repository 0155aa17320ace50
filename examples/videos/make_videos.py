"""Draw and encode the example videos: invented landscapes, a subject that moves in each, and a camera that moves too.

    python examples/videos/make_videos.py [FOLDER]

| file           | what the camera does                                                       |
|----------------|----------------------------------------------------------------------------|
| coast.mp4      | stands still (0-2 s), pans right along the coast (2-6 s), stands (6-8 s)   |
| tower.webm     | tilts up (0-3.5 s), then zooms in (4-7.5 s)                                |
| balloon.mp4    | zooms out (0-3 s), cuts (3.5 s), pans left (4-7 s)                         |
| evening.mp4    | is held by hand (0-4 s), rolls clockwise (4-7 s), fades to black (7-8 s)   |

Everything is computed with numpy from the seeds below, so the pictures are ours to give away; PyAV encodes them.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np

WIDTH, HEIGHT, FPS = 320, 180, 24
WORLD_WIDTH, WORLD_HEIGHT = 1600, 640

Picture = np.ndarray
"""float32 (height, width, 3), 0..255, RGB."""


@dataclass(frozen=True)
class Camera:
    """Where the middle of the picture lies in the world, world pixels a picture pixel, clockwise turn in degrees."""

    x: float
    y: float
    scale: float = 1.0
    roll: float = 0.0


def noise(rng: np.random.Generator, height: int, width: int, octaves: int = 6) -> np.ndarray:
    """Smooth noise of several sizes, 0..1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 2)
        grid = rng.random((cells + 1, cells * width // height + 2), np.float32)
        y = np.linspace(0, cells - 1e-3, height, dtype=np.float32)
        x = np.linspace(0, grid.shape[1] - 1.001, width, dtype=np.float32)
        total += look_up(grid[..., None], *np.meshgrid(x, y))[..., 0] / 1.7**octave
    return (total - total.min()) / np.ptp(total)


def look_up(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Bilinear samples of an image at x and y, clamped to its edges."""
    x = np.clip(x, 0, image.shape[1] - 1.001)
    y = np.clip(y, 0, image.shape[0] - 1.001)
    left, top = x.astype(int), y.astype(int)
    across, down = (x - left)[..., None], (y - top)[..., None]
    upper = image[top, left] * (1 - across) + image[top, left + 1] * across
    lower = image[top + 1, left] * (1 - across) + image[top + 1, left + 1] * across
    return upper * (1 - down) + lower * down


def landscape(seed: int, sky: tuple[int, int, int], ground: tuple[int, int, int], houses: int) -> Picture:
    """A world to film: clouds, three ranges of hills, water or meadow in front, and a row of houses."""
    rng = np.random.default_rng(seed)
    height, width = WORLD_HEIGHT, WORLD_WIDTH
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    world = np.array(sky, np.float32) * (1 - 0.5 * rows) + 120 * 0.5 * rows + np.zeros((height, width, 1), np.float32)
    clouds = np.clip(noise(rng, height, width) * 2.4 - 1.1, 0, 1)[..., None] * np.clip(1.3 - 2 * rows, 0, 1)
    world = world * (1 - clouds) + 245 * clouds
    texture = noise(rng, height, width, 7)[..., None]
    for depth in range(3):
        ridge = noise(rng, 64, width, 5)[5 + depth] * 150 + 220 + depth * 75
        below = np.arange(height)[:, None] > ridge
        colour = np.array(ground, np.float32) * (0.55 + 0.2 * depth) + np.array(sky, np.float32) * (0.35 - 0.15 * depth)
        world[below] = (colour * (0.4 + 1.2 * texture))[below]
    for _ in range(400):
        bush(world, rng)
    for _ in range(houses):
        house(world, rng)
    return world


def bush(world: Picture, rng: np.random.Generator) -> None:
    """Put a round, shaded bush somewhere on the ground."""
    radius = int(rng.integers(3, 16))
    x, y = int(rng.integers(radius, WORLD_WIDTH - radius)), int(rng.integers(430, WORLD_HEIGHT - radius))
    down, across = np.mgrid[-radius:radius, -radius:radius]
    inside = down**2 + across**2 < radius**2
    patch = world[y - radius : y + radius, x - radius : x + radius]
    patch[inside] *= (0.75 - (down + across)[inside] / radius * 0.3)[:, None]


def house(world: Picture, rng: np.random.Generator) -> None:
    """Put a house with lit and dark windows somewhere on the ground."""
    left, wide, tall = int(rng.integers(0, WORLD_WIDTH - 90)), int(rng.integers(36, 84)), int(rng.integers(60, 190))
    foot = int(rng.integers(500, 590))
    world[foot - tall : foot, left : left + wide] = rng.integers(70, 210, 3)
    for y in range(foot - tall + 8, foot - 12, 18):
        for x in range(left + 6, left + wide - 10, 14):
            world[y : y + 10, x : x + 8] = (250, 225, 140) if rng.random() < 0.4 else (45, 50, 70)


def seen(world: Picture, camera: Camera, subject: Callable[[np.ndarray, np.ndarray, Picture], None]) -> Picture:
    """What the camera sees of the world, and of the subject that moves in it."""
    x, y = np.meshgrid(np.arange(WIDTH) - WIDTH / 2 + 0.5, np.arange(HEIGHT) - HEIGHT / 2 + 0.5)
    turn = np.deg2rad(camera.roll)
    across = camera.x + camera.scale * (x * np.cos(turn) - y * np.sin(turn))
    down = camera.y + camera.scale * (x * np.sin(turn) + y * np.cos(turn))
    picture = look_up(world, across, down)
    subject(across, down, picture)
    return picture


def disc(
    x: np.ndarray, y: np.ndarray, picture: Picture, at: tuple[float, float], radius: float, colour: object
) -> None:
    """Paint a shaded disc at a place in the world."""
    distance = np.hypot(x - at[0], y - at[1])
    inside = np.clip(radius - distance + 0.5, 0, 1)[..., None]
    light = np.clip(1.15 - ((x - at[0]) + (y - at[1])) / radius / 4, 0.5, 1.3)[..., None]
    picture[:] = picture * (1 - inside) + np.array(colour, np.float32) * light * inside


def block(
    x: np.ndarray, y: np.ndarray, picture: Picture, box: tuple[float, float, float, float], colour: object
) -> None:
    """Paint a rectangle (left, top, right, bottom) in the world."""
    left, top, right, bottom = box
    inside = np.clip(np.minimum(np.minimum(x - left, right - x), np.minimum(y - top, bottom - y)) + 0.5, 0, 1)[
        ..., None
    ]
    picture[:] = picture * (1 - inside) + np.array(colour, np.float32) * inside


def eased(time: float, begin: float, end: float) -> float:
    """0 before ``begin``, 1 after ``end``, and slow to start and to stop in between."""
    share = min(1.0, max(0.0, (time - begin) / (end - begin)))
    return share * share * (3 - 2 * share)


def coast(time: float, worlds: list[Picture]) -> Picture:
    def boat(x: np.ndarray, y: np.ndarray, picture: Picture) -> None:
        at, bob = 330 + 26 * time, 4 * np.sin(3 * time)
        block(x, y, picture, (at - 26, 470 + bob, at + 26, 482 + bob), (150, 60, 40))
        block(x, y, picture, (at - 2, 420 + bob, at + 20, 468 + bob), (240, 240, 235))

    return seen(worlds[0], Camera(300 + 620 * eased(time, 2, 6), 400, 1.5), boat)


def tower(time: float, worlds: list[Picture]) -> Picture:
    def ball(x: np.ndarray, y: np.ndarray, picture: Picture) -> None:
        block(x, y, picture, (700, 90, 780, 600), (165, 120, 95))
        for floor in range(9):
            block(x, y, picture, (715, 110 + 52 * floor, 765, 135 + 52 * floor), (60, 70, 95))
        disc(x, y, picture, (840 + 30 * np.sin(2 * time), 250 + 40 * np.cos(1.7 * time)), 14, (215, 60, 60))

    up, near = eased(time, 0, 3.5), eased(time, 4, 7.5)
    return seen(worlds[1], Camera(760, 500 - 310 * up, 0.42**near), ball)


def balloon(time: float, worlds: list[Picture]) -> Picture:
    def air(x: np.ndarray, y: np.ndarray, picture: Picture) -> None:
        at = 780 - 12 * time, 230 + 10 * np.sin(time)
        disc(x, y, picture, at, 34, (225, 120, 40))
        block(x, y, picture, (at[0] - 8, at[1] + 44, at[0] + 8, at[1] + 58), (90, 60, 40))

    if time < 3.5:
        return seen(worlds[2], Camera(790, 300, 0.8 * 3.2 ** eased(time, 0, 3)), air)
    return seen(worlds[0], Camera(1250 - 560 * eased(time, 4, 7), 430, 1.4), air)


def evening(time: float, worlds: list[Picture]) -> Picture:
    def lantern(x: np.ndarray, y: np.ndarray, picture: Picture) -> None:
        disc(x, y, picture, (620 + 35 * time, 470 - 25 * abs(np.sin(4 * time))), 12, (250, 220, 120))

    held = 1 - eased(time, 3.8, 4.2)
    jitter = [held * sum(np.sin(time * pace + phase) for pace in (13, 21, 34)) for phase in (0.0, 1.9)]
    camera = Camera(760 + 5 * jitter[0], 420 + 4 * jitter[1], 1.3, 40 * eased(time, 4, 7.2))
    return seen(worlds[3], camera, lantern) * (1 - eased(time, 7, 7.9))


FILMS: dict[str, tuple[float, Callable[[float, list[Picture]], Picture]]] = {
    "coast.mp4": (8.0, coast),
    "tower.webm": (7.5, tower),
    "balloon.mp4": (7.5, balloon),
    "evening.mp4": (8.0, evening),
}
"""File name → length in seconds, and the picture at a time."""


def frames(film: str, worlds: list[Picture]) -> Iterator[np.ndarray]:
    """The frames of a film: uint8 (HEIGHT, WIDTH, 3)."""
    seconds, picture = FILMS[film]
    grain = np.random.default_rng(5)
    for n in range(round(seconds * FPS)):
        drawn = picture(n / FPS, worlds) + grain.normal(0, 1.0, (HEIGHT, WIDTH, 1))
        yield np.clip(drawn, 0, 255).astype(np.uint8)


def make(film: str, folder: Path, worlds: list[Picture]) -> Path:
    """Encode one film into a folder."""
    path = folder / film
    webm = path.suffix == ".webm"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libvpx-vp9" if webm else "libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.options = (
            {"crf": "36", "b": "0", "cpu-used": "3"} if webm else {"crf": "27", "preset": "slow", "g": "72"}
        )
        for frame in frames(film, worlds):
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        out.mux(stream.encode(None))
    return path


WORLDS = [
    (1, (120, 170, 225), (60, 110, 120), 9),
    (2, (150, 190, 230), (90, 130, 60), 5),
    (3, (200, 180, 200), (120, 110, 60), 14),
    (4, (90, 80, 130), (50, 60, 70), 22),
]
"""Seed, colour of the sky, colour of the ground and number of houses."""


def main() -> None:
    if sys.argv[1:2] in (["-h"], ["--help"]):
        print(__doc__)
        return
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent
    folder.mkdir(parents=True, exist_ok=True)
    worlds = [landscape(*world) for world in WORLDS]
    for film in FILMS:
        path = make(film, folder, worlds)
        print(f"{path}  {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
