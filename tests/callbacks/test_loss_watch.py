"""Losses that explode are told once; those that rise a little, or from nearly nothing, are not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from medtrain.callbacks import LossWatch
from medtrain.task.means import EpochMeans


def watched(
    losses: list[float], watch: LossWatch | None = None, **trainer: Any
) -> tuple[list[str], list[dict[str, Any]]]:
    texts: list[str] = []
    facts: list[dict[str, Any]] = []
    watch = watch or LossWatch()
    watch.report, watch.warn = lambda **told: facts.append(told["loss_exploded"]), texts.append
    of: Any = {"accumulate_grad_batches": 1, "current_epoch": 0, "is_global_zero": True} | trainer
    for step, loss in enumerate(losses, start=1):
        task = SimpleNamespace(means=EpochMeans())
        whole = torch.tensor(loss * of["accumulate_grad_batches"], dtype=torch.float64)  # Lightning divides it later
        task.means.add({"train_loss": whole}, 1, f"batch {step}")
        watch.on_train_batch_end(SimpleNamespace(**of, global_step=step), task, None, None, 0)
    return texts, facts


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ([2.0] * 10 + [285.0] * 5, 11),  # in the first steps already
        ([2.0] * 30 + [285.0], 31),
        ([2.0] * 30 + [0.3] * 100 + [9.0] * 30, 132),  # it had learned something
        ([3.0] * 25 + [30.0 * 1.5**n for n in range(10)], 28),
    ],
)
def test_an_explosion_is_told_once_with_its_step(losses: list[float], step: int) -> None:
    texts, facts = watched(losses)
    assert len(texts) == len(facts) == 1
    assert facts[0]["step"] == step and facts[0]["text"] == texts[0] and "optimizer.lr" in texts[0]
    assert facts[0]["loss"] == pytest.approx(losses[step - 1])


@pytest.mark.parametrize(
    "losses",
    [
        [0.0] * 40 + [0.9] * 40,  # batches without a lesion, then with
        [2.0, 1.8, 3.5, 2.2] * 20,
        [2.0] * 30 + [15.0] + [2.0] * 30,  # one odd batch
        [5.0 * 0.9**n for n in range(200)] + [0.5] * 20,
        [-2.0, -1.5, 1.0] * 20,
    ],
)
def test_what_is_usual_is_not_told(losses: list[float]) -> None:
    assert watched(losses) == ([], [])


def test_accumulated_batches_count_whole_and_a_resumed_run_remembers() -> None:
    _, facts = watched([0.5] * 30 + [70.0], accumulate_grad_batches=4)
    assert facts[0]["loss"] == 280.0 and facts[0]["before"] == pytest.approx(2.0)
    before = LossWatch()
    watched([2.0] * 30, before)
    after = LossWatch()
    after.load_state_dict(before.state_dict())
    assert len(watched([285.0], after)[0]) == 1
    again = LossWatch()
    again.load_state_dict(after.state_dict())
    assert watched([900.0], again) == ([], [])
    assert watched([2.0] * 30 + [285.0], is_global_zero=False) == ([], [])
