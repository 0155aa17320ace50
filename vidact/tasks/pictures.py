"""From the pictures a decoder gives to what a model sees: for most models the same, for others optical flow, or both.

Decoders ship RGB pictures alone. Flow is made of them where the model is, on its device, at the scale the originals
made it at: on a square of the short side, out of which the network's picture is then cut, so that what lies beside that
picture still tells how its border moves. Knows nothing of files, of scores or of when it is called.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from concurrent.futures import Future
from dataclasses import replace
from threading import Lock
from typing import TYPE_CHECKING, Any

import numpy as np

from vidact.records import Flow, Spec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from vidact.video.index import Index
    from vidact.video.sampling import ClipGrid


class Pictures:
    """The pictures that become one model input: ``item`` is their shape (N, h, w, 3), ``geometry`` how they are cut.

    ``frames`` is how many frames the model is shown (default: as many as its weights were trained on). Of several
    ``crops`` flow is made of each alone: the square around a crop would not fit beside the edge it stands at. Flow
    between two pictures is computed once for all clips of a batch and its neighbours that hold both, also where several
    threads ask at once.
    """

    def __init__(self, spec: Spec, frames: int | None = None, *, crops: int = 1) -> None:
        self.spec = spec
        self.frames = frames or spec.sampling.frames
        self.geometry, count = spec.geometry, self.frames
        if spec.flow is not None:
            count = spec.flow.pictures(self.frames)
            if self.geometry.resize == "short-side" and crops == 1:
                side = max(self.geometry.short_side, *self.geometry.size)
                self.geometry = replace(self.geometry, size=(side, side))
        self.item = (count, *self.geometry.size, 3)
        self._known = _Known()

    def follow(self, index: Index, grid: ClipGrid, ahead: float = 0.5) -> ClipGrid:
        """The same clips with the frames flow leads to. ``ahead``: where in its share of a clip a frame is looked up.

        Behind the last frame of a video nothing moves any more.
        """
        from vidact.video.sampling import displayed

        flow = self.spec.flow
        if flow is None:
            return grid
        count = grid.frames.shape[1]
        if flow.chained:
            next_one = displayed(index, grid.ends + (grid.ends - grid.starts) * (ahead / count))
            return replace(grid, frames=np.concatenate([grid.frames, next_one[:, None]], axis=1))
        frames = np.minimum(grid.frames[..., None] + np.arange(flow.fields + 1), len(index.seconds) - 1)
        return replace(grid, frames=frames.reshape(len(grid), -1))

    def clips(self, model: Any, pictures: NDArray[np.uint8]) -> Any:
        """uint8 (B, N, h, w, 3) → what ``model`` takes: normalised clips (B, C, T, H, W), or a pair of them."""
        flow = self.spec.flow
        if flow is None:
            return model.prepare(pictures)
        levels = self._levels(pictures, flow, model.device)
        if not self.spec.streams:
            return model.normalise(levels)
        frames = pictures[:, : self.frames] if flow.chained else pictures[:, :: flow.fields + 1]
        seen = self._cut(frames.transpose(0, 1, 4, 2, 3)).transpose(0, 1, 3, 4, 2)
        return model.rgb.prepare(seen), model.flow.normalise(levels)

    def _levels(self, pictures: NDArray[np.uint8], flow: Flow, device: Any) -> Tensor:
        """Flow as levels 0 to 255 (256), float32 (B, 2 x fields, T, H, W)."""
        import torch

        count, steps = len(pictures), np.arange(self.frames)
        begins = steps[:, None] if flow.chained else steps[:, None] * (flow.fields + 1) + np.arange(flow.fields)
        digests = [[hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in clip] for clip in pictures]
        pairs = [(clip, begin) for clip in range(count) for begin in begins.ravel().tolist()]
        keys = [digests[clip][begin] + digests[clip][begin + 1] for clip, begin in pairs]
        place = dict(zip(keys, pairs, strict=True))

        def fields(new: Sequence[bytes]) -> list[Tensor]:
            return self._fields(pictures, [place[key] for key in new], flow, device)

        found = torch.stack(self._known.get(keys, fields))
        levels = found.reshape(count, self.frames, 2 * flow.fields, *found.shape[2:])
        return levels.transpose(1, 2).float()

    def _fields(
        self, pictures: NDArray[np.uint8], pairs: list[tuple[int, int]], flow: Flow, device: Any
    ) -> list[Tensor]:
        """The flow of each pair (clip, picture), as levels int16 (2, H, W) of what the network sees."""
        import torch

        from vidact.video.flow import grey, levels, tvl1

        clips, begins = torch.tensor(pairs, device=device).T
        greys = grey(torch.from_numpy(pictures).to(device))
        fields = tvl1(greys[clips, begins], greys[clips, begins + 1])
        return list(levels(self._cut(fields), flow.still).to(torch.int16))

    def _cut(self, planes: Any) -> Any:
        """The network's picture out of the middle of (…, H, W)."""
        (tall, wide), (height, width) = self.geometry.size, self.spec.geometry.size
        top, left = (tall - height) // 2, (wide - width) // 2
        return planes[..., top : top + height, left : left + width]


class _Known:
    """Flow by the digest of its two pictures, of late: each computed by the first thread that asks, awaited by others.

    Others may push out a key while its flow is awaited or computed, so a call holds on to what it asked for itself.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._futures: OrderedDict[bytes, Future[Tensor]] = OrderedDict()

    def __reduce__(self) -> tuple[type[_Known], tuple[()]]:
        """Sent to another process it is empty: no lock can go there, and no flow need."""
        return _Known, ()

    def get(self, keys: Sequence[bytes], compute: Callable[[Sequence[bytes]], Sequence[Tensor]]) -> list[Tensor]:
        """The flow of each key; ``compute`` gives that of those nobody has asked for. What it raises, all get."""
        mine: dict[bytes, Future[Tensor]] = {}
        with self._lock:
            for key in keys:
                if key not in self._futures:
                    self._futures[key] = mine[key] = Future()
                self._futures.move_to_end(key)
            wanted = [self._futures[key] for key in keys]
        if mine:
            self._fill(mine, compute)  # before waiting: nobody who is waited for waits
        with self._lock:
            while len(self._futures) > 2 * len(keys):
                self._futures.popitem(last=False)
        return [future.result() for future in wanted]

    def _fill(self, mine: dict[bytes, Future[Tensor]], compute: Callable[[Sequence[bytes]], Sequence[Tensor]]) -> None:
        try:
            for future, value in zip(mine.values(), compute(list(mine)), strict=True):
                future.set_result(value)
        except BaseException as error:  # even an interrupt: others would wait for ever
            with self._lock:
                for key, future in mine.items():
                    if self._futures.get(key) is future:
                        del self._futures[key]
            for future in mine.values():
                if not future.done():
                    future.set_exception(error)
            raise
