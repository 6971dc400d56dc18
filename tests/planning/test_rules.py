"""The flowchart on facts that are written down here: what is chosen, and that each reason names its fact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from medtrain.metric.precision import expected_precision
from medtrain.planning import (
    Choice,
    Facts,
    Machine,
    as_experiment,
    choose,
    fit_to_time,
    fit_views_to_time,
    fitting,
)
from medtrain.planning.interval import too_few, what_the_test_says

CPU = Machine(cores=4, memory_gb=16)
GPU = Machine(cores=16, memory_gb=128, gpu="A100", gpu_gb=40, half=True)


def counts(sick: int, well: int) -> dict[str, Any]:
    return {"sick": {"images": sick, "patients": sick, "negatives": well, "factor": well / sick}}


def facts(train: int = 2000, sick: int = 1000, machine: Machine = CPU, **more: Any) -> Facts:
    shares = {"train": 7, "val": 1, "test": 2}
    cases = {name: train * share // 7 for name, share in shares.items()}
    of_class = {name: counts(max(1, sick * share // 7), (train - sick) * share // 7) for name, share in shares.items()}
    return Facts("images", cases, cases, of_class, machine, **{"size": (1024, 900)} | more)


def chosen(kind: str, given: Facts) -> dict[str, Any]:
    return {choice.key: choice.value for choice in choose(kind, given)}


def test_films_on_a_cpu_are_smaller_than_on_a_gpu() -> None:
    cpu, gpu = chosen("image", facts(train=8000, sick=4000)), chosen("image", facts(8000, 4000, GPU))
    assert (cpu["data.image_size"], gpu["data.image_size"]) == (128, 320)
    assert (cpu["model"], gpu["model"]) == ("resnet18", "densenet121")
    assert "trainer.precision" not in cpu and gpu["trainer.precision"] == "bf16-mixed"


def test_small_films_keep_their_size_and_shift_by_whole_pixels() -> None:
    choice = chosen("image", facts(size=(28, 28)))
    assert (choice["data.image_size"], choice["augment"], choice["data.batch_size"]) == (28, "small", 64)


@pytest.mark.parametrize(
    ("sick", "sampler", "threshold"), [(1000, None, None), (500, None, "youden"), (100, "balanced", "youden")]
)
def test_unequal_classes(sick: int, sampler: str | None, threshold: str | None) -> None:
    choice = chosen("image", facts(sick=sick))
    assert (choice.get("sampler"), choice.get("eval.threshold")) == (sampler, threshold)


def test_no_threshold_is_fitted_where_none_decides() -> None:
    assert "eval.threshold" not in chosen("image", facts(sick=100, thresholds=False))


def test_few_events_are_tested_by_folds_unless_the_data_are_split_already() -> None:
    assert chosen("image", facts(train=140, sick=70))["data.folds"] == 5
    assert "data.folds" not in chosen("image", facts(train=140, sick=70, official=True))
    assert "data.folds" not in chosen("image", facts(train=2000, sick=1000))
    reason = next(c.reason for c in choose("image", facts(train=140, sick=70)) if c.key == "data.folds")
    assert "20 images with sick" in reason and "5 folds test 100" in reason


def test_steps_are_as_many_whatever_the_number_of_cases() -> None:
    for train, epochs in ((320, 75), (2000, 24), (100_000, 10)):
        assert chosen("image", facts(train=train, sick=train // 2))["trainer.max_epochs"] == pytest.approx(
            epochs, abs=2
        )
    assert chosen("image", facts(train=40, sick=20))["data.batch_size"] == 8


def test_boxes_are_shown_large_enough() -> None:
    small = chosen("boxes", facts(size=(2000, 2000), boxes=[(40, 40)] * 50, machine=GPU))
    large = chosen("boxes", facts(size=(2000, 2000), boxes=[(400, 400)] * 50, machine=GPU))
    assert small["data.image_size"] == 1024 and large["data.image_size"] == 128
    wide = chosen("boxes", facts(size=(480, 640), boxes=[(38, 38)] * 50))
    assert wide["data.image_size"] == [256, 320] and wide["model"] == "yolo" and "model.strides" not in wide
    tiny = chosen("boxes", facts(size=(256, 256), boxes=[(5, 5)] * 50))
    assert tiny["data.image_size"] == 256 and tiny["model.strides"] == [4, 8, 16, 32]


def test_images_with_any_lesion_are_counted() -> None:
    some = facts(2000, 300, boxes=[(40, 40)], with_boxes=420)  # of the commonest class 300
    reasons = [c.reason for c in choose("boxes", some) if c.key == "sampler"]
    assert reasons == ["420 of 2,000 training images show a lesion"]
    assert "sampler" not in chosen("boxes", replace(some, with_boxes=500))
    assert "boxes, images that show them: sick " in replace(some, target="boxes").words


def test_boxes_too_small_for_what_the_machine_can_look_at_are_marked() -> None:
    size = next(
        c for c in choose("boxes", facts(size=(3000, 2500), boxes=[(24, 24)] * 9)) if c.key == "data.image_size"
    )
    assert size.value == [512, 448] and size.reason == (
        "check: images of 3000 px, one box in twenty below 24 px: here 4 px of the network's input; "
        "data.image_size=3000 data.tile=512 shows them whole, in as many times the time"
    )


def test_folds_test_boxes_too_and_no_auroc_is_told_of_them() -> None:
    few = facts(140, 70, boxes=[(40, 40)])
    reason = next(c.reason for c in choose("boxes", few) if c.key == "data.folds")
    assert reason == "the test split holds 20 images with sick; 5 folds test 100 images with sick"


def with_classes(numbers: dict[str, tuple[int, int, int]], **more: Any) -> Facts:
    """Facts of {class: patients of training, validation, test}, an image each."""
    splits = ("train", "val", "test")
    cases = {split: sum(n[i] for n in numbers.values()) for i, split in enumerate(splits)}
    most = max(n[0] for n in numbers.values())
    rows = {
        split: {name: {"images": n[i], "patients": n[i], "factor": most / n[i]} for name, n in numbers.items() if n[i]}
        for i, split in enumerate(splits)
    }
    return Facts("images", cases, cases, rows, CPU, **{"size": (1024, 900)} | more)


def test_a_class_of_very_few_does_not_keep_the_others_from_folds() -> None:
    numbers = {"mass": (140, 20, 40), "nodule": (70, 10, 20), "hernia": (3, 1, 1)}
    folds = next(c for c in choose("image", with_classes(numbers)) if c.key == "data.folds")
    assert folds.reason.startswith("the test split holds 20 images with nodule")
    assert "; 5 folds test 100 images with nodule" in folds.reason
    del numbers["nodule"]  # of two classes the result rests on the rarer one, which folds don't help
    assert "data.folds" not in chosen("image", with_classes(numbers))


def test_how_unequal_classes_are_is_said_of_what_was_counted() -> None:
    numbers = {"well": (300, 40, 80), "mass": (90, 10, 30), "3": (30, 40, 80)}
    reasons = [c.reason for c in choose("image", with_classes(numbers)) if c.key == "sampler"]
    assert reasons == ["in training the commonest class has 10 times the cases of class 3"]
    several = replace(with_classes(numbers), one_class=False)
    assert several.unequal == "one answer to class 3 is 10 times as common as the other"


def test_what_trains_are_the_cases_of_a_fold_and_what_spoke_for_folds_is_the_split() -> None:
    split = facts(140, 70)
    fold = replace(facts(120, 60), fold="fold 0 of 5", one_split=split)
    reasons = {c.key: c.reason for c in choose("image", fold)}
    assert reasons["data.folds"].startswith("the test split holds 20 images with sick")
    assert reasons["data.batch_size"] == "15 steps an epoch of 120" and fold.splits.startswith(
        "fold 0 of 5: train 120,"
    )


def test_folds_of_the_data_are_taken_and_large_data_are_split_once() -> None:
    own = next(c for c in choose("image", facts(own_folds=[1, 2, 3])) if c.key == "data.folds")
    assert (own.value, own.reason) == (3, "each of the data's own 3 parts is tested once")
    assert "data.folds" not in chosen("image", facts(own_folds=[1, 2, 3], official=True))
    assert chosen("image", facts(2000, 50))["data.folds"] == 5
    assert "data.folds" not in chosen("image", facts(100_000, 50))


def test_what_was_chosen_for_a_network_goes_with_it() -> None:
    choices = choose("boxes", facts(size=(320, 320), boxes=[(40, 40)]))
    assert {"optimizer.lr", "callbacks.early_stopping"} <= fitting(choices, set()).keys()
    assert "optimizer.lr" not in fitting(choices, {"optimizer"})
    assert "augment.flip_vertical" not in fitting(choose("boxes", facts(coloured=1.0, boxes=[(9, 9)])), {"augment"})
    kept = fitting(choices, {"model", "callbacks.early_stopping.patience"})
    assert "model" in kept and not {"optimizer.lr", "callbacks.early_stopping"} & kept.keys()


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


def test_patches_are_no_larger_than_volumes() -> None:
    choice = chosen("volume", facts(train=100, sick=50, size=(20.0, 130.0, 130.0), spacing=(2.5, 0.7, 0.7)))
    assert choice["data.patch_size"] == [24, 64, 64] and choice["data.spacing"] == [2.5, 0.7, 0.7]
    assert choice["augment"] == "volume_strong" and choice["model"] == "resnet10_3d"


def test_volumes_whose_extent_gives_the_class_away_are_shown_alike() -> None:
    given = facts(700, 350, size=(6.0, 44.0, 44.0), giveaways=["the extent along D"], least_extent=(2.56, 22.4, 22.4))
    choice = chosen("volume", given)
    assert choice["data.fov"] == [2.5, 22.4, 22.4] and "data.patch_size" not in choice
    assert (choice["data.center"], choice["data.patches_per_volume"], choice["data.batch_size"]) == ("volume", 1, 32)
    assert "data.fov" not in chosen("volume", facts(size=(64.0, 64.0, 64.0), giveaways=["the spacing along D"]))
    size = replace(given, classes={}, unit="mm", target="value")
    assert {c.key: c.reason for c in choose("volume", size)}["data.fov"] == (
        "check: the extent along D: no more than all volumes show, whatever is larger"
    )
    two = chosen("volume", replace(given, spacing=(1.25, 0.7, 0.7)))
    assert (two["augment.tilt"], two["augment.blur"]) == (0.0, 0.0) and "augment.tilt" not in choice


def test_a_training_is_shortened_to_the_time_there_is() -> None:
    assert fit_to_time(40, 60, 120, 1, 1.0) is None
    shorter = fit_to_time(40, 360, 360, 1, 1.0)
    assert shorter is not None and shorter.value == 9
    assert shorter.reason == "check: 40 epochs would take 4.1 h, plan.hours=1"
    folds = fit_to_time(40, 30, 120, 5, 1.0)
    assert folds is not None and folds.value == 20 and folds.reason.startswith("40 epochs")
    never = fit_to_time(40, 360, 9000, 1, 1.0)
    assert never is not None and never.value == 1


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


def test_the_experiment_leaves_to_the_person_what_they_have_set() -> None:
    choices = [Choice("model", "resnet18", "small"), Choice("data.image_size", 28, "28 px"), Choice("eval.tta", 8, "x")]
    text = as_experiment("t", "xray_cls", "image_table", {"model": "densenet121", "data.table": "a.csv"}, choices)
    content = yaml.safe_load(text)
    assert {"override /model": "densenet121"} in content["defaults"] and "resnet18" not in text
    assert content["data"] == {"table": "a.csv", "image_size": 28} and content["eval"] == {"tta": 8}
    assert "# data.image_size: 28: 28 px" in text and text.startswith("# @package _global_\n# t\n")


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


def test_colours_stay_where_there_are_some() -> None:
    assert chosen("image", facts(coloured=0.9))["data.channels"] == 3
    assert "data.channels" not in chosen("image", facts(coloured=0.0))


def test_no_film_is_enlarged() -> None:
    assert chosen("image", facts(size=(73, 80)))["data.image_size"] == 64
    assert chosen("image", facts(size=(110, 100)))["data.image_size"] == 96


def test_weights_of_other_pictures_are_taken_from_this_machine_alone() -> None:
    here = chosen("image", facts(weights={"resnet18": "IMAGENET1K_V1"}))
    assert (here["model.weights"], here["optimizer.lr"]) == ("IMAGENET1K_V1", 1e-4)
    fresh = chosen("image", facts())
    assert fresh["model.weights"] == "none" and "optimizer.lr" not in fresh
    assert "model.weights" not in chosen("image", facts(size=(28, 28)))
    assert "model.weights" not in chosen("image", facts(20_000, 10_000))


def test_a_ct_has_one_scale() -> None:
    of_ct = facts(size=(64.0, 64.0, 64.0), grey=(-1024.0, 637.0))
    assert chosen("volume", of_ct)["data.window"] == [-1000, 640]
    assert "data.window" not in chosen("volume", facts(size=(64.0, 64.0, 64.0)))


def test_a_bag_of_one_instance_has_nothing_to_pool() -> None:
    assert chosen("bag", facts(size=(), instances=(1, 1, 1), features=30))["model"] == "mlp_probe"
    assert chosen("bag", facts(size=(), instances=(1, 4, 40), features=30))["model"] == "gated_attention_mil"


def test_sites_are_judged_one_by_one() -> None:
    assert chosen("image", facts(sites=3))["eval.groups"] == ["site"] and "eval.groups" not in chosen("image", facts())
    unseen = next(c for c in choose("image", facts(sites=3, by_site=True)) if c.key == "eval.groups")
    assert unseen.reason == "3 sites: figures of each, each tested unseen"
    many = next(c for c in choose("image", facts(sites=90)) if c.key == "eval.groups")
    assert many.value == [] and many.reason.startswith("90 sites: too many to read figures of each")


def test_masks_are_planned_too() -> None:
    few = Facts(
        "volumes", {"train": 20, "val": 4, "test": 6}, {"train": 20, "val": 4, "test": 6}, {}, GPU, target="mask"
    )
    choice = chosen("mask", few)
    assert choice == {"data.folds": 5, "model": "unet_3d", "trainer.precision": "bf16-mixed"}


def test_what_the_test_split_says() -> None:
    text = what_the_test_says(facts(2000, 1000), 1)  # 285 of 571 patients, each with an image
    low, high = expected_precision(285, 286)["auroc"]["ci95"]
    sure = f"an AUROC of 0.8 would be known to within {low:.2f} to {high:.2f}"
    assert text == f"the test split holds 285 images with sick, {sure}"
    assert what_the_test_says(facts(2000, 1000), 5).startswith("5 folds test 1,427 images with sick")
    two_each = Facts("images", {"test": 40}, {"test": 20}, {}, CPU)
    assert what_the_test_says(two_each, 1) == "the test split holds 20 patients"


def test_five_cases_are_planned_with_a_word() -> None:
    cases = {"train": 2, "val": 1, "test": 2}
    few = Facts("images", cases, cases, {}, CPU, loss="cross_entropy", size=(64, 64))
    assert too_few(few) == "check: 2 images to train on, 1 to choose by: whatever comes of so few is luck"
    assert (
        too_few(facts()) == "" and too_few(replace(few, loss="")) == "" and chosen("image", few)["data.batch_size"] == 8
    )


def test_the_data_in_a_line() -> None:
    alone = Facts("bags", {"train": 6, "test": 2}, {"train": 6, "test": 2}, {}, CPU, target="value")
    assert alone.words == "8 bags (train 6, test 2); value"
    many = {f"c{n}": {"images": n + 1, "patients": 1} for n in range(10)}
    films = Facts("images", {"train": 60}, {"train": 30}, {"train": many}, CPU, target="multilabel")
    assert films.words.startswith("60 images of 30 patients (train 60); multilabel: c0 1, c1 2,")
    assert films.words.endswith("c7 8 and 2 more")


def test_what_belongs_to_another_option_of_a_group_is_left_out() -> None:
    choices = choose("image", facts())
    kept = fitting(choices, {"model", "callbacks", "trainer", "data.batch_size"})
    assert "model" in kept and "callbacks" in kept  # told as the person's
    assert not [key for key in kept if key.startswith(("model.", "callbacks."))]
    assert {"trainer.max_epochs", "data.batch_size", "augment"} <= kept.keys()
    assert list(fitting(choices, set())) == [choice.key for choice in choices]
