"""The training loop: steps, schedule, averaged weights, log, checkpoints, resuming.

What a batch is, what is learnt from it and how well it was learnt are a subclass's (``classifier.py``,
``localizer.py``). It goes in rounds (an epoch of a data set, or a fixed number of generated batches); after each one
the averaged weights are validated, a row is added to ``log.csv``, ``last.pt`` is replaced, and ``best.safetensors``
when the round was the best.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import torch
from torch import Tensor, nn

from vidact.errors import ModelError, RunError, UsageError
from vidact.models.weights import State, spec_to_json
from vidact.records import LocalizerSpec, Spec
from vidact.store.atomic import make_folder
from vidact.training.files import STATE_FORMAT, append_row, cut_log, read_state, write_best, write_state
from vidact.training.peers import Peers

Batch = TypeVar("Batch")
Given = TypeVar("Given", covariant=True)

_SAVE_SECONDS = 600.0


class Data(Protocol[Given]):
    """Where batches come from."""

    def batches(self, number: int, skip: int) -> Iterable[Given]:
        """The training batches of round ``number``, without its first ``skip``."""

    def held_out(self) -> Iterable[Given]:
        """The validation batches, always the same."""

    def steps(self) -> int:
        """Batches in a round."""


_LENGTH = {"rounds": "--epochs", "minutes": "--max-minutes"}
"""What the settings of the length are called on the command line."""


@dataclass(frozen=True, slots=True)
class Learnt:
    """What a batch gave: the ``loss`` to lower, how many examples were ``seen``, and sums over them for the log, by the
    column their mean stands in."""

    loss: Tensor
    seen: int
    sums: Mapping[str, float]


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

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "momentum", "warmup", "final_lr", "smoothing", "clip", "ema"):
            value = getattr(self, name)
            if not 0 <= value < math.inf:  # NaN is neither
                raise UsageError(f"{name} is {value:g}", hint="give a number that is not below 0")

    def rate(self, progress: float) -> float:
        """The learning rate at ``progress`` 0..1 of the training."""
        if progress < self.warmup:
            return self.lr * max(progress / self.warmup, 0.01)
        part = min((progress - self.warmup) / max(1.0 - self.warmup, 1e-9), 1.0)
        low = self.lr * self.final_lr
        return low + (self.lr - low) * 0.5 * (1.0 + math.cos(math.pi * part))


@dataclass(frozen=True, slots=True)
class Round:
    """One row of the log: ``seconds`` are those of training and validation so far, resumed ones included; ``train`` the
    means of what was summed; ``speed`` examples a second."""

    round: int
    step: int
    seconds: float
    lr: float
    loss: float
    train: Mapping[str, float]
    val_loss: float
    val_score: float
    speed: float


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
    sums: dict[str, float] = field(default_factory=dict)
    seen: int = 0

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> _State:
        """What ``dataclasses.asdict`` gave. TypeError for what cannot be."""
        state = cls(**saved)
        for name, usual in dataclasses.asdict(cls()).items():
            value = getattr(state, name)
            if not isinstance(value, (int, float) if isinstance(usual, float) else type(usual)):
                raise TypeError(f"its {name} is {value!r:.80}")
        return state


class Loop(ABC, Generic[Batch]):
    """Trains one network into one folder.

    ``spec`` is stored inside the checkpoint; ``named`` gives the tensors the names and shapes they have there. Raises
    RunError for a folder that holds another training, or a damaged ``last.pt``; UsageError for a recipe without a
    length.
    """

    train_columns: tuple[str, ...]
    """The columns ``learn`` gives sums for."""
    score_column: ClassVar[str]
    speed_column: ClassVar[str]

    def __init__(
        self,
        network: nn.Module,
        spec: Spec | LocalizerSpec,
        data: Data[Batch],
        recipe: Recipe,
        output: str | os.PathLike[str],
        *,
        device: str = "cpu",
        peers: Peers | None = None,
        named: Callable[[State], State] = lambda state: state,
    ) -> None:
        if recipe.rounds is None and recipe.minutes is None:
            raise UsageError("a training needs a length", hint="give a number of epochs or of minutes")
        self.data, self.recipe, self.device = data, recipe, torch.device(device)
        self._spec = spec
        self.output = Path(output)
        self.peers = peers or Peers()
        self.named = named
        self.network = network.to(self.device)
        self.averaged = {name: value.detach().clone() for name, value in network.state_dict().items()}
        self.optimizer = _optimizer(self.network, recipe)
        self.state = _State()
        torch.manual_seed(recipe.seed)

    @abstractmethod
    def learn(self, batch: Batch) -> Learnt:
        """The loss of the network on a batch, with gradients."""

    @abstractmethod
    def judge(self) -> tuple[float, float]:
        """Loss and score (higher is better) of the averaged weights on what is held out."""

    def kept(self) -> dict[str, float]:
        """Numbers ``learn`` goes on from, which must survive a stop."""
        return {}

    def go_on_from(self, kept: Mapping[str, float]) -> None:
        """Take up what ``kept`` gave."""

    def described(self) -> dict[str, Any]:
        """What besides spec and recipe must be the same when a training goes on, as JSON values."""
        return {}

    def resume(self) -> bool:
        """Go on from ``last.pt`` if the folder has one; returns whether it has."""
        path = self.output / "last.pt"
        if not path.exists():
            return False
        saved = read_state(path)
        try:
            self._take_up(path, saved)
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise RunError(
                f"{str(path)!r} is not a state this version can go on from: {error!r:.200}",
                hint="begin anew with another --output",
            ) from error
        cut_log(self.output / "log.csv", self.state.round)
        return True

    def _take_up(self, path: Path, saved: Mapping[str, Any]) -> None:
        before = {**saved["recipe"], **json.loads(saved.get("data", "{}"))}
        fixed = {**dataclasses.asdict(self.recipe), **self._described()}
        changed = sorted(name for name, value in before.items() if fixed.get(name) != value)
        if "architecture" in changed:  # then all else differs, too, and says nothing
            changed = ["architecture"]
        if changed:
            facts = ", ".join(
                f"{_LENGTH.get(name, name)} was {before[name]!r:.200}, is {fixed.get(name)!r:.200}" for name in changed
            )
            longer = "; a training cannot be lengthened, as its learning rate falls to its end"
            raise RunError(
                f"{str(self.output)!r} holds a training with other settings: {facts}",
                hint="repeat the settings to go on with it, or choose another --output"
                + (longer if _LENGTH.keys() & set(changed) else ""),
            )
        try:
            self.network.load_state_dict(saved["network"])
            self.optimizer.load_state_dict(saved["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise RunError(
                f"{str(path)!r} holds another network than the one asked for: {str(error).splitlines()[0]}",
                hint="repeat --model and --labels of that training, or choose another --output",
            ) from error
        averaged = {name: value.to(self.device) for name, value in saved["averaged"].items()}
        if {name: value.shape for name, value in averaged.items()} != {n: v.shape for n, v in self.averaged.items()}:
            raise ValueError("its averaged weights are those of another network")
        self.averaged = averaged
        self.state = _State.of(saved["state"])
        torch.set_rng_state(saved["rng"])
        if "device_rng" in saved:
            torch.cuda.set_rng_state(saved["device_rng"], self.device)
        self.go_on_from(saved.get("kept", {}))

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
        return self.progress() >= 1.0

    def progress(self) -> float:
        """How much of the training is done, 0 to 1."""
        if self.recipe.minutes is not None:
            return self.state.seconds / (self.recipe.minutes * 60.0)
        total = (self.recipe.rounds or 0) * self.data.steps()
        return self.state.step / total if total else 1.0

    def _round(self) -> Round:
        state, saved_at = self.state, self.state.seconds
        began, before = time.monotonic(), state.seen
        self.network.train()
        mark = began
        for batch in self.data.batches(state.round, state.batch):
            self.step(batch)
            now = time.monotonic()
            state.seconds, mark = state.seconds + now - mark, now
            self._agree()
            if self.recipe.minutes is not None and self._done():
                break
            if self.peers.first and state.seconds - saved_at > _SAVE_SECONDS:
                self._save()
                saved_at = state.seconds
        speed = (state.seen - before) / max(mark - began, 1e-9)
        lr = self.recipe.rate(self.progress())
        self._share_statistics()
        val_loss, val_score = self.judge() if self.peers.first else (0.0, 0.0)
        state.seconds += time.monotonic() - mark
        self._agree()
        seen = max(state.seen, 1)
        row = Round(
            round=state.round + 1,
            step=state.step,
            seconds=round(state.seconds, 1),
            lr=lr,
            loss=state.loss / seen,
            train={name: state.sums.get(name, 0.0) / seen for name in self.train_columns},
            val_loss=val_loss,
            val_score=val_score,
            speed=round(speed * self.peers.count, 1),
        )
        state.round, state.batch, state.loss, state.sums, state.seen = state.round + 1, 0, 0.0, {}, 0
        return row

    def step(self, batch: Batch) -> None:
        """One step on a batch: forward, backward, optimiser, averaged weights. Writes nothing."""
        state = self.state
        rate = self.recipe.rate(self.progress())
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        learnt = self.learn(batch)
        self.optimizer.zero_grad(set_to_none=True)
        learnt.loss.backward()  # type: ignore[no-untyped-call]
        self.peers.average(p.grad for p in self.network.parameters() if p.grad is not None)
        if self.recipe.clip:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimizer.step()
        state.step += 1
        state.batch += 1
        self._average()
        value = float(learnt.loss.detach())
        if not math.isfinite(value):
            raise ModelError(
                f"the loss became {value} at step {state.step}",
                hint="lower --lr, or train without --amp; last.pt holds the last good round",
            )
        state.loss += value * learnt.seen
        state.seen += learnt.seen
        for name, total in learnt.sums.items():
            state.sums[name] = state.sums.get(name, 0.0) + total

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

    def autocast(self) -> torch.autocast:
        """bfloat16 where it is safe, if the recipe says so."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.amp)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Inside, the network has the averaged weights and is in evaluation mode."""
        current = {name: value.detach().clone() for name, value in self.network.state_dict().items()}
        self.network.load_state_dict(self.averaged)
        self.network.eval()
        try:
            yield
        finally:
            self.network.load_state_dict(current)
            self.network.train()

    def _keep(self, row: Round) -> None:
        self._log(row)
        state = self.state
        # Equal scores happen often on small validation sets; the lower loss then decides.
        if (row.val_score, -row.val_loss) > (state.best, -state.best_loss):
            state.best, state.best_loss = row.val_score, row.val_loss
            write_best(self.output / "best.safetensors", self.named(self.averaged), self._spec)
        self._save()

    def _log(self, row: Round) -> None:
        values = {
            **{name: getattr(row, name) for name in ("round", "step", "seconds", "lr", "loss")},
            **row.train,
            "val_loss": row.val_loss,
            self.score_column: row.val_score,
            self.speed_column: row.speed,
        }
        append_row(self.output / "log.csv", {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in values.items()})

    def _described(self) -> dict[str, Any]:
        """What is learnt from what, as JSON values; not the name, which follows from where the folder stands."""
        facts = {name: value for name, value in spec_to_json(self._spec).items() if name != "name"}
        facts.update(self.described())
        facts["batches in an epoch"] = self.data.steps()
        described: dict[str, Any] = json.loads(json.dumps(facts))
        return described

    def _save(self) -> None:
        on_device = {"device_rng": torch.cuda.get_rng_state(self.device)} if self.device.type == "cuda" else {}
        write_state(
            self.output / "last.pt",
            {
                **on_device,
                "kept": self.kept(),
                "format": STATE_FORMAT,
                "recipe": dataclasses.asdict(self.recipe),
                "data": json.dumps(self._described()),
                "network": self.network.state_dict(),
                "averaged": self.averaged,
                "optimizer": self.optimizer.state_dict(),
                "state": dataclasses.asdict(self.state),
                "rng": torch.get_rng_state(),
            },
        )


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    # Norms, biases and scales are left out of the decay: pulling them to zero only fights the normalisation.
    named = [(p, p.ndim > 1 and not name.endswith(".scale")) for name, p in network.named_parameters()]
    weights, rest = ([p for p, decayed in named if p.requires_grad and decayed is wanted] for wanted in (True, False))
    groups = [{"params": weights, "weight_decay": recipe.weight_decay}, {"params": rest, "weight_decay": 0.0}]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.lr, momentum=recipe.momentum, nesterov=recipe.momentum > 0)
    return torch.optim.AdamW(groups, lr=recipe.lr, fused=True)  # a third of the time, on processors too
