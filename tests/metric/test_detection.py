"""Detection metrics against pycocotools, worked cases, and a bootstrap that draws images in earnest."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np
import pytest

from medtrain.core.errors import UsageError
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric import EvalOptions, HitRule, evaluate_boxes, fit_box_thresholds, map50, parse_box_policy
from medtrain.metric.detection import COCO as STEPS
from medtrain.metric.detection import BoxSheet
from medtrain.metric.matching import COCO_MOST, SIZES, match
from medtrain.metric.recall import curve_of

CLASSES = ["a", "b", "c"]


def images(n: int, seed: int, decimals: int = 2) -> tuple[Truth, PredictedBoxes]:
    """Boxes of all sizes, some of them crowds, found badly, with equal scores; some images have nothing."""
    draw = np.random.default_rng(seed)
    true, label, case, found, said, score, image = [], [], [], [], [], [], []
    for i in range(n):
        k, m = draw.integers(0, 5), draw.integers(0, 12)
        corner, side = draw.uniform(0, 500, (k, 2)), np.exp(draw.uniform(1.5, 5.5, (k, 2)))
        own = draw.integers(0, 3, k)
        true.append(np.concatenate([corner, corner + side], 1).round(1))
        label.append(own)
        case.append(np.full(k, i))
        of = draw.integers(0, k, m) if k else np.zeros(m, int)
        near = true[-1][of] if k else np.tile([10.0, 10, 60, 80], (m, 1))
        moved = near + draw.normal(0, 0.12, (m, 4)) * np.tile(near[:, 2:] - near[:, :2], 2)
        found.append(
            np.concatenate([np.minimum(moved[:, :2], moved[:, 2:]), np.maximum(moved[:, :2], moved[:, 2:])], 1)
        )
        said.append(np.where(draw.random(m) < 0.8, own[of] if k else 0, draw.integers(0, 3, m)))
        score.append(draw.random(m).round(decimals))
        image.append(np.full(m, i))
    boxes, number = np.concatenate(true), np.concatenate(case)
    area = (boxes[:, 2:] - boxes[:, :2]).prod(1) * draw.uniform(0.6, 1, len(boxes))
    crowd, sizes = draw.random(len(boxes)) < 0.1, np.full((n, 2), 600)
    ids = np.arange(1, len(boxes) + 1)
    truth = Truth(boxes, np.concatenate(label), number, crowd, area, ids, sizes, np.arange(1, n + 1))
    return truth, PredictedBoxes(
        np.concatenate(found), np.concatenate(score), np.concatenate(said), np.concatenate(image)
    )


def pycocotools_ap(truth: Truth, found: PredictedBoxes) -> tuple[np.ndarray, np.ndarray]:
    """AP [T, class, size], and the summary."""
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")

    def xywh(box: np.ndarray) -> list[float]:
        return [box[0], box[1], box[2] - box[0], box[3] - box[1]]

    with contextlib.redirect_stdout(io.StringIO()):
        true = coco.COCO()
        marked = zip(truth.id_M, truth.case_M, truth.label_M, truth.boxes_M4, truth.area_M, truth.crowd_M, strict=True)
        true.dataset = {
            "images": [{"id": int(i)} for i in truth.image_id_N],
            "categories": [{"id": c + 1} for c in range(3)],
            "annotations": [
                {"id": int(i), "image_id": int(m) + 1, "category_id": int(c) + 1, "bbox": xywh(b), "area": a,
                 "iscrowd": int(crowd)}
                for i, m, c, b, a, crowd in marked
            ],
        }  # fmt: skip
        true.createIndex()
        rows = zip(found.image_N, found.label_N, found.boxes_N4, found.score_N, strict=True)
        said = [{"image_id": int(m) + 1, "category_id": int(c) + 1, "bbox": xywh(b), "score": s} for m, c, b, s in rows]
        run = evaluation.COCOeval(true, true.loadRes(said), "bbox")
        run.evaluate()
        run.accumulate()
        run.summarize()
    precision = run.eval["precision"][..., -1]
    return np.where((precision > -1).all(1), precision.mean(1), np.nan), run.stats


@pytest.mark.parametrize("seed", range(4))
def test_every_class_threshold_and_size_is_pycocotools(seed: int) -> None:
    truth, found = images(40, seed)
    expected, summary = pycocotools_ap(truth, found)
    matches, own = match(truth, found, STEPS, tuple(SIZES), COCO_MOST), np.arange(40)
    weights = np.ones((40, 1))
    mine = [
        [[curve_of(matches, c, t, a, own, 40).average_precision(weights)[0] for a in range(4)] for c in range(3)]
        for t in range(10)
    ]
    np.testing.assert_allclose(mine, expected, atol=1e-12)
    whole = evaluate_boxes(truth, found, CLASSES, dict.fromkeys(CLASSES, 0.5), own.tolist(), EvalOptions(0))["metrics"]
    names = ("map", "map50", "map75", "map_small", "map_medium", "map_large")
    assert [whole[name]["value"] for name in names] == pytest.approx(summary[:6].tolist(), abs=1e-12)
    assert map50(truth, found, 3) == pytest.approx(summary[1], abs=1e-12)


def truth_of(*boxes: tuple[int, float]) -> Truth:
    """Squares of 10 px in (image, left) of 2 images."""
    at = np.array([[x, 0, x + 10, 10] for _, x in boxes], float).reshape(-1, 4)
    n, zeros = len(boxes), np.zeros(len(boxes), int)
    case = np.array([i for i, _ in boxes], int)
    return Truth(at, zeros, case, zeros > 0, np.full(n, 100.0), np.arange(n), np.full((2, 2), 100), np.arange(2))


def found_of(*boxes: tuple[int, float, float]) -> PredictedBoxes:
    at = np.array([[x, 0, x + 10, 10] for _, x, _ in boxes], float).reshape(-1, 4)
    score, image = np.array([s for *_, s in boxes]), np.array([i for i, *_ in boxes], int)
    return PredictedBoxes(at, score, np.zeros(len(boxes), int), image)


def test_a_lesion_is_found_once_and_in_its_own_image() -> None:
    truth = truth_of((0, 0))
    twice = found_of((0, 0, 0.9), (0, 1, 0.8), (0, 0, 0.7), (1, 0, 0.95))
    found = evaluate_boxes(truth, twice, ["a"], {"a": 0.5}, ["p", "q"], EvalOptions(0))["metrics"]
    assert found["sensitivity"]["value"] == 1 and found["ppv"]["value"] == 0.25
    assert found["fp_per_negative_image"]["value"] == 1  # the box in the image without any
    assert found["map50"]["value"] == pytest.approx(0.5)


def test_froc_by_hand() -> None:
    truth = truth_of((0, 0), (0, 40), (1, 0), (1, 40))
    said = found_of((0, 0, 0.9), (0, 20, 0.8), (1, 0, 0.8), (1, 60, 0.7), (1, 80, 0.6), (0, 40, 0.5))
    found = evaluate_boxes(truth, said, ["a"], {"a": 0.75}, ["p", "q"], EvalOptions(0))["metrics"]
    rates = [found[f"froc_{rate:g}"]["value"] for rate in (0.125, 0.25, 0.5, 1, 2, 4, 8)]
    assert rates == [0.25, 0.25, 0.5, 0.5, 0.75, 0.75, 0.75]  # half a false positive an image is one of equal score
    assert found["cpm"]["value"] == pytest.approx(np.mean(rates))


def test_nothing_to_find_or_nothing_found() -> None:
    nothing = found_of()
    none = evaluate_boxes(truth_of(), found_of((0, 0, 0.9)), ["a"], {"a": 0.5}, ["p", "q"], EvalOptions(20))["metrics"]
    assert none["map"] == {"value": None, "ci95": None} and none["fp_per_negative_image"]["value"] == 0.5
    missed = evaluate_boxes(truth_of((0, 0), (1, 0)), nothing, ["a"], {"a": 0.5}, ["p", "q"], EvalOptions(20))[
        "metrics"
    ]
    assert missed["map"]["value"] == 0 and missed["ppv"]["value"] is None
    assert missed["fp_per_negative_image"] == {"value": None, "ci95": None}


def test_a_replicate_is_the_evaluation_of_the_images_drawn() -> None:
    truth, found = images(12, 5, decimals=9)
    patients = np.arange(12) // 2
    limits = dict.fromkeys(CLASSES, 0.4)
    counts = np.random.default_rng(0).multinomial(6, np.ones(6) / 6)
    sheet = BoxSheet(truth, found, CLASSES, limits, patients, 6, HitRule())
    weighed = sheet.statistics(counts[:, None].astype(float))
    drawn = np.concatenate([[i] * counts[patients[i]] for i in range(12)]).astype(int)
    parts = [found.select(found.image_N == i) for i in drawn]
    copied = PredictedBoxes(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("boxes_N4", "score_N", "label_N")),
        np.repeat(np.arange(len(drawn)), [len(p.score_N) for p in parts]),
    )
    again = evaluate_boxes(truth.select(drawn), copied, CLASSES, limits, range(len(drawn)), EvalOptions(0))
    for name, result in again["metrics"].items():
        value = np.nan if result["value"] is None else result["value"]
        assert value == pytest.approx(float(weighed[None, name][0]), abs=1e-9, nan_ok=True), name


def test_intervals_hold_the_value_and_need_two_patients() -> None:
    truth, found = images(40, 6)
    limits = dict.fromkeys(CLASSES, 0.4)
    sure = evaluate_boxes(truth, found, CLASSES, limits, range(40), EvalOptions(200))
    low, high = sure["metrics"]["map50"]["ci95"]
    assert low < sure["metrics"]["map50"]["value"] < high
    assert sure["per_class"]["a"]["cpm"]["ci95"] is not None
    one = evaluate_boxes(truth, found, CLASSES, limits, ["p"] * 40, EvalOptions(200))
    assert one["metrics"]["map50"]["ci95"] is None


def test_thresholds() -> None:
    truth = truth_of((0, 0), (0, 40), (1, 0))
    said = found_of((0, 0, 0.9), (1, 80, 0.8), (1, 0, 0.7), (1, 60, 0.6), (0, 20, 0.6), (0, 40, 0.5))

    def fit(policy: str | float) -> float:
        return fit_box_thresholds(truth, said, ["a"], policy)["a"]

    assert fit(0.3) == 0.3
    assert fit("sensitivity@0.6") == 0.7 and fit("sensitivity@1") == 0.5
    assert fit("fp_per_image@0.5") == 0.7 and fit("fp_per_image@1") == 0.7  # both of 0.6 or none
    assert fit("fp_per_image@0.1") == 0.9
    assert fit("f1") == 0.5 or fit("f1") == 0.7  # 2*2/(3+3) is 2*3/(6+3)
    assert fit_box_thresholds(truth_of(), said, ["a"], "f1") == {"a": 0.5}


@pytest.mark.parametrize("policy", ["youden", "f2", "sensitivity@0", "fp_per_image@x", 1.5, True])
def test_policies_that_do_not_exist(policy: object) -> None:
    with pytest.raises(UsageError, match="fp_per_image@X"):
        parse_box_policy(policy)  # type: ignore[arg-type]


def test_thousands_of_images_take_seconds() -> None:
    truth, found = images(5000, 7)
    start = time.process_time()
    evaluate_boxes(truth, found, CLASSES, dict.fromkeys(CLASSES, 0.5), range(5000), EvalOptions(0))
    assert time.process_time() - start < 20  # 3 s on a free core


def test_groups_are_judged_as_if_alone() -> None:
    truth, found = images(30, 5)
    patients, names = [str(n // 2) for n in range(30)], ["ab"[n % 3 > 0] for n in range(30)]
    limits = dict.fromkeys(CLASSES, 0.4)
    results = evaluate_boxes(truth, found, CLASSES, limits, patients, EvalOptions(20, groups={"site": names}))
    assert list(results["groups"]["site"]) == ["a", "b"]
    for name, group in results["groups"]["site"].items():
        at = np.flatnonzero(np.array(names) == name)
        own = PredictedBoxes(
            *(np.concatenate(part) for part in zip(*[_of(found, i, n) for n, i in enumerate(at)], strict=True))
        )
        alone = evaluate_boxes(truth.select(at), own, CLASSES, limits, [patients[i] for i in at], EvalOptions(20))
        assert group["metrics"] == alone["metrics"] and group["per_class"] == alone["per_class"]
        assert group["n_cases"] == len(at) and sum(group["events"].values()) == int((~truth.select(at).crowd_M).sum())


def _of(found: PredictedBoxes, image: int, number: int) -> tuple[np.ndarray, ...]:
    """The predictions of one image, its number another."""
    mine = found.image_N == image
    return found.boxes_N4[mine], found.score_N[mine], found.label_N[mine], np.full(mine.sum(), number)
