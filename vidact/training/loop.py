"""The training loop: steps, schedule, averaged weights, log, checkpoints, resuming.

Batches come as uint8 pictures and label numbers; where they come from is not known here, nor is what a video is. It
goes in rounds (an epoch of a data set, or a fixed number of generated batches); after each one the averaged weights are
validated, a row is added to ``log.csv``, ``last.pt`` is replaced, and ``best.safetensors`` when the round was the best.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from vidact.errors import ModelError, RunError, UsageError
from vidact.models.weights import State, read_tensors, spec_to_json, write_checkpoint
from vidact.records import Spec
from vidact.store.atomic import make_folder
from vidact.training.peers import Peers

Batch = tuple[Tensor, Tensor]
"""Clips, uint8 (B, T, H, W, 3), and label numbers, int64 (B,)."""

LOG_COLUMNS = ("round", "step", "seconds", "lr", "loss", "train_top1", "val_loss", "val_top1", "clips_per_second")
_SAVE_SECONDS = 600.0
_STATE_FORMAT = 1


class Data(Protocol):
    """Where batches come from."""

    def batches(self, number: int, skip: int) -> Iterable[Batch]:
        """The training batches of round ``number``, without its first ``skip``."""

    def held_out(self) -> Iterable[Batch]:
        """The validation batches, always the same."""

    def steps(self) -> int:
        """Batches in a round."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How to train. The length is ``rounds``, or ``minutes`` of wall clock: then the schedule follows the clock.

    ``warmup`` is the share of the training during which the rate rises to ``lr``; then it falls as a cosine to
    ``final_lr`` × ``lr``. ``clip`` bounds the norm of the gradient (0: no bound), ``ema`` is the decay of the averaged
    weights (0: none), ``amp`` computes in bfloat16 where that is safe.
    """

    rounds: int | None = 30
    minutes: float | None = None
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = 1e-3
    weight_decay: float = 0.05
    momentum: float = 0.9
    warmup: float = 0.05
    final_lr: float = 0.01
    smoothing: float = 0.1
    clip: float = 1.0
    ema: float = 0.999
    amp: bool = False
    seed: int = 0

    def rate(self, progress: float) -> float:
        """The learning rate at ``progress`` 0..1 of the training."""
        if progress < self.warmup:
            return self.lr * max(progress / self.warmup, 0.01)
        part = min((progress - self.warmup) / max(1.0 - self.warmup, 1e-9), 1.0)
        low = self.lr * self.final_lr
        return low + (self.lr - low) * 0.5 * (1.0 + math.cos(math.pi * part))


@dataclass(frozen=True, slots=True)
class Round:
    """One row of the log: shares are 0..1, seconds those of training and validation so far, resumed ones included."""

    round: int
    step: int
    seconds: float
    lr: float
    loss: float
    train_top1: float
    val_loss: float
    val_top1: float
    clips_per_second: float


@dataclass
class _State:
    """What must survive a stop, besides tensors."""

    round: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    best: float = -1.0
    best_loss: float = math.inf
    loss: float = 0.0
    right: int = 0
    seen: int = 0


class Trainer:
    """Trains one network into one folder.

    ``spec`` is stored inside the checkpoint and its mean and std normalise the pixels; ``named`` gives the tensors the
    names and shapes they have there. Raises RunError for a folder that holds another training, or a damaged
    ``last.pt``; UsageError for a recipe without a length.
    """

    def __init__(
        self,
        network: nn.Module,
        spec: Spec,
        data: Data,
        recipe: Recipe,
        output: str | os.PathLike[str],
        *,
        device: str = "cpu",
        peers: Peers | None = None,
        named: Callable[[State], State] = lambda state: state,
    ) -> None:
        if recipe.rounds is None and recipe.minutes is None:
            raise UsageError("a training needs a length", hint="give a number of epochs or of minutes")
        self.spec, self.data, self.recipe, self.device = spec, data, recipe, torch.device(device)
        self.output = Path(output)
        self.peers = peers or Peers()
        self.named = named
        self.network = network.to(self.device)
        self.averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.optimizer = _optimizer(self.network, recipe)
        self.state = _State()
        self.confusion = torch.zeros(spec.classes, spec.classes, dtype=torch.int64)
        """Of the last validation: rows are labels, columns what was predicted."""
        self._mean, self._std = (_channels(values, self.device) for values in (spec.mean, spec.std))
        torch.manual_seed(recipe.seed)

    def resume(self) -> bool:
        """Go on from ``last.pt`` if the folder has one; returns whether it has."""
        path = self.output / "last.pt"
        if not path.exists():
            return False
        saved = _read_state(path)
        before = {**saved["recipe"], **json.loads(saved.get("data", "{}"))}
        fixed = {**_settings(self.recipe), **self._described()}
        changed = sorted(name for name, value in before.items() if fixed.get(name) != value)
        if changed:
            facts = ", ".join(f"{name} was {before[name]!r:.200}, is {fixed.get(name)!r:.200}" for name in changed)
            raise RunError(
                f"{str(self.output)!r} holds a training with other settings: {facts}",
                hint="repeat the settings to go on with it, or choose another --output",
            )
        try:
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(
                f"{str(path)!r} holds another network than the one asked for: {str(error).splitlines()[0]}",
                hint="repeat --model and --labels of that training, or choose another --output",
            ) from error
        self.averaged = {name: value.to(self.device) for name, value in saved["averaged"].items()}
        self.state = _State(**saved["state"])
        torch.set_rng_state(saved["rng"])
        _cut_log(self.output / "log.csv", self.state.round)
        return True

    def run(self, on_round: Callable[[Round], None] = lambda row: None) -> Path:
        """Train to the end of the recipe; returns the path of the best checkpoint."""
        make_folder(str(self.output))
        while not self._done():
            row = self._round()
            if self.peers.first:
                self._keep(row)
                on_round(row)
        return self.output / "best.safetensors"

    def _done(self) -> bool:
        return self._progress() >= 1.0

    def _progress(self) -> float:
        if self.recipe.minutes is not None:
            return self.state.seconds / (self.recipe.minutes * 60.0)
        total = (self.recipe.rounds or 0) * self.data.steps()
        return self.state.step / total if total else 1.0

    def _round(self) -> Round:
        state, saved_at = self.state, self.state.seconds
        began, clips = time.monotonic(), 0
        self.network.train()
        mark = began
        for clips_u8, labels in self.data.batches(state.round, state.batch):
            self._step(clips_u8, labels)
            clips += len(labels)
            now = time.monotonic()
            state.seconds, mark = state.seconds + now - mark, now
            self._agree()
            if self.recipe.minutes is not None and self._done():
                break
            if self.peers.first and state.seconds - saved_at > _SAVE_SECONDS:
                self._save()
                saved_at = state.seconds
        speed = clips / max(mark - began, 1e-9)
        lr = self.recipe.rate(self._progress())
        self._share_statistics()
        val_loss, val_top1 = self.validate(self.data.held_out()) if self.peers.first else (0.0, 0.0)
        state.seconds += time.monotonic() - mark
        self._agree()
        seen = max(state.seen, 1)
        row = Round(
            round=state.round + 1,
            step=state.step,
            seconds=round(state.seconds, 1),
            lr=lr,
            loss=state.loss / seen,
            train_top1=state.right / seen,
            val_loss=val_loss,
            val_top1=val_top1,
            clips_per_second=round(speed * self.peers.count, 1),
        )
        state.round, state.batch, state.loss, state.right, state.seen = state.round + 1, 0, 0.0, 0, 0
        return row

    def _step(self, clips: Tensor, labels: Tensor) -> None:
        state = self.state
        rate = self.recipe.rate(self._progress())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        labels = labels.to(self.device, non_blocking=True)
        with self._autocast():
            logits = self.network(self.prepare(clips)).float()
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.recipe.smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.peers.average(p.grad for p in self.network.parameters() if p.grad is not None)
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        state.step += 1
        state.batch += 1
        self._average()
        value = float(loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss became {value} at step {state.step}",
                hint="lower --lr, or train without --amp; last.pt holds the last good round",
            )
        state.loss += value * len(labels)
        state.right += int((logits.detach().argmax(1) == labels).sum())
        state.seen += len(labels)

    def _agree(self) -> None:
        """The clocks of the processes differ a little, and all must end at the same step."""
        self.state.seconds = self.peers.told(self.state.seconds)

    def _share_statistics(self) -> None:
        """Every process has seen other clips: the running statistics of the norms become their mean."""
        shared = [b for b in self.network.buffers() if b.is_floating_point()]
        self.peers.average(shared)
        self.peers.average(self.averaged[name] for name, b in self.network.named_buffers() if b.is_floating_point())

    def _average(self) -> None:
        # Young averages forget faster, or the random start would stay in them for thousands of steps.
        decay = min(self.recipe.ema, (1 + self.state.step) / (10 + self.state.step)) if self.recipe.ema else 0.0
        with torch.no_grad():
            for name, value in self.network.state_dict().items():
                if value.is_floating_point():
                    self.averaged[name].lerp_(value, 1.0 - decay)
                else:
                    self.averaged[name].copy_(value)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp)

    def prepare(self, clips: Tensor) -> Tensor:
        """uint8 (B, T, H, W, 3) → float32 (B, 3, T, H, W) on the device, normalised as the spec says."""
        pixels = clips.to(self.device, non_blocking=True).permute(0, 4, 1, 2, 3).float()
        return pixels.div_(255.0).sub_(self._mean).div_(self._std)

    def validate(self, batches: Iterable[Batch]) -> tuple[float, float]:
        """Mean loss and top-1 (0..1) of the averaged weights; also sets ``confusion``."""
        self.confusion.zero_()
        loss, right, seen = 0.0, 0, 0
        for logits, labels in self.predict(batches):
            loss += float(nn.functional.cross_entropy(logits, labels, reduction="sum"))
            guess = logits.argmax(1)
            right, seen = right + int((guess == labels).sum()), seen + len(labels)
            self.confusion.index_put_((labels, guess), torch.ones_like(labels), accumulate=True)
        if not seen:
            raise UsageError("there is nothing to validate on", hint="give a validation split with at least one video")
        return loss / seen, right / seen

    def predict(self, batches: Iterable[Batch]) -> Iterator[tuple[Tensor, Tensor]]:
        """Float32 logits of the averaged weights and the labels, batch by batch, on the CPU."""
        current = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        self.network.eval()
        try:
            with torch.inference_mode():
                for clips, labels in batches:
                    with self._autocast():
                        logits = self.network(self.prepare(clips))
                    yield logits.float().cpu(), labels.cpu()
        finally:
            self.network.load_state_dict(current)
            self.network.train()

    def _keep(self, row: Round) -> None:
        _append(self.output / "log.csv", row)
        state = self.state
        # Equal top-1 happens often on small validation sets; the lower loss then decides.
        if (row.val_top1, -row.val_loss) > (state.best, -state.best_loss):
            state.best, state.best_loss = row.val_top1, row.val_loss
            write_checkpoint(self.output / "best.safetensors", self.named(self.averaged), self.spec)
        self._save()

    def _described(self) -> dict[str, Any]:
        """What is learnt from what, as JSON values; not the name, which follows from where the folder stands."""
        facts = {name: value for name, value in spec_to_json(self.spec).items() if name != "name"}
        facts["batches in an epoch"] = self.data.steps()
        described: dict[str, Any] = json.loads(json.dumps(facts))
        return described

    def _save(self) -> None:
        write_state(
            self.output / "last.pt",
            {
                "format": _STATE_FORMAT,
                "recipe": _settings(self.recipe),
                "data": json.dumps(self._described()),
                "network": self.network.state_dict(),
                "averaged": self.averaged,
                "optimizer": self.optimizer.state_dict(),
                "state": dataclasses.asdict(self.state),
                "rng": torch.get_rng_state(),
            },
        )


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Save with torch under a temporary name, then rename: ``path`` is always whole. Raises RunError when it cannot."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            torch.save(dict(state), file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise RunError(
            f"cannot write {str(path)!r}: {error.strerror or error}",
            hint="free some space and repeat the command with --resume",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _read_state(path: Path) -> dict[str, Any]:
    advice = "move it away to start anew; best.safetensors beside it can still be given to --init"
    try:
        saved = read_tensors(path)
    except ModelError as error:
        raise RunError(f"the training cannot go on from {str(path)!r}: {error.message}", hint=advice) from error
    if not isinstance(saved, dict) or saved.get("format") != _STATE_FORMAT:
        raise RunError(f"{str(path)!r} is not a state this version can go on from", hint=advice)
    return saved


def _settings(recipe: Recipe) -> dict[str, Any]:
    return dataclasses.asdict(recipe)


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Norms and biases are left out of the decay: pulling them to zero only fights the normalisation.
    weights = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    rest = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, lr=recipe.lr)


def _channels(values: tuple[float, ...], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.float32, device=device).view(1, -1, 1, 1, 1)


def _append(path: Path, row: Round) -> None:
    fresh = not path.exists()
    with open(path, "a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, LOG_COLUMNS)
        if fresh:
            writer.writeheader()
        writer.writerow({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in dataclasses.asdict(row).items()})


def _cut_log(path: Path, rounds: int) -> None:
    """Drop the rows of rounds the saved state does not know: they will be trained again."""
    if not path.exists():
        return
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if int(row["round"]) <= rounds]
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, LOG_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    os.replace(temporary, path)
