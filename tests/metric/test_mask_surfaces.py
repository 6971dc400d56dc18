"""Metrics of masks, against values by hand, brute force, and MONAI's on the same masks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from medtrain.metric import EvalOptions
from medtrain.metric.mask_overlap import MEASURED, evaluate_masks, measure, values_of

SPACINGS = [(1.0, 1.0, 1.0), (3.0, 0.7, 0.7), (2.5, 1.0, 1.0)]


def blobs(seed: int, border: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Make two similar masks of several rounded parts."""
    rng = np.random.default_rng(seed)

    def smooth(width: float) -> Any:
        noise = ndimage.gaussian_filter(rng.normal(size=(16, 24, 24)), width)
        return noise / noise.std()

    base, other = smooth(2.5), smooth(1.5)
    one, two = base > 1.3, base + 0.4 * other > 1.3
    if border:
        one[0] |= base[0] > 0
    return one, two


def measured(predicted: np.ndarray, true: np.ndarray, spacing: Any = (1.0, 1.0, 1.0)) -> dict[str, float]:
    return dict(zip(MEASURED, measure(predicted, true, spacing, 2.0).tolist(), strict=True))


def box(*sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((12, 12, 12), bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def edge_points(mask: np.ndarray, spacing: Any) -> np.ndarray:
    """List in mm the voxels with a neighbour outside, one by one."""
    padded, points = np.pad(mask, 1), []
    for place in np.argwhere(padded):
        around = [tuple(place + step * np.eye(3, dtype=int)[axis]) for axis in range(3) for step in (-1, 1)]
        if not all(padded[at] for at in around):
            points.append(place * np.asarray(spacing))
    return np.asarray(points)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize(("seed", "border"), [(0, False), (1, True)])
def test_hausdorff_is_that_of_all_distances(spacing: Any, seed: int, border: bool) -> None:
    one, two = blobs(seed, border)
    between = cdist(edge_points(one, spacing), edge_points(two, spacing))
    wanted = max(np.percentile(between.min(0), 95), np.percentile(between.min(1), 95))
    assert measured(one, two, spacing)["hd95"] == pytest.approx(wanted, abs=1e-9)
    assert measured(two, one, spacing)["hd95"] == pytest.approx(wanted, abs=1e-9)


MONAI = {  # of `blobs`, by monai 1.6.1: compute_surface_dice(use_subvoxels=True), compute_hausdorff_distance
    (0, False, 0): (0.9582719, 2.449490),
    (0, False, 1): (0.9459990, 2.969848),
    (0, False, 2): (0.9362484, 3.176027),
    (1, True, 0): (0.9264365, 6.752679),
    (1, True, 1): (0.9259582, 6.226874),
    (1, True, 2): (0.9203476, 8.043598),
}


@pytest.mark.parametrize(("seed", "border", "spacing"), MONAI)
def test_surfaces_are_those_of_monai(seed: int, border: bool, spacing: int) -> None:
    made = measured(*blobs(seed, border), SPACINGS[spacing])
    nsd, hd95 = MONAI[seed, border, spacing]
    assert made["nsd"] == pytest.approx(nsd, abs=1e-6)
    assert made["hd95"] == pytest.approx(hd95, abs=1e-5)


def test_shifted_boxes_by_hand() -> None:
    true, shifted = box((2, 6), (2, 6), (2, 6)), box((2, 6), (2, 6), (5, 9))  # 3 of 4 voxels further
    made = measured(shifted, true, (1.0, 2.0, 0.5))
    assert (made["both"], made["predicted"], made["true"]) == (16, 64, 64)
    assert made["volume_ml"] == pytest.approx(0.064) and made["true_volume_ml"] == pytest.approx(0.064)
    values = {name: v[0] for name, v in values_of(np.array([list(made.values())])).items()}
    assert values["dice"] == 0.25 and values["iou"] == pytest.approx(16 / 112)
    assert made["hd95"] == pytest.approx(1.5)  # 3 voxels of 0.5 mm
    assert made["nsd"] == 1.0  # everything lies within 2 mm
    assert measured(true, true)["hd95"] == 0.0 and measured(true, true)["nsd"] == 1.0


def test_lesions_are_components_that_are_touched() -> None:
    true = box((0, 2), (0, 2), (0, 2)) | box((2, 3), (2, 3), (2, 3)) | box((8, 9), (8, 9), (8, 9))  # two: corners join
    called = box((1, 2), (1, 2), (1, 2)) | box((1, 2), (1, 2), (5, 6)) | box((5, 6), (5, 6), (5, 6))
    made = measured(called, true)
    assert (made["lesions"], made["lesions_found"]) == (2, 1)
    assert (made["called"], made["called_right"]) == (3, 1)


def test_empty_masks() -> None:
    empty, full = np.zeros((12, 12, 12), bool), box((2, 4), (2, 4), (2, 4))
    rows = np.array([measure(p, t, (1.0, 1.0, 1.0), 2.0) for p, t in [(empty, empty), (full, empty), (empty, full)]])
    values = values_of(rows)
    assert math.isnan(values["dice"][0]) and values["dice"][1:].tolist() == [0, 0]
    assert math.isnan(values["iou"][0]) and values["iou"][1:].tolist() == [0, 0]
    assert np.isnan(values["nsd"]).all() and np.isnan(values["hd95"]).all()
    assert math.isnan(values["volume_difference_ml"][0])
    assert values["volume_difference_ml"][1:].tolist() == pytest.approx([0.008, -0.008])
    judged = evaluate_masks(rows[:, None], ["a"], ["p", "q", "r"], EvalOptions(bootstrap=0))
    assert judged["counts"]["a"] == {"with_mask": 1, "both_empty": 1, "only_predicted": 1, "only_true": 1}
    assert judged["metrics"]["dice"]["value"] == 0 and judged["metrics"]["hd95"]["value"] is None
    assert judged["metrics"]["lesion_f1"]["value"] == 0  # a lesion is missed and one is called wrongly


def table(cases: int = 30, classes: int = 2, seed: int = 0) -> np.ndarray:
    """Make what `measure` could have given of cases."""
    rng = np.random.default_rng(seed)
    true, share = rng.integers(50, 100, (cases, classes)), rng.uniform(0.7, 0.95, (cases, classes))
    both = np.floor(true * share)
    columns = [both, true, true, share, 3 - share, true / 1000, true / 1000]
    return np.stack([*columns, *(np.full((cases, classes), n) for n in (2, 1, 4, 1))], -1).astype(float)


def test_the_whole_is_the_mean_of_classes_and_cases() -> None:
    rows = table()
    judged = evaluate_masks(rows, ["a", "b"], [str(n) for n in range(30)], EvalOptions(bootstrap=500))
    dice = 2 * rows[..., 0] / (rows[..., 1] + rows[..., 2])
    for c, name in enumerate("ab"):
        assert judged["per_class"][name]["dice"]["value"] == pytest.approx(dice[:, c].mean())
    assert judged["metrics"]["dice"]["value"] == pytest.approx(dice.mean())
    assert judged["metrics"]["lesion_sensitivity"]["value"] == 0.5
    assert judged["metrics"]["lesion_precision"]["value"] == 0.25
    assert judged["metrics"]["lesion_f1"]["value"] == pytest.approx(2 * 0.5 * 0.25 / 0.75)
    low, high = judged["per_class"]["a"]["dice"]["ci95"]
    half = 2.045 * dice[:, 0].std(ddof=1) / np.sqrt(30)  # Student's t of 29 degrees of freedom
    assert low == pytest.approx(dice[:, 0].mean() - half, abs=0.15 * half)
    assert high == pytest.approx(dice[:, 0].mean() + half, abs=0.15 * half)


def test_cases_of_one_patient_count_as_one() -> None:
    rows = np.repeat(table(10, 1), 3, axis=0)
    alone = evaluate_masks(rows, ["a"], [str(n) for n in range(30)], EvalOptions(bootstrap=2000))
    shared = evaluate_masks(rows, ["a"], [str(n // 3) for n in range(30)], EvalOptions(bootstrap=2000))
    width = [np.ptp(judged["metrics"]["dice"]["ci95"]) for judged in (alone, shared)]
    assert width[1] == pytest.approx(width[0] * np.sqrt(3), rel=0.25)


def test_intervals_rest_on_patients_who_have_a_value() -> None:
    rows = table(30, 1)
    rows[4:, 0, :] = measure(np.zeros((2, 2, 2), bool), np.zeros((2, 2, 2), bool), (1, 1, 1), 2.0)
    few = evaluate_masks(rows, ["a"], [str(n) for n in range(30)], EvalOptions(bootstrap=2000))["metrics"]["dice"]
    alone = evaluate_masks(rows[:4], ["a"], list("abcd"), EvalOptions(bootstrap=2000))["metrics"]["dice"]
    assert np.ptp(few["ci95"]) > 0.8 * np.ptp(alone["ci95"])  # 26 patients without the class tell nothing of it
    rows[1:, 0, :] = rows[4, 0]
    lone = evaluate_masks(rows, ["a"], [str(n) for n in range(30)], EvalOptions(bootstrap=200))["metrics"]["dice"]
    assert lone["ci95"] is None and "1 patient behind it" in lone["reason"]


def test_groups_are_judged_on_their_own() -> None:
    rows, sexes = table(20, 1), ["f", "m"] * 10
    options = EvalOptions(bootstrap=100, groups={"sex": sexes})
    judged = evaluate_masks(rows, ["a"], [str(n) for n in range(20)], options)
    alone = evaluate_masks(rows[::2], ["a"], [str(n) for n in range(0, 20, 2)], EvalOptions(bootstrap=100))
    assert judged["groups"]["sex"]["f"]["n_patients"] == 10
    assert judged["groups"]["sex"]["f"]["metrics"] == alone["metrics"]
