"""How well predicted quantities agree with measured ones: errors, correlation, concordance, limits of agreement.

The point value and the replicates of an interval come from the same code: the value is the replicate in which each
case weighs one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy
from scipy.special import ndtri

from medtrain.core.errors import MedtrainError
from medtrain.metric.bootstrap import Array, patient_index, replicate
from medtrain.metric.groups import by_group
from medtrain.metric.interval import NOTHING, Form, real, spread, turned, write
from medtrain.metric.limits import SIGNED, UNBOUNDED
from medtrain.metric.options import EvalOptions
from medtrain.metric.paired import Drawn
from medtrain.metric.ranking import ratio
from medtrain.metric.share import share_forms

ERRORS = ("mae", "rmse")  # of the user's unit, 0 or more
CORRELATIONS = ("pearson", "spearman", "concordance")
FREE = ("concordance", "pearson", "spearman", "r2")  # of no unit, so that a mean over quantities has a meaning
ZERO_UP = (0.0, np.inf)
TO_ONE = (-np.inf, 1.0)
LEVELS = (0.5, 0.8, 0.9, 0.95)  # of predicted intervals, whose coverage is counted
Z95 = float(ndtri(0.975))


@dataclass(frozen=True)
class Measurements:
    """Predicted and measured quantities of N cases.

    Args:
        predicted_NV: in the user's unit.
        target_NV: likewise, NaN where unknown.
        names: of the V quantities.
        patients: of each case; None: each case is its own.
        sd_NV: the standard deviation that each prediction has by its network; None where it says none.

    Raises:
        ValueError: shapes that don't fit together.
        MedtrainError: predictions that are no numbers.
    """

    predicted_NV: Array
    target_NV: Array
    names: Sequence[str]
    patients: Sequence[Any] | None = None
    sd_NV: Array | None = None

    def __post_init__(self) -> None:
        shapes = np.shape(self.predicted_NV), np.shape(self.target_NV)
        expected = (len(self.target_NV), len(self.names))
        if shapes != (expected, expected):
            raise ValueError(
                f"predictions {shapes[0]} and targets {shapes[1]} don't fit together (expected {expected})"
            )
        bad = int((~np.isfinite(self.predicted_NV)).any(axis=1).sum())
        if bad:
            raise MedtrainError(
                f"{bad} of {expected[0]} predictions aren't numbers: did the training diverge? Lower optimizer.lr."
            )

    def select(self, keep: Any) -> Measurements:
        """Take some cases, by number or where `keep` is true."""
        rows = np.arange(len(self.target_NV))[keep]
        return replace(
            self,
            predicted_NV=self.predicted_NV[rows],
            target_NV=self.target_NV[rows],
            patients=None if self.patients is None else [self.patients[row] for row in rows],
            sd_NV=None if self.sd_NV is None else self.sd_NV[rows],
        )


def agreement(
    weights_RN: Array, predicted_N: Array, target_N: Array, inside_N: Array | None = None
) -> dict[str, Array]:
    """Compute the metrics of one quantity for each row of case weights; NaN where undefined.

    ``mae``, ``rmse``; ``r2``: 1 - sum of squared errors / that of the mean's; ``pearson``; ``spearman``: Pearson's of
    mid-ranks; ``concordance``: Lin, Biometrics 1989, with moments by n; ``bias``: the mean of predicted minus measured;
    ``loa_low``, ``loa_high``: the 95 % limits of agreement, bias -+ 1.96 SD (Bland and Altman, Lancet 1986);
    ``coverage``: the share of predicted 95 % intervals with the truth in them.

    Args:
        weights_RN: how often each case counts.
        inside_N: whether the truth lies in the case's interval; None where there is none.
    """
    n_R = weights_RN.sum(axis=1)
    error_N = predicted_N - target_N
    bias_R = ratio(weights_RN @ error_N, n_R)
    square_R = weights_RN @ error_N**2
    spread_R = np.sqrt(np.clip(ratio(square_R - n_R * bias_R**2, n_R - 1), 0, None))
    x, y = (values - values.mean() for values in (predicted_N, target_N))  # moments lose no digits to a far mean
    mean_x, mean_y = ratio(weights_RN @ x, n_R), ratio(weights_RN @ y, n_R)
    var_x, var_y = (np.clip(ratio(weights_RN @ v**2, n_R) - mean**2, 0, None) for v, mean in ((x, mean_x), (y, mean_y)))
    cov_R = ratio(weights_RN @ (x * y), n_R) - mean_x * mean_y
    values = {
        "mae": ratio(weights_RN @ np.abs(error_N), n_R),
        "rmse": np.sqrt(ratio(square_R, n_R)),
        "r2": 1 - ratio(ratio(square_R, n_R), _spread_or_nan(var_y, target_N)),
        "pearson": _correlation(cov_R, _spread_or_nan(var_x, predicted_N), _spread_or_nan(var_y, target_N)),
        "spearman": _rank_correlation(weights_RN, predicted_N, target_N),
        "concordance": ratio(2 * cov_R, var_x + var_y + bias_R**2),
        "bias": bias_R,
        "loa_low": bias_R - Z95 * spread_R,
        "loa_high": bias_R + Z95 * spread_R,
    }
    if inside_N is not None:
        values["coverage"] = ratio(weights_RN @ inside_N.astype(float), n_R)
    return values


def _spread_or_nan(variance_R: Array, values_N: Array) -> Array:
    """Give variances, NaN where what is left is rounding: a constant has none."""
    scale = float(np.abs(values_N).max(initial=0.0)) ** 2
    return np.where(variance_R > 1e-14 * max(scale, 1e-300), variance_R, np.nan)


def _correlation(cov_R: Array, var_x: Array, var_y: Array) -> Array:
    return np.clip(ratio(cov_R, np.sqrt(var_x * var_y)), -1, 1)


def _rank_correlation(weights_RN: Array, x_N: Array, y_N: Array) -> Array:
    """Correlate the mid-ranks that values have in a sample where each stands as often as it weighs."""
    ranks = []
    for values in (x_N, y_N):
        codes = scipy.stats.rankdata(values, "dense").astype(np.int64) - 1
        order = np.argsort(codes, kind="stable")
        starts = np.searchsorted(codes[order], np.arange(codes.max(initial=-1) + 1))
        if not len(starts):
            return np.full(len(weights_RN), np.nan)
        mass_RV = np.add.reduceat(weights_RN[:, order], starts, axis=1)
        ranks.append((np.cumsum(mass_RV, axis=1) - mass_RV / 2)[:, codes])
    n_R = weights_RN.sum(axis=1)
    centred = [rank - (n_R / 2)[:, None] for rank in ranks]
    sums = [
        (weights_RN * a * b).sum(axis=1) for a, b in ((0, 0), (1, 1), (0, 1)) for a, b in [(centred[a], centred[b])]
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((sums[0] > 0) & (sums[1] > 0), np.clip(sums[2] / np.sqrt(sums[0] * sums[1]), -1, 1), np.nan)


def form_of(name: str, value: float, values_R: Array, patients: int) -> Form:
    """Give the limits of a metric: Student's t on the scale on which it has no end.

    Errors vary on the scale of logarithms, correlations on Fisher's z, R2 on log(1 - R2), bias and the limits of
    agreement on their own; the spread is that of the replicates.
    """
    behind = (patients,)
    if name in ERRORS:
        return Form(turned(value, values_R, patients, np.log, np.exp), behind, ZERO_UP)
    if name in CORRELATIONS:
        return Form(turned(value, values_R, patients, np.arctanh, np.tanh), behind, SIGNED)
    if name == "r2":
        up, down = (lambda v: -np.log1p(-v)), (lambda z: -np.expm1(-z))
        return Form(turned(value, values_R, patients, up, down), behind, TO_ONE)
    return Form(real(value, spread(values_R, patients), patients), behind, UNBOUNDED)


class Agreement:
    """Values and replicates of the quantities of one set of cases, and how they are written.

    Args:
        cases: predictions and truth; of each quantity those cases count whose truth is known.
        options: replicates and their seed.
    """

    def __init__(self, cases: Measurements, options: EvalOptions) -> None:
        self.cases, self.options = cases, options
        self.values: dict[tuple[str, str], float] = {}
        self.replicates: dict[tuple[str, str], Array] = {}
        self.patients: dict[str, int] = {}
        n = len(cases.target_NV)
        self.n_patients = patient_index(cases.patients, n)[1]
        known_NV = np.isfinite(cases.target_NV)
        columns = {name: self._column(v, known_NV[:, v]) for v, name in enumerate(cases.names)}

        def statistics(weights_RN: Array) -> dict[tuple[str, str], Array]:
            return {
                (name, metric): values
                for v, (name, (known, *own)) in enumerate(columns.items())
                for metric, values in agreement(weights_RN[:, known], *own).items()
            }

        self.values = {key: float(v[0]) for key, v in statistics(np.ones((1, n))).items()}
        self.replicates = replicate(statistics, cases.patients, n, options.bootstrap, options.seed)
        for name, (known, *_) in columns.items():
            behind = None if cases.patients is None else [cases.patients[row] for row in np.flatnonzero(known).tolist()]
            self.patients[name] = patient_index(behind, int(known.sum()))[1]

    def _column(self, v: int, known_N: Array) -> tuple[Any, ...]:
        predicted, target = self.cases.predicted_NV[known_N, v], self.cases.target_NV[known_N, v]
        if self.cases.sd_NV is None:
            return known_N, predicted, target
        inside = np.abs(predicted - target) <= Z95 * self.cases.sd_NV[known_N, v]
        return known_N, predicted, target, inside

    def entry(self, name: str, metric: str) -> dict[str, Any]:
        """Write one value with its interval."""
        value = self.values[name, metric]
        if not self.options.bootstrap or not np.isfinite(value):
            return write(value, None)
        values_R = self.replicates.get((name, metric))
        if values_R is None:
            return write(value, Form(NOTHING, (self.patients[name],)))
        if metric == "coverage":
            return write(value, self._share_inside(name), values_R)
        return write(value, form_of(metric, value, values_R, self.patients[name]), values_R)

    def _share_inside(self, name: str) -> Form:
        """Give the form of the share of truths within predicted intervals, which is one of cases."""
        known, _, _, inside = self._column(v := list(self.cases.names).index(name), self._known(v))
        patients = (
            None if self.cases.patients is None else [self.cases.patients[n] for n in np.flatnonzero(known).tolist()]
        )
        patient_M, count = patient_index(patients, int(known.sum()))
        hits_P, cases_P = (np.bincount(patient_M, weights, count) for weights in (inside.astype(float), None))
        return share_forms(hits_P[None], cases_P[None].astype(float))[1][0]

    def _known(self, v: int) -> Array:
        return np.asarray(np.isfinite(self.cases.target_NV[:, v]))

    def results(self) -> dict[str, Any]:
        """Write ``metrics`` and ``per_class``, of the whole and of each quantity.

        The whole is the quantity, where there is one; of several the mean over them of what has no unit.
        """
        metrics = list(dict.fromkeys(metric for _, metric in self.values))
        per_class = {name: {m: self.entry(name, m) for m in metrics} for name in self.cases.names}
        if len(per_class) == 1:
            return {"metrics": dict(next(iter(per_class.values()))), "per_class": per_class}
        return {"metrics": {metric: self._mean(metric) for metric in FREE}, "per_class": per_class}

    def _mean(self, metric: str) -> dict[str, Any]:
        value = float(np.mean([self.values[name, metric] for name in self.cases.names]))
        if not self.options.bootstrap or not np.isfinite(value):
            return write(value, None)
        if not self.replicates:
            return write(value, Form(NOTHING, (self.n_patients,)))
        values_R = np.mean([self.replicates[name, metric] for name in self.cases.names], axis=0)
        return write(value, form_of(metric, value, values_R, min(self.patients.values())), values_R)

    def drawn(self) -> Drawn:
        """Give values and replicates for comparisons: of each quantity, and of the whole where there is one."""
        first = self.cases.names[0]
        whole = len(self.cases.names) == 1
        own = [self._keyed(side, first, whole) for side in (self.values, self.replicates)]
        return Drawn(own[0], own[1], self.n_patients)

    def _keyed(self, side: Mapping[tuple[str, str], Any], first: str, whole: bool) -> dict[Any, Any]:
        metrics = dict.fromkeys(metric for _, metric in side)
        if whole:
            own = {(None, metric): side[first, metric] for metric in metrics}
        else:
            own = {
                (None, m): np.mean([side[name, m] for name in self.cases.names], axis=0) for m in FREE if m in metrics
            }
        return own | dict(side)


def evaluate_values(cases: Measurements, options: EvalOptions) -> dict[str, Any]:
    """Compute all metrics of quantities with 95 % intervals over patients, and by group.

    Returns:
        ``metrics`` and ``per_class`` (a quantity each) as `agreement` names them, ``groups``, and where predictions
        have a standard deviation ``intervals``: {QUANTITY: [{"level", "covered", "n"}]}.
    """
    results = Agreement(cases, options).results()
    if cases.sd_NV is not None:
        results["intervals"] = predicted_intervals(cases)
    results["groups"] = by_group(options.groups, lambda in_N: _group(cases.select(in_N), options))
    return results


def _group(cases: Measurements, options: EvalOptions) -> dict[str, Any]:
    n = len(cases.target_NV)
    patients = n if cases.patients is None else len({str(patient) for patient in cases.patients})
    known = dict(zip(cases.names, np.isfinite(cases.target_NV).sum(axis=0).tolist(), strict=True))
    return {"n_cases": n, "n_patients": patients, "events": known, **Agreement(cases, options).results()}


def predicted_intervals(cases: Measurements) -> dict[str, list[dict[str, Any]]]:
    """Count how often predicted intervals hold the truth: the calibration of a predicted normal distribution."""
    assert cases.sd_NV is not None
    out: dict[str, list[dict[str, Any]]] = {}
    for v, name in enumerate(cases.names):
        known = np.isfinite(cases.target_NV[:, v])
        away = np.abs(cases.predicted_NV[known, v] - cases.target_NV[known, v]) / cases.sd_NV[known, v]
        out[name] = [
            {
                "level": level,
                "covered": float((away <= ndtri((1 + level) / 2)).mean()) if known.any() else None,
                "n": int(known.sum()),
            }
            for level in LEVELS
        ]
    return out
