"""Learning rates by hand."""

import math

import pytest
import torch

from medtrain.core.errors import UsageError
from medtrain.scheduler import constant, cosine


def rates(schedule, steps, **kw):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    scheduler = schedule(optimizer, steps, **kw)
    found = []
    for _ in range(steps + 2):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_cosine_by_hand():
    found = rates(cosine, 10, warmup=0.2, floor=0.1)
    assert found[:3] == pytest.approx([1.0, 2.0, 2.0])
    assert found[4] == pytest.approx(2 * (0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi / 4))))
    assert found[6] == pytest.approx(2 * 0.55)
    assert found[10:] == pytest.approx([0.2, 0.2])


def test_cosine_without_warmup_and_of_one_step():
    assert rates(cosine, 4, warmup=0.0)[:5] == pytest.approx([2.0, 1 + math.sqrt(0.5), 1.0, 1 - math.sqrt(0.5), 0.0])
    assert rates(cosine, 1)[0] == 2.0


def test_constant():
    assert rates(constant, 5) == [2.0] * 7


def test_a_restored_schedule_goes_on():
    def make():
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        return optimizer, cosine(optimizer, 20)

    (first, schedule), (second, restored) = make(), make()
    for _ in range(7):
        first.step()
        schedule.step()
    second.load_state_dict(first.state_dict())
    restored.load_state_dict(schedule.state_dict())
    for optimizer, s in ((first, schedule), (second, restored)):
        optimizer.step()
        s.step()
    assert first.param_groups[0]["lr"] == second.param_groups[0]["lr"] == schedule.get_last_lr()[0]


@pytest.mark.parametrize("wrong", [{"warmup": 1.0}, {"warmup": -0.1}, {"floor": 1.5}])
def test_shares_are_shares(wrong):
    with pytest.raises(UsageError, match="share"):
        rates(cosine, 10, **wrong)
