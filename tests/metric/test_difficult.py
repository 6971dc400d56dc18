"""Difficult objects by VOC's rule: neither hit nor miss nor false alarm, told from COCO's crowds by their overlap."""

from __future__ import annotations

import numpy as np
import pytest

from medtrain.core.coco import read_back, results, truth_file
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric import EvalOptions, HitRule, evaluate_boxes, find_hits

PLAIN = EvalOptions(bootstrap=0)
BIG, LESION = (0.0, 0.0, 100.0, 100.0), (200.0, 0.0, 240.0, 40.0)


def truth_of(*boxes: tuple[float, float, float, float], ignored: list[bool], difficult: list[bool]) -> Truth:
    at, none = np.array(boxes), np.zeros(len(boxes), int)
    area, sizes = (at[:, 2:] - at[:, :2]).prod(1), np.full((1, 2), 400)
    marks = np.array(ignored), np.array(difficult)
    return Truth(at, none, none, marks[0], area, np.arange(1, len(at) + 1), sizes, np.array([1]), (), marks[1])


def found_of(*boxes: tuple[float, float, float, float]) -> PredictedBoxes:
    none = np.zeros(len(boxes), int)
    return PredictedBoxes(np.array(boxes), np.linspace(0.9, 0.5, len(boxes)), none, none)


def test_by_hand() -> None:
    """Two boxes on the difficult object, a small one within it, one on the lesion, one on nothing, in this order.

    The first two count nowhere; the small one lies on it by an IoU of 0.04, so it is a false alarm, as is the last one.
    The lesion is found behind one false alarm: precision 1/2 at a recall of 1. On a crowd the small one counts nowhere.
    """
    found = found_of((0, 0, 100, 90), (5, 0, 100, 100), (40, 40, 60, 60), LESION, (300, 300, 340, 340))
    difficult = truth_of(BIG, LESION, ignored=[True, False], difficult=[True, False])
    crowd = truth_of(BIG, LESION, ignored=[True, False], difficult=[False, False])
    for truth, false, ap in ((difficult, 2, 0.5), (crowd, 1, 1.0)):
        hits = find_hits(truth, found, HitRule())
        assert len(hits.label_M) == 1 and hits.true_E.sum() == 1 and (~hits.true_E).sum() == false
        judged = evaluate_boxes(truth, found, ["a"], {"a": 0.1}, ["p"], PLAIN)["metrics"]
        assert judged["map50"]["value"] == pytest.approx(ap) and judged["sensitivity"]["value"] == 1
        assert judged["ppv"]["value"] == pytest.approx(1 / (1 + false))
        assert judged["froc_1"]["value"] == 1 and judged["froc_0.125"]["value"] == (1 if false == 1 else 0)


def test_one_that_is_not_found_is_no_miss() -> None:
    truth = truth_of(BIG, LESION, ignored=[True, False], difficult=[True, False])
    judged = evaluate_boxes(truth, found_of(LESION), ["a"], {"a": 0.1}, ["p"], PLAIN)["metrics"]
    assert (
        judged["sensitivity"]["value"]
        == judged["map50"]["value"]
        == judged["cpm"]["value"]
        == judged["f1"]["value"]
        == 1
    )


def voc(truth: Truth, found: PredictedBoxes, least: float) -> tuple[list[bool], int, float]:
    """Judge as the development kit does, box by box from the surest on; AP is the area under the monotonic curve."""
    assert truth.difficult_M is not None
    taken: set[int] = set()
    right: list[bool] = []
    wanted = int((~truth.difficult_M).sum())
    for n in np.argsort(-found.score_N, kind="stable"):
        best, at = -1.0, -1
        for m in np.flatnonzero(truth.case_M == found.image_N[n]):
            a, b = found.boxes_N4[n], truth.boxes_M4[m]
            wide, high = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
            shared = max(wide, 0) * max(high, 0)
            iou = shared / ((a[2:] - a[:2]).prod() + (b[2:] - b[:2]).prod() - shared)
            if iou > best:
                best, at = iou, m
        if best < least:
            right.append(False)
        elif not truth.difficult_M[at]:
            right.append(at not in taken)
            taken.add(at)
    true, false = np.cumsum(right), np.cumsum(~np.array(right, bool))
    recall, precision = true / wanted, true / (true + false)
    ends, heights = np.concatenate([[0], recall]), np.maximum.accumulate(precision[::-1])[::-1]
    return right, wanted, float((np.diff(ends) * heights).sum())


@pytest.mark.parametrize("seed", range(4))
def test_against_the_development_kits_loop(seed: int) -> None:
    """Lesions far apart, of which a third is difficult; boxes near, within and beside them, several on some."""
    draw = np.random.default_rng(seed)
    images, each = 30, 4
    corner = np.stack([np.tile(np.arange(each) * 200.0, images), np.zeros(images * each)], 1)
    boxes, case = np.concatenate([corner, corner + 80], 1), np.repeat(np.arange(images), each)
    difficult, none = draw.random(len(boxes)) < 0.33, np.zeros(len(boxes), int)
    sizes, ids = np.full((images, 2), 900), np.arange(1, images + 1)
    area = np.full(len(boxes), 6400.0)
    truth = Truth(boxes, none, case, difficult, area, np.arange(1, len(boxes) + 1), sizes, ids, (), difficult)
    of = draw.integers(0, len(boxes), 300)
    at = boxes[of] + draw.normal(0, 14, (300, 4))
    small = draw.random(300) < 0.2
    at[small, 2:] = at[small, :2] + 20
    score = draw.permutation(300) / 300
    found = PredictedBoxes(at, score, np.zeros(300, int), case[of])
    right, wanted, area_under = voc(truth, found, 0.5)
    hits = find_hits(truth, found, HitRule())
    assert hits.true_E.tolist() == right and len(hits.label_M) == wanted
    judged = evaluate_boxes(truth, found, ["a"], {"a": 0.0}, case[::each].tolist(), PLAIN)["metrics"]
    assert judged["sensitivity"]["value"] == pytest.approx(sum(right) / wanted)
    assert judged["map50"]["value"] == pytest.approx(area_under, abs=0.01)  # COCO reads 101 recalls
    as_crowds = Truth(boxes, none, case, difficult, area, np.arange(1, len(boxes) + 1), sizes, ids)
    assert len(find_hits(as_crowds, found, HitRule()).true_E) < len(right)


def test_files_keep_what_is_difficult() -> None:
    truth = truth_of(BIG, LESION, ignored=[True, False], difficult=[True, False])
    file = truth_file(truth, ["c"], ["p"], ["a"])
    assert [row.get("difficult") for row in file["annotations"]] == [1, None]
    again, _ = read_back(results(found_of(LESION), [1], [1]), file)
    assert again.crowd_M.tolist() == [True, False] and again.region_M.tolist() == [False, False]
    assert again.select(np.array([0])).region_M.tolist() == [False, False]
    for row in file["annotations"]:  # as earlier versions wrote it
        row.pop("difficult", None)
    assert read_back([], file)[0].region_M.tolist() == [True, False]
