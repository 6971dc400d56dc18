"""The mean of members that have learned a case, from those that have not: least squares by hand, and simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from medtrain.metric import means_of_all
from medtrain.metric.unseen import member_levels

K = 5


def study(seed: int, apart: float, n: int = 400) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Log-odds of K members whose noise is as large as the spread of the cases.

    Returns:
        labels; log-odds of the members that tested a case or validated on it, NaN of the others; the fold of each
        case; labels and mean probabilities of all members of 20,000 new cases.
    """
    rng = np.random.default_rng(seed)
    level = rng.normal(0, apart, K)

    def cases(n: int) -> tuple[np.ndarray, np.ndarray]:
        y = rng.random(n) < 0.4
        return y, rng.normal(2.0 * y, 1, n)[:, None] + level + rng.normal(0, 1, (n, K))

    y, odds = cases(n)
    fold = np.arange(n) % K
    unseen = (fold[:, None] == np.arange(K)) | (fold[:, None] == (np.arange(K) + 1) % K)
    new, all_of_new = cases(20_000)
    return y, np.where(unseen, odds, np.nan), fold, new, expit(all_of_new).mean(axis=1)


def limit(p: np.ndarray, y: np.ndarray) -> float:
    """The threshold that finds 95 % of the positives."""
    return float(np.quantile(p[y], 0.05, method="lower"))


@pytest.mark.parametrize("apart", [0.0, 1.0])
def test_a_threshold_for_the_mean_finds_what_it_promises(apart: float) -> None:
    reached = []
    for seed in range(20):
        y, odds, fold, new, p = study(seed, apart)
        drawn = means_of_all(odds, y)
        assert drawn is not None and drawn.shape[1] == len(y)
        own = expit(odds[np.arange(len(y)), fold])  # the member that tested each case
        pair = np.nanmean(expit(odds), axis=1)
        limits = limit(drawn.ravel(), np.tile(y, len(drawn))), limit(own, y), limit(pair, y)
        reached.append([((p >= t)[new].mean(), (p < t)[~new].mean()) for t in limits])
    (sensitivity, specificity), (single, waste), (paired, _) = np.mean(reached, axis=0)
    assert sensitivity == pytest.approx(0.95, abs=0.015)
    assert single > 0.98 and paired > 0.96, "single members, and two of five, vary more than the mean of five"
    assert specificity > 1.5 * waste


def test_levels_are_those_of_a_regression_on_cases_and_members() -> None:
    _, odds, _, _, _ = study(1, 2.0, n=60)
    rows, members = np.nonzero(np.isfinite(odds))
    design = np.hstack([np.eye(60)[rows], np.eye(K)[members]])
    fitted = np.linalg.lstsq(design, odds[rows, members], rcond=None)[0][60:]
    np.testing.assert_allclose(member_levels(odds, np.isfinite(odds)), fitted - fitted.mean(), atol=1e-9)


def test_one_prediction_a_case_says_nothing_of_how_members_differ() -> None:
    odds = np.where(np.arange(20)[:, None] % 2 == np.arange(2), 0.5, np.nan)
    assert means_of_all(odds, np.arange(20) < 10) is None


def test_members_that_agree_are_their_mean() -> None:
    odds = np.tile(np.linspace(-3, 3, 30)[:, None], 3)
    drawn = means_of_all(odds, np.arange(30) > 12)
    assert drawn is not None
    np.testing.assert_allclose(drawn, np.tile(expit(odds[:, 0]), (len(drawn), 1)), atol=1e-9)
