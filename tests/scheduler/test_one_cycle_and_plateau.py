"""One cycle against its own cosines, plateau against hand-made metrics; both go on after a restart."""

import math

import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.scheduler import Plateau, one_cycle


def sgd(**more):
    weights = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (2.0, 0.5)]
    return torch.optim.SGD(weights, lr=1.0, **more)


def test_one_cycle_by_hand():
    optimizer = sgd(momentum=0.9)
    schedule = one_cycle(optimizer, 11, warmup=0.4, start=0.1, floor=0.05)
    rates, momenta = [], []
    for _ in range(11):
        rates.append([group["lr"] for group in optimizer.param_groups])
        momenta.append(optimizer.param_groups[0]["momentum"])
        optimizer.step()
        schedule.step()
    up = 0.4 * 11 - 1  # torch counts the steps before the peak
    first = [r[0] for r in rates]
    assert first[0] == pytest.approx(0.2) and max(first) == pytest.approx(2.0, rel=0.05)
    assert first[1] == pytest.approx(2.0 + (0.2 - 2.0) / 2 * (1 + math.cos(math.pi / up)))
    assert first[10] == pytest.approx(0.1)
    assert [r[1] for r in rates] == pytest.approx([r / 4 for r in first])  # each group its own peak
    assert momenta[0] == pytest.approx(0.95) and min(momenta) == pytest.approx(0.85, abs=0.01)


def test_one_cycle_of_optimizers_with_and_without_momentum():
    adam = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    one_cycle(adam, 5)
    assert adam.param_groups[0]["betas"] == (0.95, 0.999)
    plain = sgd()
    one_cycle(plain, 5)
    assert plain.param_groups[0]["momentum"] == 0


@pytest.mark.parametrize("wrong", [{"warmup": 1.0}, {"start": 0.0}, {"start": 2.0}, {"start": 0.1, "floor": 0.2}])
def test_shares_of_one_cycle(wrong):
    with pytest.raises(UsageError, match=r"scheduler\."):
        one_cycle(sgd(), 10, **wrong)


def test_plateau_by_hand():
    optimizer = sgd()
    schedule = Plateau(optimizer, mode="max", factor=0.1, patience=1)
    rates = []
    for value in (0.5, 0.6, 0.6, 0.55, 0.7, 0.7, 0.7):
        schedule.step(value)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([2, 2, 2, 0.2, 0.2, 0.2, 0.02]) and schedule.monitor == "val_auroc"
    for wrong in ({"factor": 1.0}, {"mode": "up"}):
        with pytest.raises(UsageError):
            Plateau(optimizer, **wrong)
