"""TimeSformer on Something-Something: the authors' frames, and their channels, blue first."""

from __future__ import annotations

import re
from pathlib import Path

import torch

from vidact import load_model
from vidact.models.recognition.timesformer import DIVIDED, Size, TimeSformer
from vidact.models.zoo import ENTRIES

# From the network's own names to the authors'.
BACK = (
    (r"^patches\.", "patch_embed.proj."),
    (r"\.along\.attn\.", ".temporal_attn."),
    (r"\.along\.norm\.", ".temporal_norm1."),
    (r"\.along\.out\.", ".temporal_fc."),
    (r"^head\.projection\.", "head."),
)


def test_channels_are_turned_round_where_training_had_blue_first(tmp_path: Path) -> None:
    torch.manual_seed(0)
    size = Size(width=64, side=16, hidden=64, blocks=1, places=4, frames=2)
    network = TimeSformer(DIVIDED, size, 3, 174).eval()
    state = {}
    for key, value in network.state_dict().items():
        for pattern, replacement in BACK:
            key = re.sub(pattern, replacement, key)
        state[f"model.{key}"] = value.squeeze(2) if key == "patch_embed.proj.weight" else value
    torch.save({"epoch": 14, "model_state": state}, tmp_path / "own.pyth")
    clips = torch.randn(2, 3, 2, 32, 32)
    with torch.inference_mode():
        as_trained, turned = network(clips.flip(1)), network(clips)
    found = load_model("timesformer-b16.ssv2", checkpoint=tmp_path / "own.pyth")(clips)
    assert torch.allclose(found, as_trained, atol=1e-5) and not torch.allclose(found, turned, atol=1e-2)
    plain = load_model("timesformer-b16", checkpoint=tmp_path / "own.pyth")(clips)
    assert torch.allclose(plain, turned, atol=1e-5)


def test_something_something_is_sampled_over_the_whole_video() -> None:
    for name, frames, size in (("ssv2", 8, 224), ("ssv2-16x448", 16, 448), ("ssv2-64x224", 64, 224)):
        spec = ENTRIES[f"timesformer-b16.{name}"].spec
        protocol = spec.protocol
        assert protocol is not None and (protocol.rule, protocol.style) == ("frame-folders", "pyslowfast-pyav")
        assert (protocol.frames, protocol.clips, protocol.crops) == (frames, 1, 3)
        assert protocol.size == (size, size) == spec.geometry.size and protocol.short_side == size
        assert len(set(spec.mean)) == len(set(spec.std)) == 1  # or turning channels round would not be enough
