"""plan and a GPU that is too small for a batch: a double of the measurement that runs out of memory."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from medtrain.command import plan as module
from medtrain.command.forecast import Forecast
from medtrain.command.plan import Plan, facts_with, fit_to_hours, fit_to_memory, no_time_for_folds
from medtrain.command.plan_words import measured
from medtrain.core.errors import UsageError
from medtrain.planning import Choice, Facts, Machine, choose

GPU = Machine(cores=8, memory_gb=64, gpu="T4", gpu_gb=15)
EXPECTED = Forecast(
    step=0.1, look=0.1, steps=10, looks=2, beside=0.0, once=1.0, start=5.0, test=2.0,
    memory_mb={"process": 2000.0}, slowed=1.0,
)  # fmt: skip


def plan(given: dict[str, Any] | None = None) -> Plan:
    facts = Facts("images", {"train": 100}, {"train": 100}, {}, GPU)
    return Plan([], given or {}, facts, {"data.batch_size": Choice("data.batch_size", 32, "4 steps an epoch of 100")})


@pytest.fixture
def composed(monkeypatch: pytest.MonkeyPatch) -> None:
    def compose(plan: Plan) -> DictConfig:
        values = {key: choice.value for key, choice in plan.choices.items()} | dict(plan.given)
        parts = values.get("trainer.accumulate_grad_batches", 1)
        return OmegaConf.create(
            {"data": {"batch_size": values["data.batch_size"]}, "trainer": {"accumulate_grad_batches": parts}}
        )

    monkeypatch.setattr(module, "configuration", compose)


def room(largest: int) -> Any:
    def measure(cfg: DictConfig) -> Forecast:
        if cfg.data.batch_size > largest:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return EXPECTED

    return measure


@pytest.mark.usefixtures("composed")
def test_a_batch_is_halved_until_it_fits_and_steps_stay_as_large() -> None:
    planned = plan()
    cfg, expected = fit_to_memory(planned, room(10))
    assert (cfg.data.batch_size, cfg.trainer.accumulate_grad_batches, expected) == (8, 4, EXPECTED)
    assert planned.choices["data.batch_size"].reason == "batches of 16 don't fit into the 15 GB of the GPU"
    assert planned.choices["trainer.accumulate_grad_batches"].reason == "steps of 32 cases, as if they had fitted"
    fits = plan()
    fit_to_memory(fits, room(32))
    assert list(fits.choices) == ["data.batch_size"]


@pytest.mark.usefixtures("composed")
def test_a_batch_that_the_person_set_is_refused() -> None:
    with pytest.raises(
        UsageError, match="data.batch_size=64 doesn't fit into the 15 GB of the GPU: take a smaller one"
    ):
        fit_to_memory(plan({"data.batch_size": 64}), room(10))
    with pytest.raises(UsageError, match="take smaller images or patches"):
        fit_to_memory(plan(), room(0))


def test_memory_that_the_machine_lacks_is_told() -> None:
    limits = OmegaConf.create({"steps": 20, "hours": 1.0})
    small, large = (measured(EXPECTED, 3, limits, 1, Machine(cores=2, memory_gb=gb)) for gb in (2.1, 16))
    assert small[-1] == "check: 2.0 GB of the 2.1 GB that this machine has"
    assert not any("that this machine has" in line for line in large)


def test_folds_that_a_person_or_their_data_have_chosen_stay() -> None:
    slow = replace(EXPECTED, steps=6000)  # 600 s an epoch: six in an hour, one of each fold
    own = plan()
    own.choices |= {
        "trainer.max_epochs": Choice("trainer.max_epochs", 50, "x"),
        "data.folds": Choice("data.folds", 5, "x"),
    }
    assert no_time_for_folds(own, slow, 1.0) == ""
    own.facts = replace(own.facts, one_split=own.facts)
    assert no_time_for_folds(own, slow, 1.0).endswith(
        "5 folds would leave 1 of 50 epochs each, plan.hours=1; one split has up to 5"
    )
    own.given = {"trainer.max_epochs": 50}
    assert no_time_for_folds(own, slow, 1.0) == ""


def test_views_go_before_epochs_and_stay_where_the_person_has_set_them() -> None:
    slow = replace(EXPECTED, test=7202.0, views=7200.0)
    for given, views, epochs in (({}, 0, 50), ({"eval.tta": 8}, None, 1)):
        own = plan(given)
        own.choices["trainer.max_epochs"] = Choice("trainer.max_epochs", 50, "x")
        own.choices |= {"eval.tta": Choice("eval.tta", 8, "x")} if not given else {}
        left = fit_to_hours(own, slow, 1, 1.0)
        assert own.choices["trainer.max_epochs"].value == epochs and left.test == (2.0 if views == 0 else 7202.0)
        assert views is None or own.choices["eval.tta"].value == views


def test_sizes_that_the_person_has_set_count_in_place_of_measured_ones() -> None:
    films = Facts("images", {"train": 1000}, {"train": 1000}, {}, GPU, size=(900, 1000))
    small = facts_with(films, {"data.image_size": 32, "data.batch_size": 100})
    choices = {choice.key: choice.value for choice in choose("image", small)}
    assert list(small.size) == [32, 32] and choices["augment"] == "small"
    assert (choices["data.batch_size"], choices["trainer.max_epochs"]) == (100, 100)  # 10 steps an epoch
    volumes = Facts("volumes", {"train": 1000}, {"train": 1000}, {}, GPU, size=(64, 64, 64), spacing=(1, 1, 1))
    patches = facts_with(volumes, {"data.patch_size": [16, 32, 32]})
    assert (list(patches.patch), list(patches.size)) == ([16, 32, 32], [64, 64, 64])
    assert {choice.key: choice.value for choice in choose("volume", patches)}["data.batch_size"] == 32
    for spacing, size in ((2, [32, 32, 32]), ([0.5, 1, 2], [128, 64, 32])):
        spaced = facts_with(volumes, {"data.spacing": spacing})
        assert list(spaced.size) == size and spaced.spaced and not spaced.centred
    assert (
        facts_with(volumes, {"data.center": "mask"}).centred
        and not facts_with(volumes, {"data.center": "none"}).centred
    )
    boxes = facts_with(replace(films, boxes=[(40, 40)]), {"data.image_size": 320})
    assert list(boxes.size) == [900, 1000]  # in whose pixels boxes are
    assert facts_with(films, {}) == films
