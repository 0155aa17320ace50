"""Filters of images made into filters of clips: repeated over time and divided by their length.

A clip that shows one picture over and over then gives what the network of images gives for that picture, as long as no
border in time is near.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from vidact.errors import ModelError


def inflate(weight: Tensor, frames: int) -> Tensor:
    """A filter (O, I, H, W) → (O, I, frames, H, W) whose sum over time is the filter again."""
    if weight.ndim != 4 or frames < 1:
        raise ModelError(f"a filter (O, I, H, W) and its length are needed, not {tuple(weight.shape)} and {frames}")
    return weight[:, :, None].expand(-1, -1, frames, -1, -1) / frames


def inflate_state(state: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Weights of a network of images, under the keys of ``network``, with every filter as long as that network's.

    Raises ModelError where a tensor is neither of the network's shape nor a filter of it without time.
    """
    own = network.state_dict()
    inflated = {}
    for key, value in state.items():
        wanted = tuple(own[key].shape) if key in own else tuple(value.shape)
        if value.ndim == 4 and len(wanted) == 5:
            value = inflate(value, wanted[2])
        if tuple(value.shape) != wanted:
            raise ModelError(f"{key} is {tuple(state[key].shape)}, which does not inflate to {wanted}")
        inflated[key] = value
    return inflated
