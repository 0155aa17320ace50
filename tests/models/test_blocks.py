"""What the shared blocks promise, on small tensors: windows, scores at positions, shifts, chosen frames, keys."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from vidact.errors import ModelError
from vidact.models.build import fold_norms
from vidact.models.keys import choose, count, rename
from vidact.models.recognition import transformer
from vidact.models.recognition.blocks import Bottleneck, Classifier, ConvNorm, Factorised, Head, equal_size, sigmoid
from vidact.models.recognition.i3d import same_max
from vidact.models.recognition.pathway import Pathway, Shape, as_filed
from vidact.models.recognition.resnet2d import SHIFTED, Bottleneck2d, shifted
from vidact.models.recognition.resnet3d import MMACTION, PYSLOWFAST, PYTORCHVIDEO
from vidact.models.recognition.slowfast import MMACTION as SLOWFAST_MMACTION
from vidact.models.recognition.slowfast import PLANS, SlowFast
from vidact.models.recognition.slowfast import PYSLOWFAST as SLOWFAST_PYSLOWFAST


class Largest(TorchDispatchMode):
    """How many elements the largest tensor has that operations make meanwhile."""

    elements = 0

    def __torch_dispatch__(self, function: Any, types: Any, given: Any = (), named: Any = None) -> Any:
        made = function(*given, **(named or {}))
        if isinstance(made, Tensor):
            self.elements = max(self.elements, made.untyped_storage().nbytes() // made.element_size())
        return made


class Passing(Classifier):
    """A network whose maps are its clips."""

    def maps(self, clips: Tensor) -> tuple[Tensor, ...]:
        return (clips,)


def classifier(score_first: bool) -> Passing:
    torch.manual_seed(1)
    return Passing(Head(4, 3, [(2, 7, 7)]), score_first=score_first)


def test_a_larger_picture_has_several_positions() -> None:
    network = classifier(score_first=False)
    clips = torch.randn(2, 4, 3, 8, 9)
    expected = [
        clips[:, :, t : t + 2, y : y + 7, x : x + 7].mean(dim=(2, 3, 4))
        for t in range(2)
        for y in range(2)
        for x in range(3)
    ]
    found = network.positions(clips)
    assert found.shape == (2, 12, 3)
    assert torch.allclose(found, network.head.projection(torch.stack(expected, 1)), atol=1e-6)
    assert torch.allclose(network(clips), found.mean(1))
    assert torch.allclose(network.features(clips), torch.stack(expected, 1).mean(1), atol=1e-6)
    assert torch.equal(network.features(clips, pool=False), clips)


def test_unpooled_pathways_come_at_the_rate_of_the_slowest() -> None:
    head = Head(5, 3, None)
    slow, fast = torch.randn(2, 4, 2, 3, 3), torch.randn(2, 1, 8, 3, 3)
    joined = head.joined([slow, fast])
    assert joined.shape == (2, 5, 2, 3, 3)
    assert torch.equal(joined[:, :4], slow)
    assert torch.allclose(joined[:, 4, 1], fast[:, 0, 4:].mean(dim=1), atol=1e-6)
    assert torch.allclose(joined.mean(dim=(2, 3, 4)), head.pool([slow, fast]).flatten(1), atol=1e-6)


def test_a_smaller_picture_has_one() -> None:
    network, clips = classifier(score_first=False), torch.randn(1, 4, 1, 4, 4)
    assert torch.allclose(network.features(clips), clips.mean(dim=(2, 3, 4)), atol=1e-6)


def test_windows_are_averaged_in_sixteen_bits_too() -> None:
    network, clips = classifier(score_first=False), torch.randn(2, 4, 3, 8, 9)
    short = network.to(torch.bfloat16)(clips.to(torch.bfloat16))
    assert short.dtype == torch.bfloat16
    assert torch.allclose(short.float(), network.float()(clips), atol=0.02)


@pytest.mark.parametrize("score_first", [True, False])
def test_scores_at_every_position_or_of_the_mean(score_first: bool) -> None:
    network, clips = classifier(score_first), 20 * torch.randn(2, 4, 2, 8, 8)
    positions = network.positions(clips)
    each, together = positions.softmax(-1).mean(1), positions.mean(1).softmax(-1)
    assert not torch.allclose(each, together, atol=1e-3), "the two must differ for this test to say anything"
    found = network.scores(clips, lambda logits: logits.softmax(-1))
    assert torch.allclose(found, each if score_first else together, atol=1e-6)


def test_shift() -> None:
    x = torch.arange(1.0, 1 + 2 * 3 * SHIFTED).reshape(2 * 3, SHIFTED, 1, 1)
    found, clips = shifted(x, 3).reshape(2, 3, SHIFTED), x.reshape(2, 3, SHIFTED)
    assert found[:, :2, 0].equal(clips[:, 1:, 0]) and not found[:, 2, 0].any()
    assert found[:, 1:, 1].equal(clips[:, :2, 1]) and not found[:, 0, 1].any()
    assert found[:, :, 2:].equal(clips[:, :, 2:])


@pytest.mark.parametrize(
    ("rules", "expected"),
    [(SLOWFAST_PYSLOWFAST, [0, 4, 8, 13, 17, 22, 26, 31]), (SLOWFAST_MMACTION, [0, 4, 8, 12, 16, 20, 24, 28])],
    ids=["PySlowFast", "mmaction2"],
)
def test_slow_frames(rules: object, expected: list[int]) -> None:
    plan = PLANS["slowfast-r50-8x8"]
    shapes = tuple(Shape(stem=1, kernels=((1,),) * 4, width=width) for width in (8, 2))
    network = SlowFast(plan, rules, 3, 2, shapes, ((1, 1, 1, 1), (1, 1, 1, 1)), 7)  # type: ignore[arg-type]
    frames = torch.arange(32.0).reshape(1, 1, 32, 1, 1)
    assert network.slow_frames(frames).flatten().tolist() == expected


def test_deep_stages_stop_spanning_frames_where_the_file_says() -> None:
    plan = Shape(stem=1, kernels=((1,), (1,), (3,), (3,)), width=2, non_local=((), (1,), (), ()))
    blocks = (1, 2, 9, 1)
    filed = Pathway(replace(plan, spanning=7, non_local=((), (0,), (5,), ())), 3, blocks).state_dict()
    found = as_filed(plan, filed, "")
    assert (found.spanning, found.non_local) == (7, ((), (0,), (5,), ()))
    Pathway(found, 3, blocks).load_state_dict(filed)
    # A network without them has none, whatever the file holds: strict loading will say so.
    assert as_filed(replace(plan, non_local=((),) * 4), filed, "").non_local == ((),) * 4


@pytest.mark.parametrize("time_first", [True, False])
def test_factorised_order(time_first: bool) -> None:
    block = Factorised(2, 3, 4, (3, 5, 5), (2, 2, 2), time_first=time_first)
    assert block.time.weight.shape == ((3, 2, 3, 1, 1) if time_first else (4, 3, 3, 1, 1))
    assert block(torch.randn(1, 2, 4, 8, 8)).shape == (1, 4, 2, 4, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sigmoid_is_the_same_wherever_a_number_lies(dtype: torch.dtype) -> None:
    for row in torch.randn(200, 31, generator=torch.Generator().manual_seed(0)).to(dtype):
        first, second = sigmoid(row.repeat(2, 1))  # 62 numbers: most of the second half fill no vector
        assert torch.equal(first, second)
        assert torch.allclose(first.double(), row.double().sigmoid(), rtol=1e-6 if dtype == torch.float32 else 1e-2)


def test_equal_size() -> None:
    """The numbers of R(2+1)D's paper for its stem and its first and second stage."""
    assert (equal_size(3, 64, 49), equal_size(64, 64, 9), equal_size(64, 128, 9)) == (83, 144, 230)


@pytest.mark.parametrize("length", range(1, 12))
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (2, 2), (3, 1)])
def test_same_maximum(length: int, kernel: int, stride: int) -> None:
    """As TensorFlow pads: the output's length is the input's over the stride, rounded up, the odd place is behind."""
    x = torch.rand(1, 1, 1, 1, length)
    outputs = -(-length // stride)
    total = max((outputs - 1) * stride + kernel - length, 0)
    padded = F.pad(x, (total // 2, total - total // 2))
    expected = F.max_pool3d(padded, (1, 1, kernel), (1, 1, stride))
    assert same_max(x, (1, 1, kernel), (1, 1, stride)).equal(expected)
    assert expected.shape[-1] == outputs


def test_rename_goes_through_the_rows_in_turn() -> None:
    state = {"layer1.0.conv1.weight": torch.zeros(1), "fc.bias": torch.ones(1)}
    rows = ((r"^layer1\.", "stages.0."), (r"\.conv1\.", ".a."), (r"^fc\.", "head."))
    assert list(rename(state, rows)) == ["stages.0.0.a.weight", "head.bias"]


def test_two_keys_for_one_tensor() -> None:
    state = {"a.weight": torch.zeros(1), "b.weight": torch.zeros(1)}
    with pytest.raises(ModelError, match="same tensor"):
        rename(state, ((r"^[ab]\.", "c."),))


def test_choose() -> None:
    state = {"backbone.conv1.conv.weight": torch.zeros(1)}
    assert choose((PYSLOWFAST, PYTORCHVIDEO, MMACTION), state, "slow-r50-8x8") is MMACTION
    with pytest.raises(ModelError, match="no format slow-r50-8x8"):
        choose((PYSLOWFAST, PYTORCHVIDEO), state, "slow-r50-8x8")


def test_count() -> None:
    assert count(["s.0.a.w", "s.0.b.w", "s.1.a.w", "t.5.a"], "s.") == 2


@pytest.mark.parametrize("time_first", [False, True])
def test_folded_norms_change_nothing(time_first: bool) -> None:
    torch.manual_seed(2)
    middle = Factorised(6, 5, 6, (3, 3, 3), (1, 2, 2), time_first=time_first)
    network = nn.Sequential(ConvNorm(3, 6, (3, 3, 3)), Bottleneck(6, 6, 8, stride=(1, 2, 2), middle=middle)).eval()
    flat = Bottleneck2d(6, 4, 2, shift=True).eval()
    for value in (*network.buffers(), *flat.buffers()):
        if value.is_floating_point():
            value.uniform_(0.3, 3)
    clips, pictures = torch.randn(2, 3, 4, 8, 8), torch.randn(4, 6, 8, 8)
    with torch.no_grad():
        before = network(clips), flat(pictures, 2)
        for made in (network, flat):
            fold_norms(made)
            assert not [module for module in made.modules() if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d)]
        torch.testing.assert_close((network(clips), flat(pictures, 2)), before, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scores", [1, 40, 700, 1 << 20])  # one row at a time; rows; heads; all at once
@pytest.mark.parametrize("biased", [False, True])
def test_attention_in_bfloat16_is_that_of_float32(scores: int, biased: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(3)
    monkeypatch.setattr(transformer, "SCORES", scores)
    q, k, v = torch.randn(2, 3, 17, 8), torch.randn(2, 3, 13, 8), torch.randn(2, 3, 13, 5)
    bias = torch.randn(1, 3, 17, 13) if biased else None
    q, k, v = (each.bfloat16() for each in (q, k, v))
    found = transformer.attend(q, k, v, scale=0.7, bias=None if bias is None else bias.bfloat16())
    products = 0.7 * q.float() @ k.float().transpose(-1, -2)
    expected = (products if bias is None else products + bias).softmax(-1) @ v.float()
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=0.05, atol=0.03)


@pytest.mark.parametrize(("deviation", "bound"), [(1, 0.007), (8, 0.02)])
def test_rounded_products_cost_attention_as_little_as_told(deviation: float, bound: float) -> None:
    torch.manual_seed(4)
    q, k, v = (torch.randn(1, 4, 392, 64) for _ in range(3))
    q, k, v = (each.bfloat16() for each in (deviation * q, k, v))
    expected = (q.double() @ k.double().transpose(-1, -2) / 8).softmax(-1) @ v.double()
    difference = transformer.attend(q, k, v).double() - expected
    assert (difference.square().mean() / expected.square().mean()).sqrt() < bound


def test_products_too_large_for_plain_powers_are_left_to_the_kernel() -> None:
    torch.manual_seed(5)
    q, k, v = (torch.randn(2, 3, 50, 64) for _ in range(3))
    q[0, :, ::2] *= 200  # powers without end
    q[1, 0], k[1, 0] = 30, -30  # none above 0
    q, k, v = (each.bfloat16() for each in (q, k, v))
    found = transformer.attend(q, k, v)
    expected = (q.double() @ k.double().transpose(-1, -2) / 8).softmax(-1) @ v.double()
    torch.testing.assert_close(found.double(), expected, rtol=0.05, atol=0.03)
    assert torch.equal(found[1, 1:], transformer.attend(q[1:], k[1:], v[1:])[0, 1:]), "others change nothing"
    assert transformer.attend(q * torch.nan, k, v).isnan().all()


def test_attention_in_bfloat16_learns() -> None:
    torch.manual_seed(7)
    q, k, v = (torch.randn(1, 2, 30, 16, requires_grad=True) for _ in range(3))
    slopes = []
    for given in ((q, k, v), tuple(each.bfloat16() for each in (q, k, v))):
        slopes.append(torch.autograd.grad(transformer.attend(*given).float().square().sum(), (q, k, v)))
    torch.testing.assert_close(slopes[1], slopes[0], rtol=0.05, atol=0.03)


@pytest.mark.parametrize("scores", [40, 700, 1 << 20])
def test_attention_does_not_depend_on_the_place_in_the_batch(scores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(6)
    monkeypatch.setattr(transformer, "SCORES", scores)
    q, k, v = torch.randn(5, 3, 17, 8), torch.randn(5, 3, 13, 8), torch.randn(5, 3, 13, 5)
    q, k, v, bias = (each.bfloat16() for each in (q, k, v, torch.randn(1, 3, 17, 13)))
    for added in (None, bias):
        together = transformer.attend(q, k, v, bias=added)
        turned = transformer.attend(q.flip(0), k.flip(0), v.flip(0), bias=added)
        assert torch.equal(turned.flip(0), together)


def test_a_bias_is_not_copied_for_every_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transformer, "SCORES", 1 << 12)
    q = torch.randn(64, 3, 32, 4).bfloat16()
    with Largest() as made:
        transformer.attend(q, q, q, bias=torch.randn(1, 3, 32, 32).bfloat16())
    assert q.numel() <= made.elements < 2 * q.numel()
