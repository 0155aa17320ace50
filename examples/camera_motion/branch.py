"""Training of the per-frame branch: is this the first frame of a new shot, is it inside a fade?

Windows of 32 frames are drawn from stored sequences, around transitions more often than not, mirrored and played
backwards at random; every fifth is two windows spliced together, a cut that no sequence holds, and every fifth is lit
by a flash, which is none.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from vidact.models.recognition.shots_r3d import FrameBranch

FPS = 24.0
WINDOW = 32
CUT_WEIGHT = 4.0
Rng = np.random.Generator


@dataclass(frozen=True)
class Stored:
    """A sequence on disk: its frames (T, 48, 48, 3), mapped, and for every frame 1 or 0: (T, 2), cut and fade."""

    frames: NDArray[np.uint8]
    truth: NDArray[np.float32]
    name: str


def stored(folder: Path) -> list[Stored]:
    """All finished sequences of a folder."""
    found = []
    for path in sorted(folder.glob("*.json")):
        frames = np.load(path.with_suffix(".frames.npy"), mmap_mode="r")
        found.append(Stored(frames, labelled(json.loads(path.read_text())["events"], len(frames)), path.stem))
    return found


def labelled(events: list[tuple[str, float, float]], frames: int) -> NDArray[np.float32]:
    """For every frame whether it is the first after a cut, and whether it is inside a fade."""
    truth = np.zeros((frames, 2), np.float32)
    for label, start, end in events:
        first = math.ceil(start * FPS - 1e-6)
        if label == "cut" and first < frames:
            truth[first, 0] = 1
        elif label == "fade":
            truth[first : math.ceil(end * FPS - 1e-6), 1] = 1
    return truth


class Windows:
    """Draws training windows."""

    def __init__(self, sequences: list[Stored], seed: int) -> None:
        self.sequences, self.rng = sequences, np.random.default_rng(seed)
        self.cuts = [(n, int(k)) for n, s in enumerate(sequences) for k in np.flatnonzero(s.truth[:, 0])]
        self.fades = [(n, int(k)) for n, s in enumerate(sequences) for k in np.flatnonzero(s.truth[:, 1])]

    def draw(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Frames (32, 48, 48, 3) and the truth of each (32, 2)."""
        frames, truth = self._plain()
        if self.rng.random() < 0.2:
            other, after = self._plain()
            at = int(self.rng.integers(1, WINDOW))
            frames, truth = np.concatenate([frames[:at], other[at:]]), np.concatenate([truth[:at], after[at:]])
            truth[at, 0] = 1
        if self.rng.random() < 0.2:
            frames = flashed(self.rng, frames)
        if self.rng.random() < 0.5:
            frames = frames[:, :, ::-1]
        if self.rng.random() < 0.3:
            frames = frames[:, ::-1]
        if self.rng.random() < 0.4:
            frames, truth = frames[::-1], truth[::-1].copy()
            truth[1:, 0], truth[0, 0] = truth[:-1, 0].copy(), 0  # the first frame after, seen the other way
        return frames, truth

    def _plain(self) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        kind = self.rng.random()
        events = self.cuts if kind < 0.4 else self.fades if kind < 0.6 else []
        if events:
            number, at = events[int(self.rng.integers(len(events)))]
            first = at - int(self.rng.integers(WINDOW))
        else:
            number, first = int(self.rng.integers(len(self.sequences))), 1 << 30
        sequence = self.sequences[number]
        last = len(sequence.frames) - WINDOW
        first = int(self.rng.integers(last + 1)) if first > last else max(first, 0)
        return np.array(sequence.frames[first : first + WINDOW]), sequence.truth[first : first + WINDOW].copy()

    def batch(self, size: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames (B, 3, 32, 24, 24), normalised, and truth (B, 2, 32)."""
        rows = [self.draw() for _ in range(size)]
        frames = torch.from_numpy(np.stack([np.ascontiguousarray(f) for f, _ in rows]))
        truth = torch.from_numpy(np.stack([t for _, t in rows]))
        return normalised(frames), truth.transpose(1, 2)


def flashed(rng: Rng, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The window lit up for one to six frames, or part of a flash at one of its ends: no cut."""
    first, count = int(rng.integers(-4, len(frames))), int(rng.integers(1, 7))
    lit = slice(max(first, 0), max(first + count, 1))
    result = frames.copy()
    result[lit] = np.clip(frames[lit] * rng.uniform(1.3, 4.5) + rng.uniform(0, 60), 0, 255)
    return result


def normalised(frames: torch.Tensor) -> torch.Tensor:
    """Stored frames, uint8 (B, T, 48, 48, 3), → what the branch sees of them: (B, 3, T, 24, 24)."""
    return F.avg_pool3d((frames.permute(0, 4, 1, 2, 3).float() / 255 - 0.5) / 0.25, (1, 2, 2))


def loss_of(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every frame but the first, of which nobody can tell what was before; cuts weigh more."""
    weight = torch.tensor([CUT_WEIGHT, 1.0])[None, :, None]
    both = F.binary_cross_entropy_with_logits(logits[:, :, 1:], truth[:, :, 1:], pos_weight=weight)
    return both


def train_branch(
    folder: Path, *, minutes: float, seed: int, batch: int = 32, lr: float = 3e-3, say: Callable[[str], None] = print
) -> FrameBranch:
    """A branch trained for so long; the rate falls as a cosine with the clock, weights are averaged."""
    torch.manual_seed(seed)
    branch = FrameBranch()
    averaged = torch.optim.swa_utils.AveragedModel(
        branch, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995), use_buffers=True
    )
    optimizer = torch.optim.AdamW(branch.parameters(), lr=lr, weight_decay=0.01)
    begin, step, shown = time.monotonic(), 0, 0.0
    windows = Windows(stored(folder), seed)
    while (share := (time.monotonic() - begin) / (60 * minutes)) < 1:
        warm = min(1.0, (step + 1) / 100)
        for group in optimizer.param_groups:
            group["lr"] = lr * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * share)))
        frames, truth = windows.batch(batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits = branch(frames)
        loss = loss_of(logits.float(), truth)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(branch.parameters(), 1.0)
        optimizer.step()
        averaged.update_parameters(branch)
        shown, step = loss.item() if not step else 0.98 * shown + 0.02 * loss.item(), step + 1
        if step % 100 == 0:
            many = len(windows.sequences)
            say(f"branch: step {step}, {100 * share:.0f} % of the time, loss {shown:.4f}, {many} sequences")
            if step % 200 == 0:
                windows = Windows(stored(folder), seed + step)  # sequences may still be made
    branch.load_state_dict(averaged.module.state_dict())
    return branch.eval()


@torch.inference_mode()
def frame_logits(branch: FrameBranch, frames: NDArray[np.uint8], stride: int) -> NDArray[np.float32]:
    """The branch's numbers for every window of a sequence (T, 48, 48, 3): (rows, 2, 32)."""
    rows = (len(frames) - WINDOW) // stride + 1
    found = []
    for first in range(0, rows, 16):
        clips = np.stack([frames[stride * i : stride * i + WINDOW] for i in range(first, min(first + 16, rows))])
        found.append(branch(normalised(torch.from_numpy(clips))).numpy())
    return np.concatenate(found)


def quality(branch: FrameBranch, folder: Path) -> dict[str, float]:
    """On whole sequences: precision, recall and F1 of cuts within 2 frames at logit 0, and per-frame F1 of fades."""
    found = wanted = right = 0
    frames_right = frames_found = frames_wanted = 0.0
    for sequence in stored(folder):
        logits = frame_logits(branch, sequence.frames, 16)[:, :, 8:24].transpose(0, 2, 1).reshape(-1, 2)
        truth = sequence.truth[8 : 8 + len(logits)]
        cut = logits[:, 0]
        peaks = [k for k in range(1, len(cut) - 1) if cut[k] > 0 and cut[k] == cut[max(0, k - 3) : k + 4].max()]
        true = list(np.flatnonzero(truth[:, 0]))
        found, wanted = found + len(peaks), wanted + len(true)
        right += sum(any(abs(k - t) <= 2 for k in peaks) for t in true)
        faded = logits[:, 1] > 0
        frames_right += float((faded * truth[:, 1]).sum())
        frames_found, frames_wanted = frames_found + float(faded.sum()), frames_wanted + float(truth[:, 1].sum())
    precision, recall = right / max(found, 1), right / max(wanted, 1)
    fades = 2 * frames_right / max(frames_found + frames_wanted, 1)
    return {"precision": precision, "recall": recall, "f1": 2 * right / max(found + wanted, 1), "fade frames": fades}
