"""The flowchart's second half on facts that are written down: how is trained, and for how long."""

from __future__ import annotations

from dataclasses import replace

import pytest

from medtrain.planning import choose, fit_to_time, fit_views_to_time, folds_or_time
from tests.planning.written_facts import GPU, chosen, facts, with_classes


@pytest.mark.parametrize(
    ("sick", "sampler", "threshold"), [(1000, None, None), (500, None, "youden"), (100, "balanced", "youden")]
)
def test_unequal_classes(sick: int, sampler: str | None, threshold: str | None) -> None:
    choice = chosen("image", facts(sick=sick))
    assert (choice.get("sampler"), choice.get("eval.threshold")) == (sampler, threshold)


def test_no_threshold_is_fitted_where_none_decides() -> None:
    assert "eval.threshold" not in chosen("image", facts(sick=100, thresholds=False))


def test_steps_are_as_many_whatever_the_number_of_cases() -> None:
    for train, epochs in ((320, 75), (2000, 24), (100_000, 10)):
        assert chosen("image", facts(train=train, sick=train // 2))["trainer.max_epochs"] == pytest.approx(
            epochs, abs=2
        )
    assert chosen("image", facts(train=40, sick=20))["data.batch_size"] == 8


def test_how_unequal_classes_are_is_said_of_what_was_counted() -> None:
    numbers = {"well": (300, 40, 80), "mass": (90, 10, 30), "3": (30, 40, 80)}
    reasons = [c.reason for c in choose("image", with_classes(numbers)) if c.key == "sampler"]
    assert reasons == ["in training the commonest class has 10 times the cases of class 3"]
    several = replace(with_classes(numbers), one_class=False)
    assert several.unequal == "one answer to class 3 is 10 times as common as the other"


def test_images_with_any_lesion_are_counted() -> None:
    some = facts(2000, 300, boxes=[(40, 40)], with_boxes=420)  # of the commonest class 300
    reasons = [c.reason for c in choose("boxes", some) if c.key == "sampler"]
    assert reasons == ["420 of 2,000 training images show a lesion"]
    assert "sampler" not in chosen("boxes", replace(some, with_boxes=500))
    assert "boxes, images that show them: sick " in replace(some, target="boxes").words


def test_pictures_in_colour_are_mirrored() -> None:
    assert chosen("image", facts(coloured=1.0))["augment.flip_horizontal"] is True
    assert chosen("boxes", facts(coloured=1.0, boxes=[(40, 40)]))["augment.flip_vertical"] is True
    assert not [key for key in chosen("image", facts()) if "flip" in key]


def test_a_threshold_that_few_patients_fit_is_marked() -> None:
    reasons = [c.reason for sick in (35, 500) for c in choose("image", facts(sick=sick)) if c.key == "eval.threshold"]
    assert reasons == [
        "check: in training 56.1 others come on one case of sick; 5 images with sick in validation, by whom it is "
        "fitted",
        "in training 3 others come on one case of sick",
    ]


def test_crops_of_lesions_are_mirrored_and_organs_are_not() -> None:
    of = {"size": (40.0, 40.0, 40.0), "train": 400, "sick": 200}
    assert chosen("volume", facts(spacing=(1.0, 1.0, 1.0), **of))["augment"] == "volume_strong"
    assert chosen("volume", facts(spacing=(5.0, 5.0, 5.0), **of))["augment"] == "volume_light"


@pytest.mark.parametrize(
    ("size", "batch", "checked"), [((64, 64, 64), 4, False), ((16, 16, 16), 16, False), ((90, 300, 300), 4, True)]
)
def test_batches_of_small_volumes_are_larger(size: tuple[int, int, int], batch: int, checked: bool) -> None:
    choices = {c.key: c for c in choose("volume", facts(400, 200, size=size, spacing=(1.0, 1.0, 1.0)))}
    assert choices["data.batch_size"].value == batch
    assert choices["data.patch_size"].reason.startswith("check:") == checked


def test_a_training_is_shortened_to_the_time_there_is() -> None:
    assert fit_to_time(40, 60, 120, 1, 1.0) is None
    shorter = fit_to_time(40, 360, 360, 1, 1.0)
    assert shorter is not None and shorter.value == 9
    assert shorter.reason == "check: 40 epochs would take 4.1 h, plan.hours=1"
    folds = fit_to_time(40, 30, 120, 5, 1.0)
    assert folds is not None and folds.value == 20 and folds.reason.startswith("40 epochs")
    never = fit_to_time(40, 360, 9000, 1, 1.0)
    assert never is not None and never.value == 1


def test_folds_give_way_to_one_split_where_they_would_hardly_learn() -> None:
    # an hour: of five folds each has 12 minutes, and with 2 for the rest 10 epochs of a minute
    assert folds_or_time(40, 60, 120, 5, 1.0) == ""
    assert folds_or_time(41, 60, 120, 5, 1.0) == (
        "check: 5 folds would leave 10 of 41 epochs each, plan.hours=1; one split has up to 41"
    )
    assert folds_or_time(100, 4000, 120, 5, 1.0) == ""  # one epoch, either way
    split = facts(140, 70, hurry="check: no time")
    folds = next(c for c in choose("image", split) if c.key == "data.folds")
    assert (folds.value, folds.reason) == (None, "check: no time")


def test_weights_are_averaged_over_epochs_of_whole_steps() -> None:
    reason = next(c.reason for c in choose("image", facts(100, 50)) if c.key == "callbacks.ema.decay")
    assert reason == "over about 50 steps, 3.8 epochs"  # of 13 steps, the last of four images


def test_views_of_the_test_are_left_out_where_they_take_the_time_of_training() -> None:
    assert fit_views_to_time(900, 1, 1.0) is None  # a quarter of the hour
    for seconds, trainings in ((901, 1), (181, 5)):
        one = fit_views_to_time(seconds, trainings, 1.0)
        assert one is not None and (one.key, one.value) == ("eval.tta", 0)
        assert one.reason == "eight more looks in the test would take 0.3 h, plan.hours=1"


def test_a_step_of_several_processes_is_a_batch_of_each() -> None:
    eight = replace(GPU, processes=8)
    choices = {c.key: c for c in choose("image", facts(70_000, 30_000, eight))}
    assert choices["data.batch_size"].value == 32
    assert choices["data.batch_size"].reason == "274 steps an epoch of 70,000, for each of 8 processes"
    assert choices["trainer.max_epochs"].reason == "2,740 steps of 256 images"
    assert choices["model"].reason.startswith("8 x A100 (40 GB)")
    few = chosen("image", facts(2000, 1000, eight))
    assert (few["data.batch_size"], chosen("image", facts(2000, 1000, GPU))["data.batch_size"]) == (8, 32)


def test_a_time_to_an_event_has_intervals_where_there_are_events_enough() -> None:
    times = {"target": "event", "loss": "cox", "classes": {}}
    few, many = ({"train": {"event": {"patients": n}}, "test": {"event": {"patients": n // 3}}} for n in (30, 300))
    assert chosen("image", replace(facts(), events=few, **times))["loss"] == "cox"
    choice = chosen("image", replace(facts(), events=many, **times))
    assert choice["loss"] == "hazards" and "data.folds" not in choice and "eval.threshold" not in choice
    assert (
        choice["data.batch_size"] == 32
        and chosen("image", replace(facts(300), events=many, **times))["data.batch_size"] == 16
    )  # as of classes: intervals need no risk sets
    small = chosen("image", replace(facts(train=70, sick=35), events=few, **times))
    assert small["data.folds"] == 5  # 10 events in the test split
    assert small["data.batch_size"] == 32  # risk sets are those of a batch


def test_a_size_is_predicted_from_pictures_that_are_not_scaled() -> None:
    quantity = replace(facts(), target="value", loss="mse", classes={}, thresholds=False)
    in_mm = chosen("volume", replace(quantity, unit="mm", size=(64.0, 64.0, 64.0)))
    assert in_mm["augment.scale"] == 0.0 and "eval.tta" not in in_mm  # whose views are scaled, too
    months = chosen("image", replace(quantity, unit="months"))
    assert (
        months["eval.tta"] == 8
        and "augment.scale" not in months
        and months["loss"] == "mse"
        and "data.folds" not in months
    )
