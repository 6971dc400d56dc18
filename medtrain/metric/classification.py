"""`evaluate`: every metric of a classifier on one set of cases, with intervals over patients.

One function for every way in which classes make a whole (the sheets), usable on any arrays (a notebook, another
framework's predictions). The point value and the replicates of an interval come from the same code: the value
is the replicate in which each case weighs one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import MedtrainError
from medtrain.metric.bootstrap import Array, edge_interval, patient_index, percentile_interval
from medtrain.metric.groups import by_group
from medtrain.metric.options import EvalOptions
from medtrain.metric.ranking import ratio
from medtrain.metric.sheet import OBSERVED, Key, Sheet

Results = dict[str, Any]


@dataclass(frozen=True)
class Cases:
    """Predictions of N cases beside the truth, one column a class in order, of two classes too.

    Args:
        probs_NC: probabilities.
        target_NC: 1, 0, or NaN where unknown.
        predicted_NC: true where decided for.
        classes: C names.
        patients: the patient of each case; None: each case is its own.

    Raises:
        ValueError: shapes that don't fit together.
        MedtrainError: probabilities that aren't numbers.
    """

    probs_NC: Array
    target_NC: Array
    predicted_NC: Array
    classes: Sequence[str]
    patients: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        shapes = [np.shape(array) for array in (self.probs_NC, self.target_NC, self.predicted_NC)]
        expected = (len(self.target_NC), len(self.classes))
        if shapes != [expected] * 3:
            raise ValueError(
                f"{len(self.classes)} classes: probabilities {shapes[0]}, targets {shapes[1]}, predictions {shapes[2]} "
                f"don't fit together (expected {expected})"
            )
        bad = int((~np.isfinite(self.probs_NC)).any(axis=1).sum())
        if bad:
            raise MedtrainError(
                f"{bad} of {expected[0]} predictions aren't numbers: did the training diverge? Lower optimizer.lr."
            )

    def select(self, keep: Any) -> Cases:
        """Take some cases, by number or where `keep` is true."""
        rows = np.arange(len(self.probs_NC))[keep]
        patients = None if self.patients is None else [self.patients[row] for row in rows]
        return replace(
            self,
            probs_NC=self.probs_NC[rows],
            target_NC=self.target_NC[rows],
            predicted_NC=self.predicted_NC[rows],
            patients=patients,
        )


def evaluate(
    cases: Cases,
    sheet: type[Sheet],
    options: EvalOptions,
) -> Results:
    """Compute all metrics with 95 % intervals by bootstrap over patients.

    The whole: of a `PositiveSheet` the metrics are the positive (last) class's. Of several classes they are the mean
    over classes (one against the rest), except an `ExclusiveSheet`'s ``accuracy``, ``mcc``, ``kappa``, ``brier`` (mean
    over cases of the sum of squared errors, 0..2, as scikit-learn's `brier_score_loss`) and ``ece`` (of the predicted
    class's probability), which are defined on all classes together. A `LabelsSheet`'s ``accuracy`` is the mean of the
    labels' accuracies, not the share of cases with every label right. ``NAME_micro`` pools all (case, class) pairs.
    ``calibration_slope`` is b of the logistic regression ``logit P(y = 1) = a + b logit p``,
    ``calibration_intercept`` is a of ``logit P(y = 1) = a + logit p`` (see `Recalibration`).

    Undefined values (no positive, no negative, 0/0) are None. A mean leaves out classes that lack positives or
    negatives in these data, as no model could have a value there; a class that is in the data but has no value
    (never predicted: no ppv) makes the mean None.

    Intervals are `percentile_interval` for the number of patients; replicates without a value are dropped. One of
    ``ece``, a sum of absolute deviations, would sit above the value: it is shifted so that the replicates' median is
    the value. A share of cases that is 0 or 1 (every positive found), which replicates can't vary, has
    `edge_interval`.

    Args:
        cases: predictions and truth. Cases without any label are left out, but by a sheet of partial labels.
        sheet: how classes make a whole.
        options: replicates (0 gives no intervals: ``ci95`` None), a prevalence for ``ppv`` and ``npv`` elsewhere,
            groups.

    Returns:
        ``{"metrics": {NAME: {"value", "ci95"}}, "per_class": {CLASS: {NAME: {"value", "ci95"}}},
        "calibration": {"bins": {CLASS or "top_label": [{"n", "predicted", "observed", "ci95"}]}},
        "prevalence": None or {"prevalence", "metrics", "per_class"},
        "groups": None or {COLUMN: {GROUP: {"n_cases", "n_patients", "events", "metrics", "per_class"}}}}``.
    """
    measured = Measured(cases, sheet, options.bootstrap, options.seed)
    results = measured.metrics()
    results["calibration"] = {"bins": measured.reliability()}
    results["prevalence"] = None if options.prevalence is None else measured.at_prevalence(options.prevalence)
    results["groups"] = by_group(options.groups, lambda in_N: _group(cases.select(in_N), sheet, options))
    return results


def _group(cases: Cases, sheet: type[Sheet], options: EvalOptions) -> Results:
    measured = Measured(cases, sheet, options.bootstrap, options.seed)
    columns = zip(cases.classes, measured.sheet.columns, strict=True)
    events = {name: int((column.target > 0.5).sum()) for name, column in columns}
    n = len(cases.probs_NC)
    patients = n if cases.patients is None else len({str(patient) for patient in cases.patients})
    return {"n_cases": n, "n_patients": patients, "events": events, **measured.metrics()}


class Measured:
    """Values and replicates of one set of cases, and how they are written."""

    def __init__(self, cases: Cases, sheet: type[Sheet], bootstrap: int, seed: int) -> None:
        if not sheet.partial:
            cases = cases.select(np.isfinite(cases.target_NC).any(axis=1))
        self.classes = list(cases.classes)
        self.patient_N, self.n_patients = patient_index(cases.patients, len(cases.probs_NC))
        self.sheet = sheet(cases.probs_NC, cases.target_NC, cases.predicted_NC, self.classes)
        self.values, self.bins = self.sheet.values()
        self.replicates = self.sheet.replicates(self.patient_N, self.n_patients, bootstrap, seed)

    def metrics(self) -> Results:
        """Write every metric's value and interval, of the whole and of each class."""
        results: Results = {"metrics": {}, "per_class": {name: {} for name in self.classes}}
        for (name, metric), value in self.values.items():
            owner = results["metrics"] if name is None else results["per_class"][name]
            owner[metric] = self._entry((name, metric), value)
        return results

    def _entry(self, key: Key, value: float) -> Results:
        values_R = self.replicates.get(key)
        behind = self.sheet.patients_behind(key, self.patient_N) if value in (0, 1) else None
        if values_R is not None and key[1] == "ece":
            values_R = np.clip(values_R - np.median(values_R) + value, 0, 1)
        return self._written(value, values_R, behind)

    def _written(self, value: float, values_R: Array | None, behind: int | None = None) -> Results:
        """Write value and interval; `behind`: the patients behind a share of cases that is 0 or 1."""
        if np.isnan(value):
            return {"value": None, "ci95": None}
        span = None
        if values_R is not None:
            span = edge_interval(value, behind) if behind else percentile_interval(values_R, patients=self.n_patients)
        return {"value": float(value), "ci95": None if span is None else list(span)}

    def reliability(self) -> dict[str, list[Results]]:
        """List the bins in use of each diagram: of the positive class (binary), the predicted one and each class."""
        return {"top_label" if name is None else name: self._diagram(name) for name in self.sheet.diagrams}

    def _diagram(self, name: str | None) -> list[Results]:
        rows, observed_RB = [], self.replicates.get((name, OBSERVED))
        sheet, cases = self.sheet.diagram(name)
        for b, (n, predicted, observed) in enumerate(zip(*self.bins[name], strict=True)):
            if n:
                behind = len(np.unique(self.patient_N[cases[sheet.bin_N == b]])) if observed in (0, 1) else None
                entry = self._written(observed, None if observed_RB is None else observed_RB[:, b], behind)
                row = {"n": int(n), "predicted": float(predicted), "observed": entry["value"]}
                rows.append(row | {"ci95": entry["ci95"]})
        return rows

    def at_prevalence(self, prevalence: float) -> Results:
        """Compute ppv and npv by Bayes' theorem from sensitivity and specificity, at a prevalence.

        The first class of a binary problem has the rest of the prevalence.

        Raises:
            ValueError: not between 0 and 1.
        """
        if not 0 < prevalence < 1:
            raise ValueError(f"a prevalence of {prevalence} is not between 0 and 1")
        shares = dict.fromkeys(self.classes, prevalence)
        whole = self.sheet.averaged
        if self.sheet.whole_class is not None:
            shares |= {name: 1 - prevalence for name in self.classes if name != self.sheet.whole_class}
        values, drawn = (
            {n: predictive(source[n, "sensitivity"], source[n, "specificity"], shares[n]) for n in shares if source}
            for source in (self.values, self.replicates)
        )
        results: Results = {"prevalence": prevalence, "metrics": {}, "per_class": {name: {} for name in self.classes}}
        owners = [(whole, results["metrics"]), *(([name], results["per_class"][name]) for name in self.classes)]
        for i, metric in enumerate(("ppv", "npv")):
            for names, owner in owners:
                value = float(np.mean([values[name][i] for name in names])) if names else math.nan
                values_R = np.mean([drawn[name][i] for name in names], axis=0) if names and drawn else None
                owner[metric] = self._written(value, values_R)
        return results


def predictive(sensitivity: npt.ArrayLike, specificity: npt.ArrayLike, prevalence: float) -> tuple[Array, Array]:
    """Compute PPV and NPV at a prevalence (Altman & Bland, BMJ 1994); NaN for 0/0."""
    sick, well = np.asarray(sensitivity) * prevalence, np.asarray(specificity) * (1 - prevalence)
    # of the well, those that are not found well are false positives; likewise of the sick
    return ratio(sick, sick + (1 - prevalence - well)), ratio(well, well + (prevalence - sick))
