"""Two models on the same cases: the difference of their metrics, its interval and p value.

Two intervals that overlap say little of the difference, since both models find the same cases hard. So the difference
itself is bootstrapped: each replicate draws patients once and judges both models on them (the paired cluster
bootstrap; Efron & Tibshirani 1993, chapters 8 and 13; Davison & Hinkley 1997, section 3.8).

Trained again with another seed, a model differs from itself. Where each side has several seeds, its metric is their
mean, and the spread between seeds is a second source of variation beside that of patients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr, ndtri, stdtr, stdtrit

from medtrain.metric.area import obuchowski, placements
from medtrain.metric.bootstrap import Array, patient_index, percentile_interval
from medtrain.metric.classification import Cases, Measured, Results
from medtrain.metric.interval import NOTHING, TAIL, Form, spread, write
from medtrain.metric.limits import UNBOUNDED
from medtrain.metric.options import EvalOptions
from medtrain.metric.sheet import Key, PositiveSheet, Sheet
from medtrain.metric.within import draw_within

LESS_IS_BETTER = frozenset(
    {"brier", "ece", "ece_debiased", "fp_per_negative_image", "mae", "rmse", "mae_grades", "hd95"}
)
WITHIN = "auroc_within_folds"
UNDIRECTED = frozenset(
    {"calibration_slope", "calibration_intercept", "bias", "loa_low", "loa_high", "coverage", "volume_difference_ml"}
)


@dataclass(frozen=True)
class Drawn:
    """The metrics of one model.

    Args:
        values: NaN where undefined.
        replicates: values_R over patients, the same ones for every model that it is compared with; {} for none.
        patients: how many were drawn.
    """

    values: Mapping[Key, float]
    replicates: Mapping[Key, Array]
    patients: int


def draw_cases(cases: Cases, sheet: type[Sheet], options: EvalOptions, fold_N: Array | None = None) -> Drawn:
    """Compute the metrics of a classifier, and their replicates.

    Args:
        fold_N: of a cross-validation the number of the fold that tested each case; ``auroc_within_folds`` then leads.
    """
    measured = Measured(cases, sheet, options.bootstrap, options.seed, binned=True)
    if fold_N is None:
        return Drawn(measured.values, measured.replicates, measured.n_patients)
    known = np.isfinite(cases.target_NC).any(axis=1) if not sheet.partial else np.ones(len(fold_N), bool)
    classes = len(cases.classes)
    of_whole = [classes - 1] if issubclass(sheet, PositiveSheet) else range(classes)
    values, replicates = draw_within(cases.select(known), fold_N[known], of_whole, options)
    within = {(name, WITHIN): value for name, value in values.items()}
    return Drawn(
        within | dict(measured.values),
        {(name, WITHIN): values_R for name, values_R in replicates.items()} | dict(measured.replicates),
        measured.n_patients,
    )


def paired_differences(one: Cases, other: Cases, sheet: type[Sheet], bootstrap: int = 2000, seed: int = 0) -> Results:
    """Compute `other` minus `one` in every metric, with 95 % intervals by bootstrap over patients.

    Args:
        one, other: two models' predictions of the same cases.
        sheet, bootstrap, seed: as `evaluate` takes them.

    Returns:
        As `differences`; AUROC has ``analytic``, see `area_test`.
    """
    options = EvalOptions(bootstrap, seed=seed)
    first, second = (draw_cases(cases, sheet, options) for cases in (one, other))
    results = differences([first], [second], one.classes)
    add_area_tests(results, one, other, sheet)
    return results


def differences(
    one: Sequence[Drawn], other: Sequence[Drawn], classes: Sequence[str], margin: float | None = None
) -> Results:
    """Compute `other` minus `one` in every metric.

    Args:
        one, other: a model each, or several of it by seed.
        classes: names.
        margin: by which a difference may be worse, or other, and not matter.

    Returns:
        ``{"metrics": {NAME: {"value", "ci95", "p"}}, "per_class": {CLASS: {...}}}``; None where undefined, and
        ``ci95`` and ``p`` None without replicates and where nothing varies (``reason`` says so). With a margin
        ``p_worse`` and ``p_other``: see `_entry`.
    """
    results: Results = {"metrics": {}, "per_class": {name: {} for name in classes}}
    for key in other[0].values:
        if key in one[0].values:
            owner = results["metrics"] if key[0] is None else results["per_class"][key[0]]
            owner[key[1]] = _entry(key, one, other, margin)
    return results


def _entry(key: Key, one: Sequence[Drawn], other: Sequence[Drawn], margin: float | None) -> dict[str, Any]:
    """Write one difference.

    Its p values by margin are one-sided: ``p_worse`` of 'worse by the margin or more' (non-inferiority), ``p_other`` of
    'off by the margin or more on either side' (equivalence, by two one-sided tests).
    """
    values = [np.array([drawn.values[key] for drawn in side]) for side in (one, other)]
    value, patients = float(values[1].mean() - values[0].mean()), one[0].patients
    if not np.isfinite(value) or not one[0].replicates or not other[0].replicates:
        return write(value, None) | {"p": None}
    values_R = np.mean([d.replicates[key] for d in other], axis=0) - np.mean([d.replicates[key] for d in one], axis=0)
    if key[1] == "ece":
        values_R = values_R - np.nanmedian(values_R) + value
    test = (
        Between(value, values_R, patients) if len(one) == len(other) == 1 else Seeds(value, values_R, patients, values)
    )
    entry = write(value, Form(test.limits(), (patients,), UNBOUNDED), values_R)
    if entry["ci95"] is None:
        return entry | {"p": None}
    entry["p"] = test.p()
    if margin is not None and key[1] not in UNDIRECTED:
        worse, better = (test.p_beyond(side * margin) for side in (-1, 1))
        if key[1] in LESS_IS_BETTER or key[1].startswith(("brier_", "integrated_brier")):
            worse = better
        entry |= {"p_worse": worse, "p_other": max(test.p_beyond(-margin), test.p_beyond(margin))}
    return entry


class Between:
    """A difference whose variation is that of patients alone.

    Args:
        values_R: its replicates.
        patients: that were drawn.
    """

    def __init__(self, value: float, values_R: Array, patients: int) -> None:
        self.value, self.values_R, self.patients = value, values_R, patients

    def limits(self) -> tuple[float, float]:
        """Compute the interval: percentiles, a little further out where patients are few."""
        return percentile_interval(self.values_R, patients=self.patients) or NOTHING

    def p(self) -> float | None:
        """Compute the two-sided p of 'no difference', no less than so many patients can give."""
        p = bootstrap_p(self.values_R, self.patients)
        return None if p is None else max(p, least_p(self.patients))

    def p_beyond(self, limit: float) -> float:
        """Compute the one-sided p of 'the difference is beyond this limit', seen from 0."""
        defined = self.values_R[np.isfinite(self.values_R)]
        beyond = int((defined <= limit).sum() if limit < 0 else (defined >= limit).sum())
        return max(_tail(beyond, len(defined), self.patients), least_p(self.patients) / 2)


class Seeds(Between):
    """A difference between means over seeds: variation of patients, and of seeds on either side.

    Both are added as independent; degrees of freedom are Welch and Satterthwaite's (Biometrics Bulletin 1946).

    Args:
        values: of the seeds, of either side.
    """

    def __init__(self, value: float, values_R: Array, patients: int, values: Sequence[Array]) -> None:
        super().__init__(value, values_R, patients)
        parts = [(spread(values_R, patients), patients - 1)]
        parts += [(float(side.var(ddof=1)) / len(side), len(side) - 1) for side in values if len(side) > 1]
        total = sum(part for part, _ in parts)
        self.error = float(np.sqrt(total))
        spent = sum(part**2 / freedom for part, freedom in parts if freedom > 0)
        self.freedom = total**2 / spent if spent else float(patients - 1)

    def limits(self) -> tuple[float, float]:
        """Compute the interval by Student's t."""
        half = float(stdtrit(self.freedom, 1 - TAIL)) * self.error
        return self.value - half, self.value + half

    def p(self) -> float | None:
        """Compute the two-sided p of 'no difference'."""
        return max(2 * float(stdtr(self.freedom, -abs(self.value) / self.error)), least_p(self.patients))

    def p_beyond(self, limit: float) -> float:
        """Compute the one-sided p of 'the difference is beyond this limit', seen from 0."""
        away = (self.value - limit) / self.error * (1 if limit < 0 else -1)
        return max(float(stdtr(self.freedom, -away)), least_p(self.patients) / 2)


def bootstrap_p(values_R: Array, patients: int) -> float | None:
    """Compute the two-sided p of 'no difference': from the share of replicates on the lesser side of 0, 0 on both.

    It is one minus the level at which `percentile_interval` for so many patients would end at 0 (a test by an inverted
    interval; Davison & Hinkley 1997, chapter 5). One is added to the share above and below, as in a Monte Carlo test
    (ibid., section 4.2), so p is never 0. None where no replicate has a value.
    """
    defined = values_R[np.isfinite(values_R)]
    if not len(defined):
        return None
    lesser = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    return min(1.0, 2 * _tail(lesser, len(defined), patients))


def _tail(beyond: int, replicates: int, patients: int) -> float:
    out = float(ndtri((beyond + 1) / (replicates + 1)))  # standard normal; as Student's t it is less
    return float(stdtr(patients - 1, out * np.sqrt((patients - 1) / patients)))


def least_p(patients: int) -> float:
    """Compute the least two-sided p that so many patients can give.

    Were both models alike, each patient would as soon favour the one as the other; that all favour the same has a
    chance of 2 / 2^P (the sign test). Replicates of few patients show less, and must not.
    """
    return float(2.0 ** (1 - patients))


def area_test(one: Cases, other: Cases, c: int) -> dict[str, Any] | None:
    """Test the difference of two AUROCs by the variance of their placements, beside the bootstrap.

    With one case a patient that is the test of DeLong et al. (Biometrics 1988), with several that of Obuchowski
    (Biometrics 1997).

    Args:
        c: the number of the class.

    Returns:
        ``{"method", "p"}``; None where fewer than two patients have a positive, or a negative case, or nothing varies.
    """
    known = np.isfinite(one.target_NC[:, c])
    positive_N = one.target_NC[known, c] > 0.5
    patient_N, patients = patient_index(one.patients, len(one.target_NC))
    if not 0 < positive_N.sum() < len(positive_N):
        return None
    first, second = (placements(cases.probs_NC[known, c], positive_N) for cases in (one, other))
    variance, *_ = obuchowski(second - first, positive_N, patient_N[known], patients)
    if not variance > 0:
        return None
    z = float((second - first)[positive_N].mean()) / np.sqrt(variance)
    alone = len(np.unique(patient_N[known])) == known.sum()
    return {"method": "DeLong" if alone else "Obuchowski", "p": float(2 * ndtr(-abs(z)))}


def add_area_tests(results: Results, one: Cases, other: Cases, sheet: type[Sheet]) -> None:
    """Add `area_test` to the AUROC of each class, and of the whole where that is one class's."""
    tests = {name: area_test(one, other, c) for c, name in enumerate(one.classes)}
    for name, test in tests.items():
        results["per_class"][name]["auroc"] |= {"analytic": test} if test else {}
    if issubclass(sheet, PositiveSheet) and (test := tests[one.classes[-1]]):
        results["metrics"]["auroc"]["analytic"] = test


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Adjust p values for being several: Holm's step-down method (Scand. J. Statist. 1979).

    Where none of the differences is real, the chance that any adjusted p is below 0.05 is at most 0.05, however the
    comparisons depend on each other. None (undefined) stays None and doesn't count.
    """
    known = sorted((p, n) for n, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for place, (p, n) in enumerate(known):
        highest = max(highest, min(1.0, p * (len(known) - place)))
        adjusted[n] = highest
    return adjusted
