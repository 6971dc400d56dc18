"""CLAM against its equations, a bag at a time with plain loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from medtrain.core.segments import Packed, segment_offsets
from medtrain.model.clam import Clam, clam_mb, clam_sb
from medtrain.target import DataSpec

LENGTHS = [4, 1, 9, 2]
TARGETS = {
    "binary": (DataSpec.of("binary", ("0", "1"), 6), torch.tensor([[0.0], [1], [1], [0]])),
    "multiclass": (DataSpec.of("multiclass", ("a", "b", "c"), 6), torch.tensor([0, 2, 1, 1])),
    "multilabel": (DataSpec.of("multilabel", ("a", "b"), 6), torch.tensor([[0.0, 1], [1, 1], [torch.nan, 0], [0, 0]])),
}
BAGS = Packed(torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(1)), segment_offsets(LENGTHS))


def network(builder, kind: str) -> Clam:  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    built: Clam = builder(TARGETS[kind][0], hidden=[5], attention=4, chosen=2).eval()
    return built


def attention(net: Clam, h_nH: Tensor) -> Tensor:
    """Equation 1 of the paper before the softmax, (n, branches)."""
    weigh = net.weigh
    return (torch.tanh(weigh.tanh(h_nH)) * torch.sigmoid(weigh.gate(h_nH))) @ weigh.score.weight.T


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("builder", [clam_sb, clam_mb])
def test_logits_are_those_of_the_equations_for_each_bag_alone(builder, kind: str) -> None:  # type: ignore[no-untyped-def]
    net = network(builder, kind)
    expected = []
    for part in BAGS.x.split(LENGTHS):
        h = net.embed(part)
        a = attention(net, h).softmax(0)
        if builder is clam_sb:
            expected.append(net.head((a * h).sum(0)))
            continue
        heads = [(a[:, m, None] * h).sum(0) @ net.head.weight[m] + net.head.bias[m] for m in range(a.shape[1])]
        logits = torch.stack(heads)
        expected.append(logits[1:] - logits[:1] if kind == "binary" else logits)
    torch.testing.assert_close(net(BAGS), torch.stack(expected), rtol=0, atol=1e-6)
    evidence = net.evidence(BAGS)
    for parts, weights, logits in zip(
        evidence.contributions.split(LENGTHS), evidence.weights.split(LENGTHS), evidence.logits, strict=True
    ):
        torch.testing.assert_close(parts.sum(0), logits, rtol=0, atol=1e-6)
        torch.testing.assert_close(weights.sum(0), torch.ones(weights.shape[1]))


def svm(score: float, right: float) -> float:
    """The smooth SVM loss of two classes whose scores differ by `score`: temperature and margin 1."""
    return math.log(1 + math.exp(1 - (score if right else -score)))


@pytest.mark.parametrize("kind", TARGETS)
@pytest.mark.parametrize("builder", [clam_sb, clam_mb])
def test_the_instance_loss_is_that_of_a_loop_over_bags_and_classes(builder, kind: str) -> None:  # type: ignore[no-untyped-def]
    net, y = network(builder, kind), TARGETS[kind][1]
    losses = []
    for number, part in enumerate(BAGS.x.split(LENGTHS)):
        h = net.embed(part)
        scores, ranked = net.instances(h), attention(net, h)
        for m in range(net.branches):
            if kind == "multiclass":
                present = float(y[number] == m)
            else:
                present = float(y[number, 0] == m) if kind == "binary" else float(y[number, m])
            order = ranked[:, m if ranked.shape[1] > 1 else 0].argsort(descending=True).tolist()
            half = len(part) // 2
            top, bottom = order[: min(2, max(1, half))], order[len(order) - min(2, half) :]
            if present == 1:
                losses += [svm(float(scores[n, m]), 1) for n in top] + [svm(float(scores[n, m]), 0) for n in bottom]
            elif present == 0 and kind != "binary":
                losses += [svm(float(scores[n, m]), 0) for n in top]
    evidence = net.evidence(BAGS)
    parts = net.losses(evidence, torch.tensor(2.0), y)
    assert parts["instances"].item() == pytest.approx(0.3 * sum(losses) / len(losses), abs=1e-6)
    assert parts["loss"].item() == pytest.approx(0.7 * 2)


@pytest.mark.parametrize("builder", [clam_sb, clam_mb])
def test_order_does_not_matter_and_every_weight_learns(builder) -> None:  # type: ignore[no-untyped-def]
    net, y = network(builder, "binary"), TARGETS["binary"][1]
    shuffled = torch.cat([part[torch.randperm(len(part))] for part in BAGS.x.split(LENGTHS)])
    torch.testing.assert_close(net(Packed(shuffled, BAGS.offsets)), net(BAGS), rtol=0, atol=1e-6)
    evidence = net.train().evidence(BAGS)
    bag_loss = nn.functional.binary_cross_entropy_with_logits(evidence.logits, y)
    torch.stack(list(net.losses(evidence, bag_loss, y).values())).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
