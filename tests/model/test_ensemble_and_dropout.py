"""Several networks as one, and one network asked several times."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.model import Ensemble, check_passes, densenet121, dropout_passes, efficientnet_b0, members_of, resnet18
from medtrain.model.dropout import dropouts
from medtrain.model.head import Head
from medtrain.target import DataSpec

SPEC = DataSpec.of("binary", ("0", "1"), 1, (32, 32))


def small(dropout: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), dropout or nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(6, 2)).eval()


def test_members_keep_their_own_logits_and_travel_with_their_temperatures() -> None:
    one, other, x = (
        small(),
        resnet18(DataSpec.of("multilabel", ("a", "b"), 1, (32, 32))).eval(),
        torch.rand(3, 1, 32, 32),
    )
    both = Ensemble([one, other], [1.5, 0.7]).eval()
    torch.testing.assert_close(both(x), torch.stack([one(x), other(x)], 1))
    assert members_of(both) == [one, other] and members_of(one) == [one]
    again = Ensemble([small(), resnet18(DataSpec.of("multilabel", ("a", "b"), 1, (32, 32)))])
    again.load_state_dict(both.state_dict())
    assert again.temperatures.tolist() == [1.5, 0.7] and torch.equal(again.eval()(x), both(x))
    with pytest.raises(ValueError, match="temperatures"):
        Ensemble([one], [1.0, 2.0])


def test_the_spread_of_passes_is_that_of_the_formula() -> None:
    """A linear head on features x with dropout p: Var = p / (1 - p) * sum (w x)^2, the mean is that without dropout."""
    head, x = Head(5, 1, 0.3).eval(), torch.rand(2, 5)
    with torch.no_grad():
        found = dropout_passes(head, x, [(0,), (1,)], 6000)[:, :, 0]
        torch.testing.assert_close(found.mean(1), head(x)[:, 0], atol=0.02, rtol=0)
        expected = (0.3 / 0.7 * (head.weight * x).square().sum(1)).sqrt()
    torch.testing.assert_close(found.std(1), expected, atol=0, rtol=0.05)


@pytest.mark.parametrize("kind", [nn.Dropout, nn.Dropout2d])
def test_a_case_draws_its_own_masks_whatever_the_batch(kind: type[nn.Module]) -> None:
    network, x = small(kind(0.5)), torch.rand(4, 1, 8, 8)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with torch.no_grad():
        whole = dropout_passes(network, x, [(7,), (8,), (9,), (3,)], 4, seed=1)
        part = dropout_passes(network, x[[2, 0]], [(9,), (7,)], 4, seed=1)
        torch.testing.assert_close(part, whole[[2, 0]])
        assert whole.shape == (4, 4, 2) and (whole.std(1) > 0).all()
        assert not torch.equal(dropout_passes(network, x, [(7,), (8,), (9,), (3,)], 4, seed=2), whole)
    assert not any(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())  # nor batch norm


def test_whole_channels_are_dropped_together() -> None:
    x = torch.ones(3, 8, 2, 2)
    found = dropout_passes(nn.Dropout2d(0.5).eval(), x, [(0,), (1,), (2,)], 5)
    assert (found.flatten(3).amax(3) == found.flatten(3).amin(3)).all() and set(found.unique().tolist()) == {0.0, 2.0}


def test_who_can_be_asked_with_dropout() -> None:
    for build, count in ((resnet18, 1), (densenet121, 1), (efficientnet_b0, 1)):
        assert len(dropouts(build(SPEC, dropout=0.2))) == count  # the random depth of EfficientNet stays off
        check_passes(build(SPEC), 0)
        with pytest.raises(UsageError, match="eval.mc_dropout=20: the network has no dropout"):
            check_passes(build(SPEC), 20)
    with pytest.raises(UsageError, match="one pass has no spread"):
        check_passes(resnet18(SPEC, dropout=0.2), 1)
