"""What finds a lesion: every box counts; LUNA16's rule against a plain loop of its own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.metric import EvalOptions, HitRule, evaluate_boxes, find_hits, fit_box_thresholds
from medtrain.metric.detection import BoxSheet
from medtrain.metric.recall import FALSE_POSITIVES
from tests.metric.test_detection import images

CLASSES = ["a", "b", "c"]
PLAIN = EvalOptions(bootstrap=0)
CENTRE = HitRule("centre")


def luna16(truth: Truth, found: PredictedBoxes, label: int) -> tuple[list[float], list[tuple[float, bool]], int]:
    """Sensitivity at 1/8 to 8 false positives an image as LUNA16's published evaluation has it, box by box.

    Included nodules take the highest score of the marks within them; marks within an excluded one that hit nothing else
    are dropped; the curve is scikit-learn's roc_curve, read by numpy.interp.
    """
    events: list[tuple[float, bool]] = []
    lesions = 0
    for i in range(len(truth)):
        marks = [n for n in range(len(found.score_N)) if (found.image_N[n], found.label_N[n]) == (i, label)]
        left = set(marks)
        for m in range(len(truth.boxes_M4)):
            if (truth.case_M[m], truth.label_M[m]) != (i, label):
                continue
            x0, y0, x1, y1 = truth.boxes_M4[m]
            within = []
            for n in marks:
                a0, b0, a1, b1 = found.boxes_N4[n]
                dx, dy = (a0 + a1) / 2 - (x0 + x1) / 2, (b0 + b1) / 2 - (y0 + y1) / 2
                if (dx / ((x1 - x0) / 2)) ** 2 + (dy / ((y1 - y0) / 2)) ** 2 < 1:
                    within.append(n)
            left -= set(within)
            if not truth.crowd_M[m]:
                lesions += 1
                if within:
                    events.append((max(float(found.score_N[n]) for n in within), True))
        events += [(float(found.score_N[n]), False) for n in left]
    score, true = np.array([s for s, _ in events]), np.array([t for _, t in events])
    false_rate, true_rate, _ = roc_curve(true, score)
    false, sensitivity = false_rate * (~true).sum() / len(truth), true_rate * true.sum() / lesions
    return [float(np.interp(rate, false, sensitivity)) for rate in FALSE_POSITIVES], events, lesions


@pytest.mark.parametrize("decimals", [1, 2, 9])  # from many equal scores to none
@pytest.mark.parametrize("seed", range(3))
def test_the_rule_and_the_interpolation_of_luna16(seed: int, decimals: int) -> None:
    truth, found = images(25, seed, decimals)
    limits = dict.fromkeys(CLASSES, 0.45)
    results = evaluate_boxes(truth, found, CLASSES, limits, range(25), PLAIN, rule=CENTRE)["per_class"]
    for label, name in enumerate(CLASSES):
        rates, events, lesions = luna16(truth, found, label)
        own = {key: entry["value"] for key, entry in results[name].items()}
        assert [own[f"froc_{rate:g}"] for rate in FALSE_POSITIVES] == pytest.approx(rates, abs=1e-12)
        assert own["cpm"] == pytest.approx(np.mean(rates), abs=1e-12)
        true, false = (sum(t is kind for s, t in events if s >= 0.45) for kind in (True, False))
        assert own["sensitivity"] == pytest.approx(true / lesions)
        assert own["ppv"] == pytest.approx(true / (true + false))
        assert own["f1"] == pytest.approx(2 * true / (true + false + lesions))


def one_image(*lesions: tuple[float, float, float, float], crowd: bool = False) -> Truth:
    n, boxes = len(lesions), np.array(lesions, float).reshape(-1, 4)
    area, none = (boxes[:, 2:] - boxes[:, :2]).prod(1), np.zeros(n, int)
    return Truth(boxes, none, none, np.full(n, crowd), area, np.arange(n), np.full((1, 2), 200), np.arange(1))


def boxes_of(*rows: tuple[float, float, float]) -> PredictedBoxes:
    """Boxes of 4 x 2 pixels around (x, y) with a score."""
    at = np.array([[x - 2, y - 1, x + 2, y + 1] for x, y, _ in rows]).reshape(-1, 4)
    none = np.zeros(len(rows), int)
    return PredictedBoxes(at, np.array([score for *_, score in rows]), none, none)


@pytest.mark.parametrize(
    ("x", "y", "inside"),
    [(50, 50, True), (59.9, 50, True), (60, 50, False), (57, 57, True), (57.2, 57.2, False), (58, 58, False)],
)
def test_a_centre_lies_within_the_radius_of_a_square_lesion(x: float, y: float, inside: bool) -> None:
    """Radius 10 around (50, 50): its edge and the corners of its box lie outside."""
    hits = find_hits(one_image((40, 40, 60, 60)), boxes_of((x, y, 0.9)), CENTRE)
    assert hits.true_E.tolist() == [inside]


@pytest.mark.parametrize(("x", "y", "inside"), [(69, 50, True), (50, 56, False), (50, 54.9, True), (64, 54, False)])
def test_of_an_oblong_lesion_it_is_the_ellipse(x: float, y: float, inside: bool) -> None:
    hits = find_hits(one_image((30, 45, 70, 55)), boxes_of((x, y, 0.9)), CENTRE)
    assert hits.true_E.tolist() == [inside]


def test_further_hits_and_hits_of_excluded_findings_count_nowhere() -> None:
    lesion, twice = one_image((40, 40, 60, 60)), boxes_of((50, 50, 0.6), (52, 50, 0.9), (55, 50, 0.7), (90, 90, 0.8))
    hits = find_hits(lesion, twice, CENTRE)
    assert hits.score_E.tolist() == [0.9, 0.8] and hits.true_E.tolist() == [True, False]
    excluded = find_hits(one_image((40, 40, 60, 60), crowd=True), twice, CENTRE)
    assert excluded.score_E.tolist() == [0.8] and not excluded.true_E.any() and not len(excluded.label_M)
    overlap = find_hits(one_image((40, 40, 60, 60), (48, 40, 68, 60)), boxes_of((54, 50, 0.9)), CENTRE)
    assert overlap.score_E.tolist() == [0.9, 0.9] and overlap.true_E.all()  # one mark, both nodules
    point = find_hits(one_image((50, 50, 50, 50)), boxes_of((50, 50, 0.9)), CENTRE)
    assert point.true_E.tolist() == [False]  # nothing lies within what has no extent


@pytest.mark.parametrize("rule", [HitRule(), HitRule("iou", 0.1), CENTRE], ids=lambda rule: f"{rule.hit}{rule.iou}")
def test_all_lesions_of_a_crowded_image_can_be_found(rule: HitRule) -> None:
    """150 lesions found exactly, and 250 false positives: COCO's cap of 100 boxes is average precision's alone."""
    x, y = (part.ravel() * 12.0 for part in np.meshgrid(np.arange(20), np.arange(20)))
    squares = np.stack([x, y, x + 8, y + 8], 1)
    truth = one_image(*map(tuple, squares[:150]))
    score = np.concatenate([np.linspace(0.9, 0.6, 150), np.linspace(0.5, 0.2, 250)])
    found = PredictedBoxes(squares, score, np.zeros(400, int), np.zeros(400, int))

    def value(limit: float, name: str) -> float:
        results = evaluate_boxes(truth, found, ["a"], {"a": limit}, ["p"], PLAIN, rule=rule)
        return float(results["metrics"][name]["value"])

    assert value(0.55, "sensitivity") == value(0.55, "f1") == value(0.55, "cpm") == value(0.55, "froc_0.125") == 1
    assert value(0.1, "ppv") == 150 / 400 and value(0.1, "f1") == 2 * 150 / (400 + 150)
    assert value(0.55, "map50") == pytest.approx(67 / 101)  # 100 of 150 can be had: recalls 0 to 0.66
    assert fit_box_thresholds(truth, found, ["a"], "sensitivity@1", rule)["a"] == pytest.approx(0.6)
    assert fit_box_thresholds(truth, found, ["a"], "f1", rule)["a"] == pytest.approx(0.6)
    nothing = truth.select(np.array([0]))
    empty = Truth.unknown(nothing.size_N2)
    alarms = evaluate_boxes(empty, found, ["a"], {"a": 0.1}, ["p"], PLAIN, rule=rule)["metrics"]
    assert alarms["fp_per_negative_image"]["value"] == 400


@pytest.mark.parametrize("rule", [HitRule(), CENTRE], ids=lambda rule: rule.hit)
def test_a_crowd_or_a_difficult_lesion_is_a_lesion(rule: HitRule) -> None:
    """Three images: one with a lesion, one with a difficult one only, one with nothing; a false positive in each."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10]], float)
    sizes, none = np.full((3, 2), 100), np.zeros(2, int)
    truth = Truth(boxes, none, np.array([0, 1]), np.array([False, True]), np.full(2, 100.0), none, sizes, np.arange(3))
    at, image = np.tile([50.0, 50, 60, 60], (4, 1)), np.array([0, 1, 2, 2])
    found = PredictedBoxes(at, np.full(4, 0.9), np.zeros(4, int), image)
    results = evaluate_boxes(truth, found, ["a"], {"a": 0.5}, ["p", "q", "r"], PLAIN, rule=rule)
    assert results["metrics"]["fp_per_negative_image"]["value"] == 2


@pytest.mark.parametrize("decimals", [1, 9])
def test_a_replicate_is_the_evaluation_of_the_images_drawn(decimals: int) -> None:
    truth, found = images(12, 5, decimals)
    patients, limits = np.arange(12) // 2, dict.fromkeys(CLASSES, 0.4)
    counts = np.random.default_rng(1).multinomial(6, np.ones(6) / 6)
    sheet = BoxSheet(truth, found, CLASSES, limits, patients, 6, CENTRE)
    weighed = sheet.statistics(counts[:, None].astype(float))
    drawn = np.concatenate([[i] * counts[patients[i]] for i in range(12)]).astype(int)
    parts = [found.select(found.image_N == i) for i in drawn]
    copied = PredictedBoxes(
        *(np.concatenate([getattr(p, name) for p in parts]) for name in ("boxes_N4", "score_N", "label_N")),
        np.repeat(np.arange(len(drawn)), [len(p.score_N) for p in parts]),
    )
    again = evaluate_boxes(truth.select(drawn), copied, CLASSES, limits, range(len(drawn)), PLAIN, rule=CENTRE)
    for name in [f"froc_{rate:g}" for rate in FALSE_POSITIVES] + ["cpm", "sensitivity", "f1", "fp_per_negative_image"]:
        value = again["metrics"][name]["value"]
        assert (np.nan if value is None else value) == pytest.approx(
            float(weighed[None, name][0]), abs=1e-9, nan_ok=True
        ), name


def test_nothing_found() -> None:
    truth, found = one_image((0, 0, 10, 10)), boxes_of()
    results = evaluate_boxes(truth, found, ["a"], {"a": 0.5}, ["p"], PLAIN, rule=CENTRE)["metrics"]
    assert results["cpm"]["value"] == 0 and results["sensitivity"]["value"] == 0 and results["ppv"]["value"] is None
