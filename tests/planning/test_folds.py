"""Folds or a split, and what is said of what they test: on facts that are written down."""

from __future__ import annotations

from dataclasses import replace

from medtrain.metric.precision import expected_precision
from medtrain.planning import Facts, choose
from medtrain.planning.interval import too_few, what_the_test_says
from tests.planning.written_facts import CPU, chosen, facts, with_classes


def test_few_events_are_tested_by_folds_unless_the_data_are_split_already() -> None:
    assert chosen("image", facts(train=140, sick=70))["data.folds"] == 5
    assert "data.folds" not in chosen("image", facts(train=140, sick=70, official=True))
    assert "data.folds" not in chosen("image", facts(train=2000, sick=1000))
    reason = next(c.reason for c in choose("image", facts(train=140, sick=70)) if c.key == "data.folds")
    assert "20 images with sick" in reason and "5 folds test 100" in reason


def test_folds_test_boxes_too_and_no_auroc_is_told_of_them() -> None:
    few = facts(140, 70, boxes=[(40, 40)])
    reason = next(c.reason for c in choose("boxes", few) if c.key == "data.folds")
    assert reason == "the test split holds 20 images with sick; 5 folds test 100 images with sick"


def test_a_class_of_very_few_does_not_keep_the_others_from_folds() -> None:
    numbers = {"mass": (140, 20, 40), "nodule": (70, 10, 20), "hernia": (2, 1, 1)}
    folds = next(c for c in choose("image", with_classes(numbers)) if c.key == "data.folds")
    assert folds.reason.startswith("the test split holds 20 images with nodule")
    assert "; 5 folds test 100 images with nodule" in folds.reason
    del numbers["nodule"]  # of two classes the result rests on the rarer one, which folds don't help
    assert "data.folds" not in chosen("image", with_classes(numbers))


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


def test_sites_are_judged_one_by_one() -> None:
    assert chosen("image", facts(sites=3))["eval.groups"] == ["site"] and "eval.groups" not in chosen("image", facts())
    unseen = next(c for c in choose("image", facts(sites=3, by_site=True)) if c.key == "eval.groups")
    assert unseen.reason == "3 sites: figures of each, each tested unseen"
    both = next(c for c in choose("image", facts(sites=3, between_sites=True)) if c.key == "eval.groups")
    assert both.reason == "3 sites: figures of each; patients of several sites can't be split by site"
    many = next(c for c in choose("image", facts(sites=90)) if c.key == "eval.groups")
    assert many.value == [] and many.reason.startswith("90 sites: too many to read figures of each")
