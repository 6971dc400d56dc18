"""The flowchart on facts that are written down: what is chosen, and that each reason names its fact."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml

from medtrain.planning import Choice, Facts, as_experiment, choose, fitting
from tests.planning.written_facts import CPU, GPU, chosen, facts


def test_films_on_a_cpu_are_smaller_than_on_a_gpu() -> None:
    cpu, gpu = chosen("image", facts(train=8000, sick=4000)), chosen("image", facts(8000, 4000, GPU))
    assert (cpu["data.image_size"], gpu["data.image_size"]) == (128, 320)
    assert (cpu["model"], gpu["model"]) == ("resnet18", "densenet121")
    assert "trainer.precision" not in cpu and gpu["trainer.precision"] == "bf16-mixed"


def test_small_films_keep_their_size_and_shift_by_whole_pixels() -> None:
    choice = chosen("image", facts(size=(28, 28)))
    assert (choice["data.image_size"], choice["augment"], choice["data.batch_size"]) == (28, "small", 64)


def test_boxes_are_shown_large_enough() -> None:
    small = chosen("boxes", facts(size=(2000, 2000), boxes=[(40, 40)] * 50, machine=GPU))
    large = chosen("boxes", facts(size=(2000, 2000), boxes=[(400, 400)] * 50, machine=GPU))
    assert small["data.image_size"] == 1024 and large["data.image_size"] == 128
    wide = chosen("boxes", facts(size=(480, 640), boxes=[(38, 38)] * 50))
    assert wide["data.image_size"] == [256, 320] and wide["model"] == "yolo" and "model.strides" not in wide
    tiny = chosen("boxes", facts(size=(256, 256), boxes=[(5, 5)] * 50))
    assert tiny["data.image_size"] == 256 and tiny["model.strides"] == [4, 8, 16, 32]


def test_boxes_too_small_for_what_the_machine_can_look_at_are_marked() -> None:
    size = next(
        c for c in choose("boxes", facts(size=(3000, 2500), boxes=[(24, 24)] * 9)) if c.key == "data.image_size"
    )
    assert size.value == [512, 448] and size.reason == (
        "check: images of 3000 px, one box in twenty below 24 px: here 4 px of the network's input; "
        "data.image_size=3000 data.tile=512 shows them whole, in as many times the time"
    )


def test_what_was_chosen_for_a_network_goes_with_it() -> None:
    choices = choose("boxes", facts(size=(320, 320), boxes=[(40, 40)]))
    assert {"optimizer.lr", "callbacks.early_stopping"} <= fitting(choices, set()).keys()
    assert "optimizer.lr" not in fitting(choices, {"optimizer"})
    assert "augment.flip_vertical" not in fitting(choose("boxes", facts(coloured=1.0, boxes=[(9, 9)])), {"augment"})
    kept = fitting(choices, {"model", "callbacks.early_stopping.patience"})
    assert "model" in kept and not {"optimizer.lr", "callbacks.early_stopping"} & kept.keys()


def test_patches_are_no_larger_than_volumes() -> None:
    choice = chosen("volume", facts(train=100, sick=50, size=(20.0, 130.0, 130.0), spacing=(2.5, 0.7, 0.7)))
    assert choice["data.patch_size"] == [24, 64, 64] and choice["data.spacing"] == [2.5, 0.7, 0.7]
    assert choice["augment"] == "volume_strong" and choice["model"] == "resnet10_3d"


def test_few_volumes_on_processors_get_a_narrow_network() -> None:
    few, many = chosen("volume", facts(train=600, sick=200, **CHESTS)), chosen("volume", facts(train=1000, **CHESTS))
    gpu = chosen("volume", facts(600, 200, GPU, **CHESTS))
    assert few["model.width"] == 32 and "model.width" not in many | gpu
    choices = choose("volume", facts(train=600, sick=200, **CHESTS))
    assert "model.width" not in fitting(choices, {"model"})  # another network has another width


CHESTS = {"size": (400.0, 512.0, 512.0), "spacing": (1.0, 0.7, 0.7), "usual_extent": (420.0, 380.0, 358.4)}


def test_cases_of_many_patches_are_seen_as_a_whole() -> None:
    cpu, gpu = ({c.key: c for c in choose("volume", facts(400, 200, m, **CHESTS))} for m in (CPU, GPU))
    assert cpu["data.spacing"].value == [6.57, 5.94, 5.6] and cpu["data.patch_size"].value == [64, 64, 64]
    assert gpu["data.spacing"].value == [3.29, 2.97, 2.8] and gpu["data.patch_size"].value == [128, 128, 128]
    assert (gpu["data.center"].value, gpu["data.patches_per_volume"].value) == ("volume", 1)
    assert gpu["data.batch_size"].value == 4  # what doesn't fit into the GPU is halved later
    assert "at the median spacing of 1 x 0.7 x 0.7 mm a case is 448 patches" in cpu["data.spacing"].reason
    thick = facts(400, 200, size=(40.0, 512.0, 512.0), spacing=(8.0, 0.7, 0.7), usual_extent=(328.0, 358.0, 358.0))
    choice = chosen("volume", thick)
    assert choice["data.spacing"] == [8.0, 5.6, 5.6] and choice["data.patch_size"] == [48, 64, 64]


@pytest.mark.parametrize("own", [{"spaced": True}, {"centred": True}, {"patch": [64, 64, 64]}])
def test_where_a_person_looks_stays(own: dict[str, Any]) -> None:
    choices = {c.key: c for c in choose("volume", facts(400, 200, **CHESTS, **own))}
    assert "data.center" not in choices and choices["data.spacing"].value == [1.0, 0.7, 0.7]
    assert choices["data.patch_size"].reason.startswith("check:") == ("centred" not in own)


def test_features_of_a_frozen_network_are_probed() -> None:
    few, many = chosen("encoded", facts(400, 200, encoded=True)), chosen("encoded", facts(2000, 1000, encoded=True))
    assert (few["model"], many["model"]) == ("linear_probe", "mlp_probe")
    assert not {"augment", "eval.tta", "data.image_size", "model.weights"} & few.keys()  # pixels are seen once
    volumes = chosen("encoded", facts(400, 200, encoded=True, size=(64.0, 64.0, 64.0)))
    assert (volumes["model"], volumes["data.batch_size"]) == ("gated_attention_mil", 16)


def test_slides_seen_by_colour_alone_are_marked() -> None:
    bags = facts(size=(), instances=(1, 4, 40), features=46, simple_features=46)
    reason = next(c.reason for c in choose("bag", bags) if c.key == "encoder")
    assert reason.startswith("check: 46 numbers of colour and texture a tile")
    assert "encoder" not in chosen("bag", replace(bags, simple_features=0))


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


def test_the_experiment_leaves_to_the_person_what_they_have_set() -> None:
    choices = [Choice("model", "resnet18", "small"), Choice("data.image_size", 28, "28 px"), Choice("eval.tta", 8, "x")]
    text = as_experiment("t", "xray_cls", "image_table", {"model": "densenet121", "data.table": "a.csv"}, choices)
    content = yaml.safe_load(text)
    assert {"override /model": "densenet121"} in content["defaults"] and "resnet18" not in text
    assert content["data"] == {"table": "a.csv", "image_size": 28} and content["eval"] == {"tta": 8}
    assert "# data.image_size: 28: 28 px" in text and text.startswith("# @package _global_\n# t\n")


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


def test_masks_are_planned_too() -> None:
    few = Facts(
        "volumes", {"train": 20, "val": 4, "test": 6}, {"train": 20, "val": 4, "test": 6}, {}, GPU, target="mask"
    )
    choice = chosen("mask", few)
    assert choice == {"data.folds": 5, "model": "unet_3d", "trainer.precision": "bf16-mixed"}


def test_what_belongs_to_another_option_of_a_group_is_left_out() -> None:
    choices = choose("image", facts())
    kept = fitting(choices, {"model", "callbacks", "trainer", "data.batch_size"})
    assert "model" in kept and "callbacks" in kept  # told as the person's
    assert not [key for key in kept if key.startswith(("model.", "callbacks."))]
    assert {"trainer.max_epochs", "data.batch_size", "augment"} <= kept.keys()
    assert list(fitting(choices, set())) == [choice.key for choice in choices]
