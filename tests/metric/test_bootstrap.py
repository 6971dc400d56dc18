"""The bootstrap: weights that are patients', replicates that are scikit-learn's, intervals that cover."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import average_precision_score, roc_auc_score

from medtrain.metric import Ranking, patient_weights, percentile_interval, replicate
from medtrain.metric.bootstrap import patient_index
from tests.metric.by_kind import evaluate
from tests.metric.coverage_studies import classes


def clustered(rng, patients=60, images=8):
    """Images of a patient that share the label and most of the score: AUROC 0.76 in the population."""
    label = (rng.random(patients) < 0.5).astype(float)
    own = rng.normal(size=patients) + label
    names = np.repeat(np.arange(patients), images)
    return names, label[names], own[names] + rng.normal(0, 0.1, len(names))


def test_cases_of_a_patient_weigh_alike_and_patients_keep_their_number():
    patients = ["b", "a", "b", "c", "a", "b"]
    weights = np.concatenate(list(patient_weights(patients, 6, 100, seed=3)))
    assert weights.shape == (100, 6)
    assert (weights[:, [0, 0]] == weights[:, [2, 5]]).all() and (weights[:, 1] == weights[:, 4]).all()
    assert (weights[:, [0, 1, 3]].sum(1) == 3).all()
    assert abs(weights.mean() - 1) < 0.1


def test_weights_follow_the_seed_not_the_chunk():
    chunks = [np.concatenate(list(patient_weights(None, 7, 50, seed=1, chunk=c))) for c in (1, 21, 10_000)]
    assert (chunks[0] == chunks[1]).all() and (chunks[0] == chunks[2]).all()
    assert (chunks[0] != np.concatenate(list(patient_weights(None, 7, 50, seed=2)))).any()


@pytest.mark.parametrize("decimals", [0, 1, 9])
def test_replicates_are_scikit_learns_with_sample_weight(decimals):
    rng = np.random.default_rng(0)
    patients, target, score = clustered(rng, 12, 5)
    score = score.round(decimals)
    weights = np.concatenate(list(patient_weights(patients, len(target), 60)))
    found = Ranking(score, target > 0.5).auroc_and_ap(weights)
    for w, area, precision in zip(weights, *found, strict=True):
        if len(np.unique(target[w > 0])) < 2:
            assert np.isnan(area)
            continue
        assert area == pytest.approx(roc_auc_score(target, score, sample_weight=w))
        assert precision == pytest.approx(average_precision_score(target, score, sample_weight=w))


def test_undefined_replicates_are_dropped():
    """One positive patient of five: a third of the replicates has no positive case."""
    target = np.asarray([1, 0, 0, 0, 0])
    ranking = Ranking(np.asarray([0.9, 0.95, 0.2, 0.3, 0.4]), target > 0)
    areas = replicate(lambda w: {"auroc": ranking.auroc_and_ap(w)[0]}, None, 5, 400)["auroc"]
    assert 0.2 < np.isnan(areas).mean() < 0.5
    low, high = percentile_interval(areas)
    assert 0 <= low < 0.75 <= high <= 1
    assert percentile_interval(np.full(3, np.nan)) is None


def test_few_patients_get_wider_intervals():
    """Student's t, not the normal: of 5 patients, 2.776 standard errors with a spread of 4 instead of 5."""
    values = norm.ppf(np.linspace(0, 1, 200_001)[1:-1])
    low, high = percentile_interval(values, patients=5)
    assert high == pytest.approx(-low) == pytest.approx(student.ppf(0.975, 4) * np.sqrt(5 / 4), abs=2e-3)
    assert percentile_interval(values, patients=100_000)[1] == pytest.approx(percentile_interval(values)[1], abs=1e-3)


@pytest.mark.parametrize(
    "setting",
    [classes.Setting("alike images", 40, 8, auroc=0.737, alike=0.8), classes.Setting("nearly perfect", 24, auroc=0.99)],
    ids=lambda setting: setting.name,
)
def test_intervals_hold_the_truth(setting):
    """A short version of scripts/coverage.py, which says more exactly: 95 % of 60 is 52 or more almost surely."""
    rng = np.random.default_rng(0)
    studies = [classes.study(setting, rng, 100) for _ in range(60)]
    for metric in ("auroc", "sensitivity", "f1", "mcc"):
        spans = [(one[metric].truth, one[metric].ours) for one in studies]
        assert np.mean([span is not None and span[0] <= truth <= span[1] for truth, span in spans]) >= 0.86, metric


def test_evaluate_repeats_itself_and_depends_on_patients():
    patients, target, score = clustered(np.random.default_rng(5))
    p = 1 / (1 + np.exp(-score))
    data = ("binary", np.stack([1 - p, p], 1), target, p > 0.5, ["0", "1"])
    first, again = (evaluate(*data, patients, 200, seed=4) for _ in range(2))
    assert first == again
    width = {k: np.ptp(evaluate(*data, g, 200)["metrics"]["auroc"]["ci95"]) for k, g in (("p", patients), ("i", None))}
    assert width["p"] > 1.5 * width["i"]
    for name, entry in first["metrics"].items():
        assert name == "ece" or entry["ci95"][0] <= entry["value"] <= entry["ci95"][1], name


def test_twenty_thousand_cases_by_two_thousand_replicates():
    rng = np.random.default_rng(2)
    target = rng.random(20_000) < 0.1
    ranking = Ranking(rng.normal(size=20_000) + target, target)
    patients = np.arange(20_000) // 4
    areas = replicate(lambda w: {"auroc": ranking.auroc_and_ap(w)[0]}, patients, 20_000, 2000)["auroc"]
    assert areas.shape == (2000,) and np.isfinite(areas).all()
    assert areas.std() < 0.01


def test_patients_must_be_as_many_as_cases():
    with pytest.raises(ValueError, match="2 patients for 3 cases"):
        patient_index(["a", "b"], 3)
