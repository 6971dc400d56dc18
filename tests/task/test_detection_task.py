"""From batches to boxes of the originals: padding, tiles, edges, a gate, hardness."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn

from medtrain.augment import BoxViews
from medtrain.core.boxes import Boxes, Detections
from medtrain.core.coco import read_back
from medtrain.core.truth import Truth
from medtrain.loss import OwnLoss
from medtrain.metric import EvalOptions
from medtrain.model import Ensemble
from medtrain.target import DataSpec, Decision
from medtrain.target.boxes import BoxTarget
from medtrain.task.detection import Detection

SPEC = DataSpec.of("boxes", ("a", "b"), 1, (32, 32), mean=(0.5,), std=(0.25,))
CASES = pd.DataFrame({"case": ["x.png", "y.png", "z.png"], "patient": ["p", "q", "q"]})


class Says(nn.Module):
    """Finds what it was told, whatever it sees."""

    def __init__(self, found: Detections) -> None:
        super().__init__()
        self.found, self.seen = found, torch.zeros(0)

    def detect(self, x_BCHW: Tensor) -> Detections:
        self.seen = x_BCHW
        return self.found

    def forward(self, x_BCHW: Tensor, truth: Boxes) -> dict[str, Tensor]:
        self.seen = x_BCHW
        return {"class": truth.boxes_M4.sum() * 0, "box": x_BCHW.sum() * 0}


def said(*rows: tuple[int, float, int, list[float]]) -> Detections:
    image, score, label, box = zip(*rows, strict=True)
    return Detections(torch.tensor(box), torch.tensor(score), torch.tensor(label), torch.tensor(image))


def task(found: Detections, truth: Truth | None = None, **more: Any) -> Detection:
    made = Detection(SPEC, Says(found), **more)
    made.truth = truth or Truth.unknown(np.array([[64, 64], [64, 64], [40, 20]]))
    return made.eval()


def batch(cases: list[int], **more: Any) -> dict[str, Any]:
    n = len(cases)
    place = torch.tensor([[0.5, 0.5, 0.0, 0.0]]).repeat(n, 1)
    x = torch.full((n, 1, 32, 32), 255, dtype=torch.uint8)
    return {"x": x, "case": torch.tensor(cases), "place": place} | more


def test_validation_has_a_loss_that_tells_epochs_of_equal_map_apart() -> None:
    class Loss(nn.Module):
        own_loss = True

        def forward(self, outputs: Any, truth: Boxes) -> dict[str, Tensor]:
            return {"class": outputs["class"] + 2, "box": outputs["box"] + 0.5 * len(truth.boxes_M4)}

    truth = {"boxes": torch.zeros(1, 4), "labels": torch.zeros(1).long(), "image": torch.zeros(1).long()}
    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8])), loss=Loss(), augment=nn.Identity())
    seen = [made.validated(batch([0, 1]) | truth), made.validated(batch([2]) | {k: v[:0] for k, v in truth.items()})]
    assert made.score(seen)["loss"] == pytest.approx(
        (2 * 2.5 + 2.0) / 3
    )  # two cases with a box among them, one without
    assert "loss" not in task(said((0, 0.9, 1, [2.0, 2, 8, 8]))).validated(batch([0]))


def test_boxes_come_back_in_pixels_of_the_originals_once_a_case_and_within_them() -> None:
    found = said((0, 0.9, 1, [2.0, 2, 8, 8]), (1, 0.8, 0, [4.0, 4, 30, 30]), (2, 0.7, 0, [1.0, 1, 2, 2]))
    made = task(found)
    outputs = [made.outputs(batch([0, 2, 2])), made.outputs(batch([1, 1, 0]))]  # padded: 2 and 1 twice, 0 again
    boxes, cases = made.detections(outputs)
    assert cases.tolist() == [0, 1, 2]
    rows = {(int(c), *np.round(b).tolist()) for c, b in zip(boxes.image_N, boxes.boxes_N4, strict=True)}
    assert rows == {(0, 4, 4, 16, 16), (2, 8, 8, 20, 40), (1, 4, 4, 16, 16)}  # cut at 20 x 40
    assert made.model.seen.unique().tolist() == [2.0]  # scaled to 0..1, then normalised


def test_tiles_of_a_case_are_merged_class_by_class() -> None:
    found = said((0, 0.6, 0, [20.0, 5, 30, 15]), (1, 0.9, 0, [4.0, 5, 14, 15]), (1, 0.5, 1, [4.0, 5, 14, 15]))
    tiles = batch([0, 0], instance=torch.tensor([0, 1]))
    tiles["place"] = torch.tensor([[1.0, 1, 0, 0], [1, 1, -16, 0]])  # the second begins at x 16
    made = task(found)
    boxes, _ = made.detections([made.outputs(tiles)])
    assert sorted(boxes.score_N.round(1).tolist()) == [0.5, 0.9]
    np.testing.assert_allclose(boxes.boxes_N4, [[20, 5, 30, 15]] * 2)
    assert len(task(found, merge=1.0).detections([made.outputs(tiles)])[0].score_N) == 3


def test_halves_of_a_lesion_in_two_tiles_are_one_in_pixels_of_the_original() -> None:
    found = said((0, 0.6, 0, [10.0, 5, 32, 15]), (1, 0.9, 0, [0.0, 5, 20, 15]))
    tiles = batch([0, 0], instance=torch.tensor([0, 1]))
    tiles["place"] = torch.tensor([[0.5, 0.5, 0, 0], [0.5, 0.5, -16, 0]])  # tiles of 64 pixels at 0 and 32
    made = task(found, Truth.unknown(np.array([[64, 96]])))
    outputs = made.outputs(tiles)
    assert outputs["view"].tolist() == [[0, 0, 64, 64, 6], [32, 0, 96, 64, 6]]
    boxes, _ = made.detections([outputs])
    np.testing.assert_allclose(boxes.boxes_N4, [[20, 10, 72, 30]])
    assert boxes.score_N == pytest.approx([0.9])


def test_a_gate_scales_scores_and_takes_boxes_away() -> None:
    made = task(said((0, 0.8, 0, [2.0, 2, 8, 8]), (1, 0.8, 0, [2.0, 2, 8, 8])))
    made.gate_N = np.array([0.5, 0.0, 1.0])
    boxes, _ = made.detections([made.outputs(batch([0, 1]))])
    assert boxes.image_N.tolist() == [0] and boxes.score_N.tolist() == pytest.approx([0.4])


def test_judged_with_files_that_can_be_read_back() -> None:
    one = np.zeros(1, int)
    truth = Truth(
        np.array([[4.0, 4, 16, 16]]), one + 1, one, one > 0, np.array([144.0]), np.array([7]),
        np.array([[64, 64], [64, 64], [40, 20]]), np.array([11, 12, 13]),
    )  # fmt: skip
    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8]), (1, 0.4, 0, [2.0, 2, 8, 8])), truth)
    outputs = [made.outputs(batch([0, 2]))]
    decision = made.fit_decision(outputs, "f1")
    assert decision.thresholds == {"a": 0.5, "b": pytest.approx(0.9)}
    assert made.score(outputs)["map50"] == 1
    judged = made.evaluate(outputs, CASES, decision, EvalOptions(0))
    assert judged.metrics["n_cases"] == 2 and judged.metrics["metrics"]["map"]["value"] == 1
    assert judged.warnings == []
    blind = task(Detections(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0).long(), torch.zeros(0).long()), truth)
    (text,) = blind.evaluate([blind.outputs(batch([0, 1, 2]))], CASES, decision, EvalOptions(0)).warnings
    assert "highest score of 'a' in an image (0)" in text and "'b' in an image (0)" in text and "all 3 cases" in text
    files = judged.files
    assert files["test_predictions.json"][0] | {"score": 0} == {
        "image_id": 11, "category_id": 2, "bbox": [4.0, 4.0, 12.0, 12.0], "score": 0,
    }  # fmt: skip
    assert [i["id"] for i in files["test_truth.json"]["images"]] == [11, 13]
    again, found = read_back(files["test_predictions.json"], files["test_truth.json"])
    np.testing.assert_array_equal(again.boxes_M4, truth.boxes_M4)
    assert again.case_M.tolist() == [0] and found.image_N.tolist() == [0, 1]


def test_predictions_say_what_the_decision_shows() -> None:
    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8]), (0, 0.2, 0, [2.0, 2, 8, 8])))
    outputs, decision = [made.outputs(batch([1]))], Decision("f1", 1.0, {"a": 0.5, "b": 0.5})
    rows = made.predictions(outputs, CASES, decision)
    told = [(row["file_name"], row["category"], row["shown"]) for row in rows]
    assert told == [("y.png", "b", True), ("y.png", "a", False)]
    shown = made.shown(outputs, CASES, decision)
    assert shown.index.tolist() == [1] and shown["class"].tolist() == ["b"]


def test_hardness_is_what_is_found_where_nothing_is() -> None:
    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8]), (0, 0.25, 0, [20.0, 20, 30, 30]), (1, 0.5, 0, [2.0, 2, 8, 8])))
    labels = {"boxes": torch.tensor([[2.0, 2, 8, 9]]), "labels": torch.tensor([0]), "image": torch.tensor([0])}
    assert made.hardness(batch([0, 1, 2], **labels)).tolist() == pytest.approx([0.25, 0.5, 0.0])


def test_training_augments_and_normalises() -> None:
    seen: dict[str, Any] = {}

    class Augment(nn.Module):
        def forward(self, batch: dict[str, Any], seed: int, epoch: int) -> dict[str, Any]:
            seen.update(batch, seed=seed, epoch=epoch)
            return batch | {"boxes": batch["boxes"] + 1}

    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8])), loss=OwnLoss(), augment=Augment(), seed=5)
    labels = {"boxes": torch.zeros(1, 4), "labels": torch.tensor([0]), "image": torch.tensor([0])}
    assert set(made.losses(batch([0], **labels))) == {"class", "box"}
    assert seen["x"].max() == 1 and seen["seed"] == 5 and made.model.seen.max() == 2


def test_saved_predictions_have_a_table_of_images_and_the_classes_own_ids(tmp_path: Path) -> None:
    found = said((0, 0.9, 1, [2.0, 2, 8, 8]), (0, 0.8, 0, [2.0, 2, 8, 8]), (1, 0.4, 0, [2.0, 2, 8, 8]))
    made = task(found)
    made.spec = replace(SPEC, target=BoxTarget(("a", "b"), (90, 0)))
    inputs = SimpleNamespace(cases=CASES, errors={1: "no picture"}, truth=made.truth)
    decision = Decision(0.5, 1.0, {"a": 0.5, "b": 0.5})
    made.save(tmp_path / "p.json", [made.outputs(batch([0, 2]))], inputs, decision)  # type: ignore[arg-type]
    entries = json.loads((tmp_path / "p.json").read_text())
    assert [(e["image_id"], e["category_id"], e["category"]) for e in entries] == [
        (1, 0, "b"),
        (1, 90, "a"),
        (3, 90, "a"),
    ]
    table = pd.read_csv(tmp_path / "p.images.csv", dtype=str, keep_default_na=False)
    assert table.to_dict("split")["data"] == [
        ["1", "x.png", "64", "64", "2", ""],
        ["2", "y.png", "", "", "0", "no picture"],
        ["3", "z.png", "20", "40", "1", ""],
    ]
    assert list(table) == ["image_id", "case", "width", "height", "boxes", "error"]
    made.save(tmp_path / "none", [], inputs, decision)  # type: ignore[arg-type]
    assert json.loads((tmp_path / "none").read_text()) == [] and len(pd.read_csv(tmp_path / "none.images.csv")) == 3


def test_crowds_are_covered_in_training_but_for_true_boxes() -> None:
    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8])), loss=OwnLoss())
    one = torch.zeros(1).long()
    boxes = {"boxes": torch.tensor([[4.0, 4, 8, 8]]), "labels": one, "image": one}
    ignored = {"ignored": torch.tensor([[2.0, 2, 12.5, 12]]), "ignored_image": one}
    made.losses(batch([0, 1]) | boxes | ignored)
    seen_HW: Tensor = made.model.seen[0, 0]  # type: ignore[assignment, index]
    covered = torch.zeros(32, 32, dtype=torch.bool)
    covered[2:12, 2:13] = True
    covered[4:8, 4:8] = False
    assert (seen_HW[covered] == 0).all() and (seen_HW[~covered] == 2).all()  # the mean, and white
    assert (made.model.seen[1] == 2).all()  # type: ignore[index]


def test_boxes_on_crowds_are_not_hard() -> None:
    made = task(said((0, 0.9, 1, [2.0, 2, 8, 8]), (1, 0.7, 0, [2.0, 2, 8, 8])))
    none = {"boxes": torch.zeros(0, 4), "image": torch.zeros(0).long()}
    ignored = {"ignored": torch.tensor([[0.0, 0, 20, 20]]), "ignored_image": torch.zeros(1).long()}
    assert made.hardness(batch([0, 1]) | none).tolist() == pytest.approx([0.9, 0.7])
    assert made.hardness(batch([0, 1]) | none | ignored).tolist() == pytest.approx([0, 0.7])


class Bright(nn.Module):
    """Finds the bright rectangle of each image, wherever a view has put it."""

    def __init__(self, score: float = 0.8) -> None:
        super().__init__()
        self.score, self.sizes = score, []

    def detect(self, x_BCHW: Tensor) -> Detections:
        self.sizes.append(tuple(x_BCHW.shape[2:]))
        boxes = []
        for x_HW in x_BCHW[:, 0]:
            y, x = (x_HW > x_HW.mean()).nonzero().unbind(1)
            boxes.append([float(v) for v in (x.min(), y.min(), x.max() + 1, y.max() + 1)])
        n = len(boxes)
        return Detections(torch.tensor(boxes), torch.full((n,), self.score), torch.zeros(n).long(), torch.arange(n))


def bright_batch(**more: Any) -> dict[str, Any]:
    seen = batch([0, 1], **more)
    x = torch.zeros((2, 1, 32, 32), dtype=torch.uint8)
    x[0, :, 2:10, 4:16], x[1, :, 20:30, 20:24] = 255, 255
    return seen | {"x": x}


def test_boxes_of_all_views_come_back_to_one_place() -> None:
    made = Detection(SPEC, Bright(), views=BoxViews(8, True, True))
    made.truth = Truth.unknown(np.array([[64, 64], [64, 64]]))
    boxes, _ = made.detections([made.final_outputs(bright_batch())])
    network: Any = made.model
    assert len(network.sizes) == 8 and len(set(network.sizes)) > 4
    # in pixels of originals that are twice as large; edges of a view are whole pixels of it
    np.testing.assert_allclose(boxes.boxes_N4, [[8, 4, 32, 20], [40, 40, 48, 60]], atol=1.5)
    np.testing.assert_allclose(boxes.score_N, [0.8, 0.8], atol=1e-6)
    network.sizes.clear()
    made.outputs(bright_batch())  # after an epoch: the image as it is
    assert network.sizes == [(32, 32)]


def test_members_of_an_ensemble_are_fused_after_their_tiles_are_merged() -> None:
    made = Detection(SPEC, Ensemble([Bright(0.9), Bright(0.5), Says(said((0, 0.3, 1, [1.0, 1, 5, 5])))]))
    made.truth = Truth.unknown(np.array([[64, 64], [64, 64]]))
    boxes, _ = made.detections([made.outputs(bright_batch())])
    assert boxes.label_N.tolist() == [0, 1, 0] and boxes.image_N.tolist() == [0, 0, 1]
    np.testing.assert_allclose(boxes.score_N, [1.4 / 3, 0.1, 1.4 / 3], atol=1e-6)
    tiled = bright_batch(instance=torch.tensor([0, 1])) | {"case": torch.tensor([0, 0])}
    tiled["place"] = torch.tensor([[1.0, 1, 0, 0], [1.0, 1, -32, 0]])  # side by side in one image
    boxes, cases = made.detections([made.outputs(tiled)])
    assert cases.tolist() == [0] and len(boxes.score_N) == 3
    assert sorted(boxes.boxes_N4[boxes.label_N == 0, 0].tolist()) == [4, 52]
