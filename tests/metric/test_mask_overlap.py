"""Masks judged: hand-worked overlaps, distances by brute force, what is empty, intervals."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.distance import cdist

from medtrain.metric.mask_overlap import MEASURED, evaluate_masks, measure, surfaces, values_of
from medtrain.metric.options import EvalOptions

SPACING = (2.0, 1.0, 0.5)


def block(*sides: tuple[int, int]) -> np.ndarray:
    mask = np.zeros((12, 14, 16), bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


def test_two_blocks_by_hand() -> None:
    a, b = block((2, 6), (2, 6), (2, 6)), block((2, 6), (2, 6), (4, 8))
    row = dict(zip(MEASURED, measure(a, b, SPACING, 2.0), strict=True))
    assert (row["both"], row["predicted"], row["true"]) == (32, 64, 64)
    values = {name: float(v[0]) for name, v in values_of(measure(a, b, SPACING, 2.0)[None]).items()}
    assert values["dice"] == 0.5 and values["iou"] == pytest.approx(1 / 3) and values["volume_difference_ml"] == 0
    assert row["volume_ml"] == pytest.approx(64 / 1000) and values["hd95"] == pytest.approx(1.0)  # two voxels of 0.5 mm
    assert values["nsd"] == 1.0 and surfaces(a, b, SPACING, 0.4)[0] < 1


def test_distances_of_surfaces_are_those_of_all_pairs() -> None:
    draw = np.random.default_rng(0)
    a, b = (ndimage.gaussian_filter(draw.normal(size=(12, 14, 16)), 2) > 0 for _ in range(2))
    edges = [np.argwhere(m & ~ndimage.binary_erosion(np.pad(m, 1))[1:-1, 1:-1, 1:-1]) * SPACING for m in (a, b)]
    away = cdist(*edges)
    _, hd95 = surfaces(a, b, SPACING, 1.0)
    to_b, to_a = away.min(1), away.min(0)
    assert hd95 == pytest.approx(max(np.percentile(to_b, 95), np.percentile(to_a, 95)), abs=1e-9)


def test_empty_masks_are_left_out_or_nothing_and_counted() -> None:
    a, nothing = block((2, 6), (2, 6), (2, 6)), block((0, 0), (0, 0), (0, 0))
    pairs = [(nothing, nothing), (a, nothing), (nothing, a), (a, a)]
    rows = np.stack([measure(p, t, SPACING, 2.0) for p, t in pairs])[:, None]
    assert values_of(rows[:, 0])["dice"].tolist()[1:] == [0, 0, 1] and np.isnan(values_of(rows[:, 0])["dice"][0])
    found = evaluate_masks(rows, ["x"], ["p", "q", "r", "s"], EvalOptions(bootstrap=50))
    assert found["metrics"]["dice"]["value"] == pytest.approx(1 / 3)
    assert found["metrics"]["hd95"]["value"] == 0 and found["per_class"]["x"]["nsd"]["value"] == 1
    assert found["counts"]["x"] == {"with_mask": 2, "both_empty": 1, "only_predicted": 1, "only_true": 1}


def test_lesions_are_components() -> None:
    true = block((1, 3), (1, 3), (1, 3)) | block((8, 10), (8, 10), (8, 10))
    called = block((2, 4), (2, 4), (2, 4)) | block((8, 9), (1, 2), (12, 14))
    row = dict(zip(MEASURED, measure(called, true, SPACING, 2.0), strict=True))
    assert (row["lesions"], row["lesions_found"], row["called"], row["called_right"]) == (2, 1, 2, 1)


def test_an_interval_over_patients_holds_the_mean() -> None:
    draw = np.random.default_rng(1)
    rows = np.zeros((40, 2, len(MEASURED)))
    rows[..., 1:3] = 100
    rows[..., 0] = draw.integers(70, 95, (40, 2))
    found = evaluate_masks(rows, ["a", "b"], [f"p{n // 2}" for n in range(40)], EvalOptions(bootstrap=500))
    dice = found["metrics"]["dice"]
    assert (
        dice["value"] == pytest.approx(rows[..., 0].mean() / 100) and dice["ci95"][0] < dice["value"] < dice["ci95"][1]
    )
    assert 0.01 < dice["ci95"][1] - dice["ci95"][0] < 0.06


def test_no_distance_is_below_0_where_volumes_may_differ_either_way() -> None:
    rows = np.zeros((4, 1, len(MEASURED)))
    rows[..., :3] = 100
    rows[:, 0, MEASURED.index("hd95")] = [0.0, 0.5, 2.5, 0.0]
    rows[:, 0, MEASURED.index("volume_ml")] = [0.1, 0.5, 2.5, 0.0]
    found = evaluate_masks(rows, ["x"], list("pqrs"), EvalOptions(bootstrap=200))["metrics"]
    assert found["hd95"]["value"] == 0.75 and found["hd95"]["ci95"][0] == 0 < found["hd95"]["ci95"][1]
    assert found["volume_difference_ml"]["ci95"][0] < 0
    rows[:, 0, MEASURED.index("hd95")] = 0
    exact = evaluate_masks(rows, ["x"], list("pqrs"), EvalOptions(bootstrap=200))["metrics"]["hd95"]
    assert exact["ci95"] is None and "at the end of its range" in exact["reason"]
