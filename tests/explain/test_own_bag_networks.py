"""Explanations of networks for bags that aren't medtrain's own, or whose logits are no sum over instances."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from medtrain.core.errors import UsageError
from medtrain.core.segments import Packed, segment_sum
from medtrain.explain.bags import METHODS, attention, contribution, gradient, instance_scores, methods, remarks
from medtrain.model import Ensemble, gated_attention_mil, mean_mil, transmil
from medtrain.target import DataSpec

BAG = Packed(torch.randn(7, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 7]))
SPEC = DataSpec.of("binary", ("no", "yes"), 5)
YES, NO = torch.tensor([1]), torch.tensor([0])


class Own(nn.Module):
    """The mean of linear scores."""

    def __init__(self, logits: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(5, logits)

    def forward(self, bags: Packed) -> Tensor:
        return segment_sum(self.linear(bags.x), bags.offsets) / bags.offsets.diff()[:, None]


class Telling(Own):
    def instance_contributions(self, bags: Packed) -> Tensor:
        return self.linear(bags.x) / len(bags.x)

    def instance_attention(self, bags: Packed) -> Tensor:
        return torch.full((len(bags.x),), 1 / len(bags.x))


class Wrong(Own):
    def instance_contributions(self, bags: Packed) -> Tensor:
        return self.linear(bags.x)[:-1]


def test_of_a_linear_network_the_gradient_is_the_contribution_but_for_the_means() -> None:
    net = Own(3)
    for number in range(3):
        seen = gradient(net, BAG, torch.tensor([number]))[0]
        exact = (net.linear(BAG.x)[:, number] / 7).detach()
        torch.testing.assert_close(seen, exact - exact.mean())


def test_the_gradient_is_what_replacing_an_instance_by_the_mean_would_cost() -> None:
    net = gated_attention_mil(SPEC, hidden=[]).double().eval()
    bag = BAG._replace(x=BAG.x.double() * 1e-3)
    close = Packed(bag.x.float(), bag.offsets)
    expected = []
    for n in range(7):
        without = bag.x.clone()
        without[n] = bag.x.mean(0)
        expected.append((net(bag) - net(bag._replace(x=without)))[0, 0])
    seen = gradient(net.float(), close, YES)[0]
    torch.testing.assert_close(seen, torch.stack(expected).float().detach(), rtol=0.02, atol=1e-7)


def test_a_network_that_says_nothing_has_the_gradient_and_that_is_told() -> None:
    net = Own()
    assert methods(net, "all") == ["gradient"]
    assert "Own doesn't say what each instance adds" in remarks(net)[0]
    torch.testing.assert_close(gradient(net, BAG, NO), -gradient(net, BAG, YES))
    with pytest.raises(UsageError, match="explain.method=attention: this network has gradient"):
        methods(net, "attention")
    scores = instance_scores(net, BAG, YES, 0.8)
    assert scores.max() == pytest.approx(0.8) and scores.min() == 0


def test_a_network_that_says_it_is_believed_and_its_shapes_are_checked() -> None:
    net = Telling()
    assert methods(net, "all") == ["attention", "contribution"] and remarks(net) == []
    torch.testing.assert_close(contribution(net, BAG, YES).sum(), net(BAG)[0, 0])
    assert attention(net, BAG, YES).sum() == pytest.approx(1)
    with pytest.raises(UsageError, match=r"Wrong.instance_contributions gives \(6, 1\) for a bag of 7 instances"):
        contribution(Wrong(), BAG, YES)


def test_an_ensemble_has_what_all_its_members_have() -> None:
    mixed = Ensemble([Own(), mean_mil(SPEC, hidden=[]).eval()])
    assert methods(mixed, "all") == ["gradient"]
    parts = torch.stack([gradient(member, BAG, YES) for member in mixed.members]).mean(0)
    torch.testing.assert_close(gradient(mixed, BAG, YES), parts)
    assert methods(Ensemble([Telling(), gated_attention_mil(SPEC)]), "all") == ["attention", "contribution"]


def test_transmil_has_attention_and_the_gradient_and_says_that_order_counts() -> None:
    net = transmil(SPEC, hidden=[8], heads=2).eval()
    assert methods(net, "all") == ["attention", "gradient"]
    assert methods(net, "gradient") == ["gradient"]
    assert any("depends on the order" in text for text in remarks(net))
    for name in methods(net, "all"):
        values = METHODS[name](net, BAG, YES)
        assert values.shape == (1, 7) and values.std() > 0
    with pytest.raises(UsageError, match="has attention and gradient"):
        methods(net, "contribution")


def test_tiles_have_no_gradient_that_means_something() -> None:
    with pytest.raises(UsageError, match="takes features, not tiles"):
        gradient(Own(), Packed(torch.zeros(2, 3, 4, 4, dtype=torch.uint8), torch.tensor([0, 2])), YES)
