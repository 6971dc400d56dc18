"""The optimism of the best of many, where the truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from medtrain.metric.winner import bags, corrected


def area(score: np.ndarray, label: np.ndarray) -> float:
    """Mann and Whitney's count of pairs, NaN of one class."""
    pairs = score[label == 1][:, None] > score[label == 0]
    return float(pairs.mean()) if pairs.size else float("nan")


@pytest.mark.parametrize("spread", [0.0, 0.5])
def test_the_truth_of_the_winner_is_met(spread: float) -> None:
    """20 classifiers of 40 patients, equal or not: the score of the best is too good, and right when corrected."""
    rng = np.random.default_rng(0)
    apparent, right, truth = [], [], []
    label = np.repeat([0, 1], 20)
    for study in range(120):
        shift = 0.7 + spread * rng.normal(size=20)  # binormal: AUROC = Phi(shift / sqrt 2)
        scores = rng.normal(size=(20, 40)) + shift[:, None] * label
        inside = bags(40, 60, seed=study)
        sides = [[[area(own[part], label[part]) for part in parts] for own in scores] for parts in (inside, ~inside)]
        whole = [area(own, label) for own in scores]
        best = int(np.argmax(whole))
        apparent.append(whole[best])
        truth.append(norm.cdf(shift[best] / np.sqrt(2)))
        right.append(corrected(sides[0], sides[1], "max")["value"])
    too_good, off = np.mean(apparent) - np.mean(truth), np.mean(right) - np.mean(truth)
    assert too_good > 0.06
    assert -0.03 < off < 0.01  # it leans to the low side, as it says


def test_less_may_be_best_and_undefined_replicates_are_left_out() -> None:
    inside = [[1.0] * 30, [2.0] * 30]
    outside = [[5.0] * 29 + [np.nan], [7.0] * 30]
    assert corrected(inside, outside, "min")["value"] == 5.0
    assert corrected(inside, outside, "max") | {"method": ""} == {"value": 7.0, "replicates": 29, "method": ""}
    short = corrected([[1.0, np.nan] * 12], [[1.0] * 24], "max")
    assert short["value"] is None and "12 of 24" in short["reason"]


def test_samples_hold_63_percent_and_begin_alike() -> None:
    many = bags(500, 200)
    assert many.mean() == pytest.approx(1 - np.exp(-1), abs=0.005)
    assert (bags(500, 7) == many[:7]).all()
