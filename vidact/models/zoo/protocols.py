"""The tests weights were published with, one function a project; what the zoo says about views is derived from them.

The rules they name are in ``video/protocols.py`` (which frames) and ``video/transform.py`` (which pixels).
"""

from __future__ import annotations

from dataclasses import replace

from vidact.records import Protocol

FPS = 30.0
"""Videos are sampled as if they had this rate by the projects that convert rates."""


_SEGMENTS = ("mmaction2-segments", "mmaction2-stacks")


def views_of(views: str) -> tuple[int, int]:
    """``10x3`` → 10 clips, 3 crops."""
    clips, _, crops = views.partition("x")
    return int(clips), int(crops)


def told(protocol: Protocol) -> str:
    """In words: what stands beside a published score."""
    size = f"{protocol.size[1]}x{protocol.size[0]}"
    if not protocol.clips:
        apart = protocol.stride if protocol.rule == "stacks" else protocol.frames
        return f"clips of {protocol.frames} frames, one every {apart}, {protocol.crops} crop of {size}"
    views = f"{protocol.clips}x{protocol.crops} views of {size}"
    return f"{views}, {protocol.frames} segments" if protocol.rule in _SEGMENTS else views


def mmaction(
    frames: int, stride: int, views: str, *, short_side: int, size: int, convert: bool = False, segments: bool = False
) -> Protocol:
    """mmaction2. ``convert``: clips of a certain length in seconds; ``segments``: one frame of each segment, as 2-D
    networks see them."""
    clips, crops = views_of(views)
    rule = "mmaction2-segments" if segments else "mmaction2-rate" if convert else "mmaction2"
    rate = FPS if convert else None
    return Protocol(rule, "mmaction2", frames, 1 if segments else stride, clips, crops, short_side, (size, size), rate)


def mmaction_spread(frames: int, views: str) -> Protocol:
    """Video Swin on Something-Something: frames from the middles of equal stretches."""
    clips, crops = views_of(views)
    return Protocol("frame-folders", "mmaction2", frames, 1, clips, crops, 224, (224, 224))


def torchvision(frames: int, clips: int) -> Protocol:
    """torchvision's video transformers: neighbours at 15 frames a second."""
    return Protocol("torchvision", "torchvision", frames, 1, clips, 1, 256, (224, 224), 15.0)


def vjepa2(frames: int, stride: int, views: str, *, size: int) -> Protocol:
    """The probes of V-JEPA 2."""
    clips, crops = views_of(views)
    return Protocol("vjepa2", "vjepa2", frames, stride, clips, crops, size, (size, size))


def pyslowfast(
    frames: int, stride: int, views: str, *, size: int, offset: bool = False, frame_folders: bool = False
) -> Protocol:
    """PySlowFast by the torchvision reader. ``offset``: sampling with whole offsets, as MViT's; ``frame_folders``: its
    sampling of Something-Something, from pictures on disk.

    A single crop is cut out of a picture scaled to 256 pixels, whatever its own size.
    """
    clips, crops = views_of(views)
    short = 256 if crops == 1 else size
    rule = "pyslowfast-offset" if offset else "pyslowfast"
    protocol = Protocol(rule, "pyslowfast", frames, stride, clips, crops, short, (size, size), FPS)
    return _from_folders(protocol) if frame_folders else protocol


def pytorchvideo(frames: int, stride: int, views: str, *, size: int, frame_folders: bool = False) -> Protocol:
    """pytorchvideo's windows of seconds, spread over the video. With 1x1 views, the recipe of its hub."""
    clips, crops = views_of(views)
    short = 256 if crops == 1 and size == 224 else size
    protocol = Protocol("pytorchvideo", "pytorchvideo", frames, stride, clips, crops, short, (size, size), FPS)
    return _from_folders(protocol) if frame_folders else protocol


def _from_folders(protocol: Protocol) -> Protocol:
    return replace(protocol, rule="frame-folders", style="pyslowfast-pyav", stride=1, clips=1, fps=None)


def timesformer(frames: int = 8, stride: int = 32, size: int = 224, *, frame_folders: bool = False) -> Protocol:
    """TimeSformer's own repository: one window from the start of the video (of Something-Something frames from the
    middles of equal stretches), three crops."""
    protocol = Protocol("timesformer", "pyslowfast-pyav", frames, stride, 1, 3, size, (size, size), FPS)
    return _from_folders(protocol) if frame_folders else protocol


def videomae(stride: int, views: str, *, segments: bool = False) -> Protocol:
    """VideoMAE and VideoMAE V2; ``segments``: their test on Something-Something."""
    clips, crops = views_of(views)
    rule = "videomae-segments" if segments else "videomae"
    return Protocol(rule, "videomae", 16, 1 if segments else stride, clips, crops, 224, (224, 224))


def hub_pipeline(stride: int) -> Protocol:
    """The video pipeline of transformers with VideoMAE: the start of the video, at the rate of the training."""
    return Protocol("hub-pipeline", "pillow", 16, stride, 1, 1, 224, (224, 224))


def hub_ends(frames: int, *, short_side: int = 224) -> Protocol:
    """Frames spread over the whole video, both ends included, and the picture as transformers prepares it."""
    return Protocol("ends", "pillow", frames, 1, 1, 1, short_side, (224, 224))


def stacks(frames: int, stride: int) -> Protocol:
    """Stacks of neighbouring frames as video_features reads them for I3D."""
    return Protocol("stacks", "pillow", frames, stride, 0, 1, 256, (224, 224))


def windows(frames: int, size: int) -> Protocol:
    """3D-ResNets-PyTorch: windows side by side. (It reads JPEG files of 240 pixels' height; here the video is read.)"""
    return Protocol("windows", "pillow-even", frames, 1, 0, 1, size, (size, size))
