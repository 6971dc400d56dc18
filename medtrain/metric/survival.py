"""`evaluate_survival`: every metric of predicted risks and chances of survival, with intervals over patients."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from medtrain.core.errors import MedtrainError
from medtrain.metric.bootstrap import Array, patient_counts, patient_index
from medtrain.metric.concordance import Estimate, concordance, horizon_auroc, uno
from medtrain.metric.follow_up import FollowUp, kaplan_meier, log_rank
from medtrain.metric.groups import by_group
from medtrain.metric.interval import Form, within, write
from medtrain.metric.options import EvalOptions
from medtrain.metric.paired import Drawn
from medtrain.metric.sheet import Key
from medtrain.metric.survival_error import brier, brier_parts, calibration_at, integrated

POINTS = 6  # times at which numbers at risk are written


@dataclass(frozen=True)
class Risks:
    """Predictions of N cases beside what became of them.

    Args:
        risk_N: higher means an earlier event, on any scale.
        survival_NH: the chance of no event up to each horizon.
        horizons: H times, ascending.
        truth: of the cases.

    Raises:
        MedtrainError: predictions that aren't numbers.
    """

    risk_N: Array
    survival_NH: Array
    horizons: Sequence[float]
    truth: FollowUp

    def __post_init__(self) -> None:
        bad = int((~(np.isfinite(self.risk_N) & np.isfinite(self.survival_NH).all(axis=1))).sum())
        if bad:
            raise MedtrainError(
                f"{bad} of {len(self.risk_N)} predictions aren't numbers: did the training diverge? Lower optimizer.lr."
            )

    @property
    def names(self) -> list[str]:
        """Name the horizons as columns and metrics have them."""
        return [f"{horizon:g}" for horizon in self.horizons]

    def select(self, keep: Any) -> Risks:
        """Take some cases, by number or where `keep` is true."""
        return replace(
            self, risk_N=self.risk_N[keep], survival_NH=self.survival_NH[keep], truth=self.truth.select(keep)
        )


def estimates(cases: Risks) -> dict[Key, Estimate]:
    """Compute all metrics of the whole, and of each horizon: ``c_index``, ``uno_c``, ``integrated_brier``; ``auroc``
    and ``brier``."""
    truth, horizons = cases.truth, np.asarray(cases.horizons, np.float64)
    out: dict[Key, Estimate] = {(None, "c_index"): concordance(cases.risk_N, truth)}
    out[None, "uno_c"] = uno(cases.risk_N, truth)
    parts_NH = brier_parts(cases.survival_NH, truth, horizons)
    if (over := integrated(parts_NH, horizons)) is not None:
        out[None, "integrated_brier"] = brier(over)
    for h, name in enumerate(cases.names):
        out[name, "auroc"] = horizon_auroc(cases.risk_N, truth, float(horizons[h]))
        out[name, "brier"] = brier(parts_NH[:, h])
    return out


def draw_survival(cases: Risks, options: EvalOptions, fold_N: Array | None = None) -> Drawn:
    """Compute the metrics, and their replicates over patients as far as they are linear in the patients' weights.

    All are of the whole: those of a horizon bear its name, as ``auroc_12``, the integrated one those of both ends.

    Args:
        fold_N: of a cross-validation the fold that tested each case; ``c_index_within_folds`` then leads.
    """
    of: dict[Key, Estimate] = {}
    if fold_N is not None:
        of[None, "c_index_within_folds"] = concordance(cases.risk_N, cases.truth, fold_N=fold_N)
    ends = "_".join(cases.names[:1] + cases.names[-1:])
    for (owner, name), one in estimates(cases).items():
        whole = f"{name}_{ends}" if name == "integrated_brier" else name
        of[None, whole if owner is None else f"{name}_{owner}"] = one
    return drawn(of, cases.truth.patients, options)


def drawn(of: dict[Key, Estimate], patients: Sequence[Any] | None, options: EvalOptions) -> Drawn:
    """Draw replicates of estimates of the same cases: each is the value and what the drawn patients contribute."""
    n = len(next(iter(of.values())).influence_N)
    patient_N, number = patient_index(patients, n)
    values = {key: one.value for key, one in of.items()}
    if not options.bootstrap or number < 2:
        return Drawn(values, {}, number)
    influence_PK = np.stack([np.bincount(patient_N, one.influence_N, number) for one in of.values()], axis=1)
    value_K = np.array(list(values.values()))
    blocks = [counts @ influence_PK for counts in patient_counts(number, options.bootstrap, options.seed)]
    replicates_RK = value_K + np.concatenate(blocks)
    return Drawn(values, dict(zip(values, replicates_RK.T, strict=True)), number)


def entry_of(one: Estimate, patients: Sequence[Any] | None, interval: bool = True) -> dict[str, Any]:
    """Write an estimate between 0 and 1 with its interval: a spread over patients, on the logit scale."""
    if not interval or not np.isfinite(one.value):
        return write(one.value, None)
    patient_N, number = patient_index(patients, len(one.influence_N))
    influence_P = np.bincount(patient_N, one.influence_N, number)
    behind = tuple(len(np.unique(patient_N[side])) for side in one.behind_N)
    variance = float(influence_P @ influence_P) * number / max(1, number - 1)
    return write(one.value, Form(within(one.value, variance, min(number, 2 * min(behind))), behind))


def evaluate_survival(cases: Risks, options: EvalOptions) -> dict[str, Any]:
    """Compute all metrics with 95 % intervals over patients.

    Returns:
        ``{"n_events", "metrics": {NAME: {"value", "ci95"}}, "per_class": {HORIZON: {NAME: ...}}, "calibration":
        {"horizons": {HORIZON: ...}}, "groups"}``, the calibration as `calibration_at` gives it, each group with
        ``n_cases``, ``n_patients``, ``n_events``, ``metrics``, ``per_class``.
    """
    columns = zip(cases.names, cases.survival_NH.T, cases.horizons, strict=True)
    calibrated = {name: calibration_at(survival_N, cases.truth, horizon) for name, survival_N, horizon in columns}
    groups = by_group(options.groups, lambda in_N: _group(cases.select(in_N), options))
    return _measured(cases, options) | {"calibration": {"horizons": calibrated}, "groups": groups}


def _measured(cases: Risks, options: EvalOptions) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    per_class: dict[str, Any] = {name: {} for name in cases.names}
    for (owner, name), one in estimates(cases).items():
        place = whole if owner is None else per_class[owner]
        place[name] = entry_of(one, cases.truth.patients, bool(options.bootstrap))
    return {"n_events": int(np.sum(cases.truth.event_N)), "metrics": whole, "per_class": per_class}


def _group(cases: Risks, options: EvalOptions) -> dict[str, Any]:
    n = len(cases.risk_N)
    return {
        "n_cases": n,
        "n_patients": patient_index(cases.truth.patients, n)[1],
        "events": {},
        **_measured(cases, options),
    }


def risk_groups(high_N: Array, truth: FollowUp, cutoff: float | None = None) -> dict[str, Any]:
    """Compare the survival of cases above a cut-off with that of the others.

    Args:
        high_N: bool, decided before these cases were seen.
        cutoff: of the risk, for the record; None where cases had several.

    Returns:
        ``{"cutoff", "log_rank": None or {"chi2", "p"}, "ticks": times, "groups": {"low", "high": {"n", "n_events",
        "median", "at_risk": a tick each, "times", "survival", "low", "high"}}}``, the curve as steps with its limits.
    """
    last = float(np.max(truth.time_N, initial=0))
    ticks = np.linspace(0, last, POINTS)
    test = log_rank(truth, high_N)
    groups = {name: _drawn_curve(truth.select(rows), ticks) for name, rows in (("low", ~high_N), ("high", high_N))}
    tested = None if test is None else {"chi2": test[0], "p": test[1]}
    return {"cutoff": cutoff, "log_rank": tested, "ticks": ticks.tolist(), "groups": groups}


def _drawn_curve(truth: FollowUp, ticks: Array) -> dict[str, Any]:
    curve = kaplan_meier(truth)
    ends = curve.limits(curve.times_K)
    low, high = ([None if x != x else x for x in side.tolist()] for side in ends.T)
    return {
        "n": len(truth.time_N),
        "n_events": int(np.sum(truth.event_N)),
        "median": curve.median(),
        "at_risk": curve.at_risk(ticks).tolist(),
        "times": curve.times_K.tolist(),
        "survival": curve.survival_K.tolist(),
        "low": low,
        "high": high,
    }
