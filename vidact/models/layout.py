"""How weights lie in memory where CPUs compute in 16 bits: reordered once at loading, not at every call.

Numbers change by the order of sums at most, and nothing here knows what a network is.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


def lay_out(network: nn.Module) -> None:
    """Reorder the weights of a network on a CPU, in 16 bits, only to be asked; in bfloat16 layers are packed."""
    for value in network.parameters():
        if value.ndim == 5:  # maps follow their kernels; in 32 bits that would not be faster
            value.data = value.data.contiguous(memory_format=torch.channels_last_3d)
    if _can_pack() and all(value.dtype == torch.bfloat16 for value in network.parameters()):
        _pack(network)


class PackedLinear(nn.Module):
    """A linear layer in bfloat16 whose weight lies in the blocks oneDNN multiplies; it can be asked, not saved."""

    weight: Tensor

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ops.mkldnn._reorder_linear_weight(weight.detach()))
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, C) → (…, C')."""
        found: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return found


class PackedPatches(nn.Module):
    """A convolution in bfloat16 over patches that do not overlap: a packed layer that sees each of them as a vector."""

    def __init__(self, layer: nn.Conv3d) -> None:
        super().__init__()
        self.size = layer.kernel_size
        self.layer = PackedLinear(layer.weight.flatten(1), layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) → (B, C', T / t, H / h, W / w), channels last; what fills no patch at the end is left out."""
        frames, rows, columns = (length // size for length, size in zip(x.shape[2:], self.size, strict=True))
        depth, height, width = self.size
        x = x[:, :, : frames * depth, : rows * height, : columns * width]
        x = x.reshape(*x.shape[:2], frames, depth, rows, height, columns, width)
        found: Tensor = self.layer(x.permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(4))
        return found.permute(0, 4, 1, 2, 3)


def _can_pack() -> bool:
    """Whether torch has what torch.compile packs layers with, which it promises to nobody else, and the CPU gains."""
    if not torch.backends.cpu.get_cpu_capability().startswith("AVX512"):
        return False
    return all(hasattr(torch.ops.mkldnn, name) for name in ("_reorder_linear_weight", "_linear_pointwise"))


def _pack(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            setattr(module, name, PackedLinear(child.weight, child.bias))
        elif type(child) is nn.Conv3d and _cuts_patches(child):
            setattr(module, name, PackedPatches(child))
        else:
            _pack(child)


def _cuts_patches(layer: nn.Conv3d) -> bool:
    """Whether its patches do not overlap, and have rows long enough to gather them in less time than that saves."""
    plain = layer.groups == 1 and set(layer.dilation) == {1} and layer.padding == (0, 0, 0)
    return plain and layer.kernel_size == layer.stride and layer.kernel_size[2] >= 8
