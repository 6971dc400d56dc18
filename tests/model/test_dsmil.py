"""DSMIL against its equations, a bag at a time."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtrain.core.segments import Packed, segment_offsets
from medtrain.model.dsmil import DualStream, dsmil
from medtrain.target import DataSpec

LENGTHS = [4, 1, 9]
SPECS = [DataSpec.of("binary", ("0", "1"), 6), DataSpec.of("multiclass", ("a", "b", "c"), 6)]
BAGS = Packed(torch.randn(sum(LENGTHS), 6, generator=torch.Generator().manual_seed(1)), segment_offsets(LENGTHS))


def network(spec: DataSpec) -> DualStream:
    torch.manual_seed(0)
    built: DualStream = dsmil(spec, hidden=[5], queries=4).eval()
    return built


@pytest.mark.parametrize("spec", SPECS)
def test_logits_are_those_of_the_equations_for_each_bag_alone(spec: DataSpec) -> None:
    net, expected = network(spec), []
    for part in BAGS.x.split(LENGTHS):
        h = net.embed(part)
        scores, q = net.head(h), torch.tanh(net.weigh.query[0](h))
        logits = []
        for k in range(spec.n_logits):
            m = int(scores[:, k].argmax())
            weights = torch.softmax(q @ q[m] / 2, 0)  # the square root of 4 queries
            bag = weights @ h
            logits.append((scores[m, k] + bag @ net.values.weight[k] + net.values.bias[k]) / 2)
        expected.append(torch.stack(logits))
    torch.testing.assert_close(net(BAGS), torch.stack(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("spec", SPECS)
def test_contributions_sum_to_logits_weights_to_one_and_order_does_not_matter(spec: DataSpec) -> None:
    net = network(spec)
    evidence = net.evidence(BAGS)
    for parts, weights, logits in zip(
        evidence.contributions.split(LENGTHS), evidence.weights.split(LENGTHS), evidence.logits, strict=True
    ):
        torch.testing.assert_close(parts.sum(0), logits, rtol=0, atol=1e-6)
        torch.testing.assert_close(weights.sum(0), torch.ones(weights.shape[1]))
    shuffled = torch.cat([part[torch.randperm(len(part))] for part in BAGS.x.split(LENGTHS)])
    torch.testing.assert_close(net(Packed(shuffled, BAGS.offsets)), net(BAGS), rtol=0, atol=1e-6)
    torch.testing.assert_close(net(BAGS.alone(2))[0], net(BAGS)[2], rtol=0, atol=1e-6)


def test_every_weight_learns() -> None:
    net = network(SPECS[1]).train()
    nn.functional.cross_entropy(net(BAGS), torch.tensor([0, 1, 2])).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in net.parameters())
