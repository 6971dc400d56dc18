"""Means of an epoch's losses: read when the next one is there, and never after a checkpoint was written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from medtrain.task.means import EpochMeans, Losses

CPU = torch.device("cpu")


class OnItsWay:
    """Stands for a GPU's event: numbers can be read once somebody has waited for them."""

    def __init__(self) -> None:
        self.waited = False

    def synchronize(self) -> None:
        self.waited = True


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> list[OnItsWay]:
    """Let losses come as from a GPU; gives the events in order."""
    events: list[OnItsWay] = []
    send = Losses.send

    def later(parts: Mapping[str, Tensor], weight: float, place: str) -> Any:
        events.append(OnItsWay())
        return replace(send(parts, weight, place), arrived=events[-1])  # type: ignore[arg-type]

    monkeypatch.setattr(Losses, "send", later)
    return events


def losses(value: float) -> dict[str, Tensor]:
    return {"train_loss": torch.tensor(value), "train_box": torch.tensor(value / 2)}


def test_means_weigh_batches_by_their_cases() -> None:
    means = EpochMeans()
    means.add(losses(1.0), 3, "epoch 0, batch 0")
    means.add(losses(5.0), 1, "epoch 0, batch 1")
    assert means.close(CPU) == {"train_loss": 2.0, "train_box": 1.0}
    assert means.state(CPU) == {"weight": 0.0, "sums": {}}


def test_a_loss_is_waited_for_when_the_next_one_is_there(late: list[OnItsWay]) -> None:
    means = EpochMeans()
    means.add(losses(1.0), 1, "epoch 0, batch 0")
    assert not late[0].waited
    means.add(losses(3.0), 1, "epoch 0, batch 1")
    assert late[0].waited and not late[1].waited
    assert means.state(CPU)["sums"] == {"train_loss": 4.0, "train_box": 2.0}, "a checkpoint has all losses so far"
    assert late[1].waited


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_is_named_before_a_checkpoint(late: list[OnItsWay], value: float) -> None:
    means = EpochMeans()
    means.add(losses(value), 1, "epoch 2, batch 7")
    with pytest.raises(FloatingPointError, match=r"the loss is (nan|inf) at epoch 2, batch 7"):
        means.state(CPU)


def test_on_a_cpu_it_is_named_at_once() -> None:
    with pytest.raises(FloatingPointError, match="epoch 0, batch 4"):
        EpochMeans().add(losses(float("nan")), 1, "epoch 0, batch 4")
