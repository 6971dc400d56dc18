"""Metrics of times to an event, against scikit-survival and hand-worked values."""

import numpy as np
import pytest
from sksurv.compare import compare_survival
from sksurv.metrics import (
    brier_score,
    concordance_index_censored,
    concordance_index_ipcw,
    cumulative_dynamic_auc,
    integrated_brier_score,
)
from sksurv.nonparametric import CensoringDistributionEstimator, kaplan_meier_estimator
from sksurv.util import Surv

from medtrain.metric.concordance import concordance, horizon_auroc, uno
from medtrain.metric.follow_up import FollowUp, censoring, kaplan_meier, log_rank
from medtrain.metric.options import EvalOptions
from medtrain.metric.survival import Risks, draw_survival, estimates, evaluate_survival, risk_groups
from medtrain.metric.survival_error import brier_parts, calibration_at, integrated


def study(n=150, ties=False, seed=0):
    rng = np.random.default_rng(seed)
    risk_N = rng.normal(size=n)
    event_time, censored = rng.exponential(20 / np.exp(risk_N)), rng.exponential(25, n)
    time_N, event_N = np.minimum(event_time, censored) + 0.01, event_time <= censored
    if ties:
        time_N = np.ceil(time_N / 3)
    return risk_N, FollowUp(time_N, event_N)


@pytest.mark.parametrize("ties", [False, True])
def test_curves_are_those_of_scikit_survival(ties):
    _, truth = study(ties=ties)
    times, survival, limits = kaplan_meier_estimator(truth.event_N, truth.time_N, conf_type="log-log")
    curve = kaplan_meier(truth)
    np.testing.assert_allclose(curve.times_K, times)
    np.testing.assert_allclose(curve.survival_K, survival, atol=1e-12)
    own = curve.limits(times)
    inside = np.isfinite(own).all(axis=1)
    assert inside.sum() > len(times) / 2
    np.testing.assert_allclose(own[inside].T, limits[:, inside], atol=1e-9)
    left = CensoringDistributionEstimator().fit(Surv.from_arrays(truth.event_N, truth.time_N))
    np.testing.assert_allclose(censoring(truth).value_at(times[:-1]), left.predict_proba(times[:-1]), atol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("groups", [2, 3])
def test_log_rank_is_that_of_scikit_survival(ties, groups):
    risk_N, truth = study(ties=ties)
    group_N = np.digitize(risk_N, np.quantile(risk_N, np.arange(1, groups) / groups))
    chi2, p = log_rank(truth, group_N)
    np.testing.assert_allclose(
        (chi2, p), compare_survival(Surv.from_arrays(truth.event_N, truth.time_N), group_N), rtol=1e-9
    )


def test_log_rank_of_one_group_or_no_event_is_undefined():
    _, truth = study()
    assert log_rank(truth, np.zeros(len(truth.time_N))) is None
    assert log_rank(FollowUp(truth.time_N, np.zeros(len(truth.time_N), bool)), truth.time_N > 3) is None


@pytest.mark.parametrize("ties", [False, True])
def test_concordances_are_those_of_scikit_survival(ties):
    risk_N, truth = study(ties=ties)
    risk_N = np.round(risk_N, 1)  # ties of risks
    y = Surv.from_arrays(truth.event_N, truth.time_N)
    assert concordance(risk_N, truth).value == pytest.approx(
        concordance_index_censored(truth.event_N, truth.time_N, risk_N)[0], abs=1e-12
    )
    last = float(np.quantile(truth.time_N, 0.9))
    assert uno(risk_N, truth, last).value == pytest.approx(concordance_index_ipcw(y, y, risk_N, tau=last)[0], abs=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_at_horizons_is_that_of_scikit_survival(ties):
    risk_N, truth = study(ties=ties)
    y = Surv.from_arrays(truth.event_N, truth.time_N)
    horizons = np.quantile(truth.time_N, [0.2, 0.5, 0.8])
    wanted = cumulative_dynamic_auc(y, y, risk_N, horizons)[0]
    np.testing.assert_allclose([horizon_auroc(risk_N, truth, h).value for h in horizons], wanted, atol=1e-9)


@pytest.mark.parametrize("ties", [False, True])
def test_brier_scores_are_those_of_scikit_survival(ties):
    risk_N, truth = study(ties=ties)
    y = Surv.from_arrays(truth.event_N, truth.time_N)
    horizons = np.quantile(truth.time_N, [0.2, 0.4, 0.8])
    survival_NH = np.exp(-horizons / 20 * np.exp(risk_N)[:, None])
    parts_NH = brier_parts(survival_NH, truth, horizons)
    np.testing.assert_allclose(parts_NH.mean(axis=0), brier_score(y, y, survival_NH, horizons)[1], atol=1e-12)
    whole = integrated(parts_NH, horizons).mean()
    assert whole == pytest.approx(integrated_brier_score(y, y, survival_NH, horizons), abs=1e-12)


def test_concordance_by_hand():
    """Four cases: events at 1 and 3, censored at 2 and 4. Pairs: 1-2, 1-3, 1-4, 3-4."""
    truth = FollowUp(np.array([1.0, 2, 3, 4]), np.array([True, False, True, False]))
    assert concordance(np.array([4.0, 5, 3, 3]), truth).value == pytest.approx((0 + 1 + 1 + 0.5) / 4)
    nobody = FollowUp(truth.time_N, np.zeros(4, bool))
    assert np.isnan(concordance(np.arange(4.0), nobody).value)


def test_influence_is_the_derivative_by_a_case_s_weight():
    """A case that is there twice has twice the weight: the jackknife of repeated cases gives the same spread."""
    risk_N, truth = study(200)
    one = concordance(risk_N, truth)
    assert one.influence_N.sum() == pytest.approx(0, abs=1e-9)
    left_out = [concordance(np.delete(risk_N, n), truth.select(np.arange(200) != n)).value for n in range(0, 200)]
    jackknife = np.sqrt(199 / 200 * ((np.array(left_out) - np.mean(left_out)) ** 2).sum())
    assert np.sqrt((one.influence_N**2).sum()) == pytest.approx(jackknife, rel=0.03)


def test_intervals_are_over_patients():
    risk_N, truth = study(80)
    own = Risks(risk_N, np.full((80, 2), 0.5), [5, 10], FollowUp(truth.time_N, truth.event_N, list(range(80))))
    twice = Risks(
        np.tile(risk_N, 4),
        np.full((320, 2), 0.5),
        [5, 10],
        FollowUp(np.tile(truth.time_N, 4), np.tile(truth.event_N, 4), list(range(80)) * 4),
    )
    one, other = (evaluate_survival(cases, EvalOptions())["metrics"]["uno_c"] for cases in (own, twice))
    widths = [np.ptp(entry["ci95"]) for entry in (one, other)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)  # not half as wide
    assert evaluate_survival(own, EvalOptions(0))["metrics"]["c_index"]["ci95"] is None


def test_replicates_spread_as_the_interval_says():
    risk_N, truth = study(120)
    cases = Risks(risk_N, np.exp(-np.array([5, 10]) / 20 * np.exp(risk_N)[:, None]), [5, 10], truth)
    drawn = draw_survival(cases, EvalOptions(4000))
    low, high = evaluate_survival(cases, EvalOptions())["metrics"]["c_index"]["ci95"]
    assert drawn.values[None, "c_index"] == estimates(cases)[None, "c_index"].value
    assert drawn.replicates[None, "c_index"].std() == pytest.approx((high - low) / 2 / 1.98, rel=0.07)
    assert set(drawn.values) > {(None, "auroc_5"), (None, "brier_10"), (None, "integrated_brier_5_10")}
    folds = draw_survival(cases, EvalOptions(0), np.arange(120) % 3)
    assert next(iter(folds.values)) == (None, "c_index_within_folds")


def test_calibration_compares_with_kaplan_meier():
    rng = np.random.default_rng(1)
    rate_N = np.exp(rng.normal(size=4000) / 2) / 20
    event, censored = rng.exponential(1 / rate_N), rng.exponential(30, 4000)
    truth = FollowUp(np.minimum(event, censored) + 1e-9, event <= censored)
    right = calibration_at(np.exp(-10 * rate_N), truth, 10.0)
    assert len(right["bins"]) == 10
    assert right["predicted"] == pytest.approx(right["observed"], abs=0.03)
    assert sum(one["ci95"][0] <= one["predicted"] <= one["ci95"][1] for one in right["bins"]) >= 8
    assert calibration_at(np.exp(-10 * rate_N), truth, 1e6)["observed"] is None or truth.event_N[truth.time_N.argmax()]


def test_risk_groups_have_curves_and_numbers_at_risk():
    risk_N, truth = study(100)
    told = risk_groups(risk_N > 0, truth, 0.0)
    high, low = told["groups"]["high"], told["groups"]["low"]
    assert high["n"] + low["n"] == 100 and high["at_risk"][0] == high["n"]
    assert told["log_rank"]["p"] < 0.01 and high["median"] < (low["median"] or np.inf)


def test_a_perfect_or_unknown_order_has_no_interval_but_a_reason():
    truth = FollowUp(np.arange(1.0, 41), np.ones(40, bool))
    entry = evaluate_survival(Risks(-truth.time_N, np.full((40, 1), 0.5), [20], truth), EvalOptions())["metrics"]
    assert entry["c_index"]["value"] == 1 and entry["c_index"]["ci95"] is None and entry["c_index"]["reason"]
    few = FollowUp(np.arange(1.0, 41), np.arange(40) == 3)
    entry = evaluate_survival(Risks(np.sin(truth.time_N), np.full((40, 1), 0.5), [20], few), EvalOptions())["metrics"]
    assert entry["c_index"]["ci95"] is None and "1 patient" in entry["c_index"]["reason"]


def test_times_that_are_none_are_refused():
    with pytest.raises(ValueError, match="positive"):
        FollowUp(np.array([1.0, 0.0]), np.array([True, True]))
