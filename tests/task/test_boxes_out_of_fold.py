"""Boxes of several runs as one, from files written by hand: fused, out of fold, decided by the own fold's threshold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from medtrain.core.errors import MedtrainError
from medtrain.metric import EvalOptions, HitRule
from medtrain.task.detection.out_of_fold import BoxJudge, RunBoxes

JUDGE = BoxJudge(("a",), HitRule())
OPTIONS = EvalOptions(0)
Boxes = dict[str, list[tuple[float, float]]]  # {case: (left edge, score)}; a box is 10 pixels wide


def write(folder: Path, split: str, drawn: Boxes, true: float = 0.0) -> Path:
    """A run's files: each image shows one lesion, whose left edge is `true`."""
    folder.mkdir(exist_ok=True)
    ids = {case: 7 + number for number, case in enumerate(drawn)}
    truth: dict[str, Any] = {
        "images": [{"id": i, "file_name": c, "patient": f"p{c}", "height": 50, "width": 50} for c, i in ids.items()],
        "annotations": [
            {"id": i, "image_id": i, "category_id": 3, "bbox": [true, 0, 10, 10], "area": 100, "iscrowd": 0}
            for i in ids.values()
        ],
        "categories": [{"id": 3, "name": "a"}],
    }
    boxes = [
        {"image_id": ids[case], "category_id": 3, "bbox": [left, 0, 10, 10], "score": score}
        for case, rows in drawn.items()
        for left, score in rows
    ]
    (folder / f"{split}_truth.json").write_text(json.dumps(truth))
    (folder / f"{split}_predictions.json").write_text(json.dumps(boxes))
    return folder


def value(metrics: dict[str, Any], name: str) -> float:
    return metrics["metrics"][name]["value"]


def test_runs_of_one_split_are_fused_and_decided_by_what_is_fused(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    write(one, "val", {"v": [(0, 0.8), (30, 0.6)], "w": []})
    write(two, "val", {"w": [(0, 0.6)], "v": [(0, 0.4)]})  # in another order
    write(one, "test", {"x": [(0, 0.9)], "y": [(30, 0.5)]})
    write(two, "test", {"x": [(0, 0.5)], "y": [(0, 0.7), (30, 0.5)]})
    folds = [JUDGE.fold(0, None, [one, two], "f1")]
    decision = JUDGE.fit_whole(folds, ["x", "y"], "f1", OPTIONS)
    # validation: 0.6 true, 0.3 true, 0.3 false; F1 at 0.6 is 2/3, at 0.3 4/5
    assert decision.thresholds["a"] == pytest.approx(0.3)
    assert decision.validation["a"]["sensitivity"]["value"] == 1
    outcome = JUDGE.judge(folds, decision, ["x", "y"], OPTIONS)
    said = {(row["image_id"], row["bbox"][0]): row["score"] for row in outcome.files["test_predictions.json"]}
    assert said == {(7, 0): pytest.approx(0.7), (8, 30): pytest.approx(0.5), (8, 0): pytest.approx(0.35)}
    # 0.7 true, 0.5 false, 0.35 true: precision 1 up to recall 1/2 (51 of 101 recalls), then 2/3
    assert value(outcome.metrics, "map50") == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert value(outcome.metrics, "ppv") == pytest.approx(2 / 3) and value(outcome.metrics, "sensitivity") == 1
    assert outcome.metrics["folds"] is None and "cross_validation" not in outcome.metrics


def cross_validation(tmp_path: Path, *scores: float, repeat: int = 0) -> list[Any]:
    """Three folds of one image each; run k tests image k and was tuned on the next: one box right, one wrong."""
    folds = []
    for k, score in enumerate(scores):
        run = tmp_path / f"r{repeat}f{k}"
        tuned = "xyz"[(k + 1) % 3]
        write(run, "val", {tuned: [(0, score), (30, score / 2)]})
        write(run, "test", {"xyz"[k]: [(0, score), (30, score / 2)]})
        folds.append(JUDGE.fold(repeat, k, [run], "f1"))
    return folds


def test_each_image_is_decided_by_its_own_fold(tmp_path: Path) -> None:
    folds = cross_validation(tmp_path, 0.9, 0.3, 0.6)
    decision = JUDGE.fit_whole(folds, ["z", "x", "y"], "f1", OPTIONS)
    outcome = JUDGE.judge(folds, decision, ["z", "x", "y"], OPTIONS)
    # the wrong box of x scores 0.45, more than the right one of y: no one threshold shows all right boxes and no wrong
    assert value(outcome.metrics, "f1") == 1 and value(outcome.metrics, "map50") < 1
    facts = outcome.metrics["cross_validation"]["folds"]
    assert [fold["thresholds"]["a"] for fold in facts] == [0.9, 0.3, 0.6]
    assert outcome.metrics["folds"]["map50"] == {"mean": 1.0, "sd": 0.0, "values": [1.0] * 3}
    assert [row["file_name"] for row in outcome.files["test_truth.json"]["images"]] == ["z", "x", "y"]
    # of each image two of three networks know nothing: x by run 0 and 2 (0.9, 0.6), y by 1 and 0, z by 2 and 1
    assert "2 of 3" in decision.basis
    assert decision.thresholds["a"] == pytest.approx((0.3 + 0.6) / 2)


def test_cross_validations_are_fused(tmp_path: Path) -> None:
    folds = [
        *cross_validation(tmp_path, 0.9, 0.3, 0.6),
        *cross_validation(tmp_path, 0.5, 0.5, 0.5, repeat=1),
    ]
    decision = JUDGE.fit_whole(folds, ["x", "y", "z"], "f1", OPTIONS)
    outcome = JUDGE.judge(folds, decision, ["x", "y", "z"], OPTIONS)
    right = [row["score"] for row in outcome.files["test_predictions.json"] if row["bbox"][0] == 0]
    assert right == pytest.approx([0.7, 0.4, 0.55])
    assert value(outcome.metrics, "f1") == 1  # by the means of the thresholds, 0.7, 0.4 and 0.55
    assert len(outcome.metrics["repeats"]["map50"]["values"]) == 2 and "4 of 6" in decision.basis


def test_other_truths_and_images_are_refused(tmp_path: Path) -> None:
    one = write(tmp_path / "one", "test", {"x": [], "y": []})
    with pytest.raises(MedtrainError, match="two/test_truth.json: other true boxes"):
        RunBoxes.read([one, write(tmp_path / "two", "test", {"x": [], "y": []}, true=1.0)], "test")
    with pytest.raises(MedtrainError, match="boxes of 1 images"):
        RunBoxes.read([one, write(tmp_path / "three", "test", {"x": []})], "test")
