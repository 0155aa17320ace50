"""Several processes that train one network together, each on clips of its own: their gradients are averaged.

One process with many threads waits for its slowest thread after every operation; processes that meet once a step do not
mind a busy machine. Knows nothing of schedules or data.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterable
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor


class Peers:
    """This process and the others. ``first`` is the one that validates, logs and saves."""

    def __init__(self, rank: int = 0, count: int = 1, meeting: str = "") -> None:
        """``meeting`` is a file that does not exist yet and that all of them can reach; not needed for one alone."""
        self.rank, self.count = rank, count
        if count > 1:
            os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
            dist.init_process_group(
                "gloo", init_method=f"file://{meeting}", rank=rank, world_size=count, timeout=timedelta(minutes=30)
            )
            # Threads of gloo that outlive the interpreter can abort the process at its end.
            atexit.register(dist.destroy_process_group)

    @property
    def first(self) -> bool:
        return self.rank == 0

    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over all processes, in one exchange."""
        if self.count == 1:
            return
        own = list(tensors)
        flat = torch.cat([tensor.reshape(-1).float() for tensor in own])
        dist.all_reduce(flat)
        flat /= self.count
        means = torch.split(flat, [tensor.numel() for tensor in own])
        for tensor, mean in zip(own, means, strict=True):
            tensor.copy_(mean.view_as(tensor))

    def told(self, number: float) -> float:
        """The number the first process has."""
        if self.count == 1:
            return number
        box = torch.tensor([number], dtype=torch.float64)
        dist.broadcast(box, 0)
        return float(box)
