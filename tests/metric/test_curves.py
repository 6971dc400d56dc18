"""Points of curves against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from medtrain.metric.curves import precision_points, roc_points


@pytest.mark.parametrize("digits", [1, 2, 9])  # of scores: many ties, some, none
@pytest.mark.parametrize("n", [2, 3, 40, 900])
def test_points_are_scikit_learns_to_the_last_bit(n: int, digits: int) -> None:
    draw = np.random.default_rng(n + digits)
    for _ in range(20):
        target = np.r_[0.0, 1.0, (draw.random(n - 2) < 0.3).astype(float)]
        score = np.round(draw.random(n) / 2 + target / 4, digits)
        for ours, theirs in (
            (roc_points(target, score), roc_curve(target, score)[:2]),
            (precision_points(target, score), precision_recall_curve(target, score)[:2]),
        ):
            for points, expected in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(points, expected)
