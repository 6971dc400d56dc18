"""Simulated studies of times to an event: hazards that are known, censoring, patients of several cases."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
from coverage_results import Result, from_entry

from medtrain.metric import EvalOptions
from medtrain.metric.follow_up import FollowUp
from medtrain.metric.survival import Risks, estimates, evaluate_survival

MEAN, HORIZONS = 20.0, (8.0, 16.0, 24.0)
MANY = 6000  # cases of which the truth is read: pairs grow with the square
FEWEST = 10  # events, from which on a missing interval counts as a miss


def draw(rng: np.random.Generator, patients: int, images: int, spread: float, last: float) -> Risks:
    """Draw exponential times of a hazard that a risk with noise tells of, and predictions that are right of the risk.

    Args:
        spread: of the risks of patients, a logarithm.
        last: everyone is followed for an even time up to this.
    """
    patient_N = np.repeat(np.arange(patients), images)
    own_P = rng.normal(size=patients) * spread
    event_P = rng.exponential(MEAN / np.exp(own_P))
    censored_P = rng.uniform(1, last, patients)
    time_P, seen_P = np.minimum(event_P, censored_P), event_P <= censored_P
    risk_N = own_P[patient_N] + rng.normal(size=len(patient_N)) * spread / 2
    survival_NH = np.exp(-np.array(HORIZONS) / MEAN * np.exp(risk_N)[:, None])
    truth = FollowUp(time_P[patient_N], seen_P[patient_N], patient_N.tolist())
    return Risks(risk_N, survival_NH, HORIZONS, truth)


@lru_cache
def true_metrics(spread: float, last: float) -> Mapping[tuple[str | None, str], float]:
    """Read the truth of the metrics from many patients of one case each; Harrell's depends on the censoring."""
    plenty = draw(np.random.default_rng(1), MANY, 1, spread, last)
    return {key: one.value for key, one in estimates(plenty).items()}


def times(rng: np.random.Generator, patients: int, images: int, spread: float, last: float) -> dict[str, Result]:
    """Judge C-indices, AUROC and Brier score at the middle horizon, and the integrated Brier score."""
    cases = draw(rng, patients, images, spread, last)
    judged = evaluate_survival(cases, EvalOptions())
    events = len({p for p, seen in zip(cases.truth.patients or (), cases.truth.event_N, strict=True) if seen})
    middle = cases.names[1]
    results = {}
    for (horizon, name), true in true_metrics(spread, last).items():
        if horizon is None or (horizon == middle and float(middle) < last):
            entry = judged["metrics"][name] if horizon is None else judged["per_class"][horizon][name]
            results[name if horizon is None else f"{name} at {horizon}"] = from_entry(true, entry, events >= FEWEST)
    return results
