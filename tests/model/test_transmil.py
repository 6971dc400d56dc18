"""TransMIL against the papers' equations, a bag, a head and a token at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_offsets
from medtrain.model.transmil import ALONG, KERNELS, NystromAttention, TransMil, pseudoinverse, transmil
from medtrain.target import DataSpec

LENGTHS = [5, 1, 19, 9]
SPECS = [DataSpec.of("binary", ("0", "1"), 6), DataSpec.of("multiclass", ("a", "b", "c"), 6)]
BAGS = Packed(torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(1)), segment_offsets(LENGTHS))


def network(spec: DataSpec, landmarks: int | None = None) -> TransMil:
    torch.manual_seed(0)
    built: TransMil = transmil(spec, hidden=[12], heads=2, landmarks=landmarks).eval()
    return built


def attention(layer: NystromAttention, x_TC: Tensor) -> tuple[Tensor, Tensor]:
    """Nystrom attention a head at a time, with the true pseudoinverse; the tokens, and the attention itself."""
    tokens, width = x_TC.shape
    side = width // layer.heads
    mean, var = x_TC.mean(1, keepdim=True), x_TC.var(1, keepdim=True, unbiased=False)
    normed = (x_TC - mean) / (var + layer.norm.eps).sqrt() * layer.norm.weight + layer.norm.bias
    q_TC, k_TC, v_TC = (normed @ part.T for part in layer.qkv.weight.split(width))
    columns, whole = [], []
    for head in range(layer.heads):
        of_head = slice(head * side, (head + 1) * side)
        q, k, v = q_TC[:, of_head] / math.sqrt(side), k_TC[:, of_head], v_TC[:, of_head]
        if tokens <= layer.landmarks:
            weights = torch.softmax(q @ k.T, 1)
        else:
            runs = [[t for t in range(tokens) if t * layer.landmarks // tokens == m] for m in range(layer.landmarks)]
            assert max(map(len, runs)) - min(map(len, runs)) <= 1
            q_few = torch.stack([q[run].mean(0) for run in runs])
            k_few = torch.stack([k[run].mean(0) for run in runs])
            middle = pseudoinverse(torch.softmax(q_few @ k_few.T, 1)[None])[0]
            weights = torch.softmax(q @ k_few.T, 1) @ middle @ torch.softmax(q_few @ k.T, 1)
        along = torch.zeros_like(v)
        for t in range(tokens):
            for step in range(ALONG):
                if 0 <= t + step - ALONG // 2 < tokens:
                    along[t] += layer.along.weight[head, 0, step, 0] * v[t + step - ALONG // 2]
        columns.append(weights @ v + along)
        whole.append(weights)
    return x_TC + torch.cat(columns, 1) @ layer.out.weight.T + layer.out.bias, torch.stack(whole).mean(0)


def pyramid(net: TransMil, x_SC: Tensor) -> Tensor:
    """What PPEG makes of tokens in a square, a position at a time."""
    side, out = math.isqrt(len(x_SC)), x_SC.clone()
    for conv, kernel in zip(net.pyramid.convs, KERNELS, strict=True):
        for row in range(side):
            for column in range(side):
                out[row * side + column] += conv.bias
                for i in range(kernel):
                    for j in range(kernel):
                        y, x = row + i - kernel // 2, column + j - kernel // 2
                        if 0 <= y < side and 0 <= x < side:
                            out[row * side + column] += conv.weight[:, 0, i, j] * x_SC[y * side + x]
    return out


def reference(net: TransMil, x_nD: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of one bag, and the class token's attention to its instances."""
    h = net.embed(x_nD)
    n, side = len(h), math.ceil(math.sqrt(len(h)))
    order = [s % n for s in range(side * side)]
    x, _ = attention(net.before, torch.cat([net.first[None], h[order]]))
    x, weights = attention(net.after, torch.cat([x[:1], pyramid(net, x[1:])]))
    of_instances = torch.zeros(n)
    for s, instance in enumerate(order):
        of_instances[instance] += weights[0, 1 + s].clamp(min=0)
    return net.head(net.norm(x[0])), of_instances / of_instances.sum()


@pytest.mark.parametrize("landmarks", [None, 4, 100])
@pytest.mark.parametrize("spec", SPECS)
@torch.no_grad()
def test_logits_and_attention_are_those_of_the_equations_for_each_bag_alone(
    spec: DataSpec, landmarks: int | None
) -> None:
    net = network(spec, landmarks)
    evidence = net.evidence(BAGS)
    parts = zip(BAGS.x.split(LENGTHS), evidence.logits, evidence.weights[:, 0].split(LENGTHS), strict=True)
    for part, logits, weights in parts:
        expected_logits, expected_weights = reference(net, part)
        torch.testing.assert_close(logits, expected_logits, rtol=0, atol=2e-6)
        torch.testing.assert_close(weights, expected_weights, rtol=0, atol=2e-6)
    torch.testing.assert_close(net(BAGS.alone(2))[0], net(BAGS)[2], rtol=0, atol=1e-6)


def test_the_inverse_is_that_of_moore_and_penrose() -> None:
    draw = torch.Generator().manual_seed(0)
    a = (torch.randn(2, 8, 8, generator=draw) + 4 * torch.eye(8)).softmax(2)
    a[1] = a[1, :1].clone()  # of rank 1, which has no inverse
    expected = np.linalg.pinv(a.double().numpy(), rcond=1e-6)
    torch.testing.assert_close(pseudoinverse(a), torch.from_numpy(expected).float(), rtol=0, atol=1e-4)


def test_it_depends_on_order_and_says_so() -> None:
    net = network(SPECS[0])
    turned = Packed(torch.cat([part.flip(0) for part in BAGS.x.split(LENGTHS)]), BAGS.offsets)
    assert (net(turned) - net(BAGS)).abs().max() > 1e-4
    assert "depends on the order" in net.remark
    assert not net.additive and net.attends


def test_every_weight_learns() -> None:
    net = network(SPECS[1], landmarks=4).train()
    nn.functional.cross_entropy(net(BAGS), torch.tensor([0, 1, 2, 0])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())


def test_twenty_thousand_instances_with_gradients_in_half_precision() -> None:
    net = transmil(DataSpec.of("binary", ("0", "1"), 6), hidden=[16], heads=2).train()
    bags = Packed(torch.randn(20_000, 6), torch.tensor([0, 20_000]))
    with torch.autocast("cpu", torch.bfloat16):
        logits = net(bags)
    logits.float().sum().backward()
    assert torch.isfinite(logits).all() and all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_heads_that_divide_no_width_are_refused() -> None:
    with pytest.raises(UsageError, match="model.heads=5 doesn't divide the tokens' width, 12"):
        transmil(SPECS[0], hidden=[12], heads=5)
    with pytest.raises(UsageError, match="at least one layer"):
        transmil(SPECS[0], hidden=[])
