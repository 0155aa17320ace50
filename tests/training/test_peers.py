"""Processes that train together end with the same weights, those of the averaged gradients."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import torch

from vidact.training.peers import Peers

BODY = """
import sys, torch
from vidact.training.peers import Peers
torch.set_num_threads(1)
rank, folder = int(sys.argv[1]), sys.argv[2]
peers = Peers(rank, 2, folder + "/meeting")
one, two = torch.full((2, 3), float(rank)), torch.full((), 10.0 * rank)
peers.average([one, two])
torch.save([one, two, torch.tensor(peers.told(5.0 + rank))], f"{folder}/{rank}.pt")
"""


def test_two_processes_hold_the_mean_afterwards(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", BODY, str(rank), str(tmp_path)]) for rank in range(2)]
    assert [process.wait(120) for process in processes] == [0, 0]
    for rank in range(2):
        one, two, told = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert torch.equal(one, torch.full((2, 3), 0.5)) and float(two) == 5.0
        assert float(told) == 5.0


def test_one_alone_changes_nothing() -> None:
    tensor = torch.ones(3)
    peers = Peers()
    peers.average([tensor])
    assert torch.equal(tensor, torch.ones(3)) and peers.told(7.0) == 7.0 and peers.first
