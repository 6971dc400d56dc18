"""`evaluate`: every metric of a classifier on one set of cases, with intervals over patients.

One function for binary, multiclass and multilabel problems, usable on any arrays (a notebook, another framework's
predictions). The point value and the replicates of an interval come from the same code: the value is the replicate in
which each case weighs one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import MedtrainError
from medtrain.metric.bootstrap import Array, edge_interval, patient_index, percentile_interval
from medtrain.metric.groups import by_group
from medtrain.metric.ranking import ratio
from medtrain.metric.sheet import OBSERVED, Key, Sheet

KINDS = ("binary", "multiclass", "multilabel")
Results = dict[str, Any]


def evaluate(
    kind: str,
    probs_NC: npt.ArrayLike,
    targets: npt.ArrayLike,
    predictions: npt.ArrayLike,
    classes: Sequence[str],
    patients: Sequence[Any] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
    *,
    prevalence: float | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
) -> Results:
    """All metrics with 95 % intervals by bootstrap over patients.

    The whole: binary metrics are the positive (last) class's. For multiclass and multilabel they are the mean over
    classes (one against the rest), except multiclass ``accuracy``, ``mcc``, ``kappa``, ``brier`` (mean over cases of
    the sum of squared errors, 0..2, as scikit-learn's `brier_score_loss`) and ``ece`` (of the predicted class's
    probability), which are defined on all classes together. Multilabel ``accuracy`` is the mean of the labels'
    accuracies, not the share of cases with every label right. ``NAME_micro`` pools all (case, class) pairs.
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
        kind: ``binary``, ``multiclass`` or ``multilabel``.
        probs_NC: one column a class, in order; binary too.
        targets: binary [N] of 0/1 and multiclass [N] of class numbers (NaN or negative: unknown, the case is left
            out); multilabel [N, C] of 0/1 (NaN: unknown, the pair is left out).
        predictions: coded as the targets, without unknowns.
        classes: C names.
        patients: the patient of each case; None: each case is its own.
        bootstrap: replicates; 0 gives no intervals (``ci95`` None).
        seed: of the replicates.
        prevalence: of the positive class, or of each class of several, for ``ppv`` and ``npv`` elsewhere.
        groups: {column: the group of each case}; each group is judged on its own, its own patients resampled.

    Returns:
        ``{"metrics": {NAME: {"value", "ci95"}}, "per_class": {CLASS: {NAME: {"value", "ci95"}}},
        "calibration": {"bins": {CLASS or "top_label": [{"n", "predicted", "observed", "ci95"}]}},
        "prevalence": None or {"prevalence", "metrics", "per_class"},
        "groups": None or {COLUMN: {GROUP: {"n_cases", "n_patients", "events", "metrics", "per_class"}}}}``.

    Raises:
        ValueError: unknown kind, or shapes that don't fit together.
        MedtrainError: probabilities that aren't numbers.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {KINDS}")
    found = Measured(kind, probs_NC, targets, predictions, classes, patients, bootstrap, seed)
    results = found.metrics()
    results["calibration"] = {"bins": found.reliability()}
    results["prevalence"] = None if prevalence is None else found.at_prevalence(prevalence)
    arrays = (np.asarray(probs_NC), np.asarray(targets), np.asarray(predictions))
    who = np.asarray(range(len(arrays[0])) if patients is None else [str(p) for p in patients], dtype=object)
    results["groups"] = by_group(groups, lambda in_N: _group(kind, arrays, who, in_N, classes, bootstrap, seed))
    return results


def _group(
    kind: str, arrays: tuple[Array, ...], who_N: Array, in_N: Array, classes: Sequence[str], bootstrap: int, seed: int
) -> Results:
    (probs, targets, predictions), patients = (array[in_N] for array in arrays), list(who_N[in_N])
    found = Measured(kind, probs, targets, predictions, classes, patients, bootstrap, seed)
    events = {name: int((c.target > 0.5).sum()) for name, c in zip(classes, found.sheet.columns, strict=True)}
    return {"n_cases": len(patients), "n_patients": len(set(patients)), "events": events, **found.metrics()}


class Measured:
    """Values and replicates of one set of cases, and how they are written."""

    def __init__(
        self,
        kind: str,
        probs_NC: npt.ArrayLike,
        targets: npt.ArrayLike,
        predictions: npt.ArrayLike,
        classes: Sequence[str],
        patients: Sequence[Any] | None,
        bootstrap: int,
        seed: int,
    ) -> None:
        probs, target_NC, predicted_NC, cases = _arrays(kind, probs_NC, targets, predictions, classes)
        patients = None if patients is None else [patients[i] for i in cases]
        self.kind, self.classes = kind, list(classes)
        self.patient_N, self.n_patients = patient_index(patients, len(cases))
        self.sheet = Sheet(kind, probs, target_NC, predicted_NC, self.classes)
        self.values, self.bins = self.sheet.values()
        self.replicates = self.sheet.replicates(self.patient_N, self.n_patients, bootstrap, seed)

    def metrics(self) -> Results:
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
        """Value and interval; `behind`: the patients behind a share of cases that is 0 or 1."""
        if np.isnan(value):
            return {"value": None, "ci95": None}
        span = None
        if values_R is not None:
            span = edge_interval(value, behind) if behind else percentile_interval(values_R, patients=self.n_patients)
        return {"value": float(value), "ci95": None if span is None else list(span)}

    def reliability(self) -> dict[str, list[Results]]:
        """The bins in use of each diagram: the positive class's (binary), the predicted one's and each class's."""
        shown = [self.classes[-1]] if self.kind == "binary" else list(self.bins)
        return {"top_label" if name is None else name: self._diagram(name) for name in shown}

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
        """ppv and npv by Bayes' theorem from sensitivity and specificity; a binary problem's first class has the rest.

        Raises:
            ValueError: not between 0 and 1.
        """
        if not 0 < prevalence < 1:
            raise ValueError(f"a prevalence of {prevalence} is not between 0 and 1")
        shares = dict.fromkeys(self.classes, prevalence)
        whole = [n for n, column in zip(self.classes, self.sheet.columns, strict=True) if column.two_sided]
        if self.kind == "binary":
            shares[self.classes[0]], whole = 1 - prevalence, self.classes[-1:]
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
    """PPV and NPV at a prevalence (Altman & Bland, BMJ 1994); NaN for 0/0."""
    sick, well = np.asarray(sensitivity) * prevalence, np.asarray(specificity) * (1 - prevalence)
    return ratio(sick, sick + (1 - prevalence - well)), ratio(well, well + (prevalence - sick))


def _arrays(
    kind: str, probs: npt.ArrayLike, targets: npt.ArrayLike, predictions: npt.ArrayLike, classes: Sequence[str]
) -> tuple[Array, Array, Array, Array]:
    """probs_KC, target_KC (0, 1, NaN), predicted_KC (bool) of the K cases with a label, and which cases they are."""
    probs_NC = np.asarray(probs, dtype=np.float64)
    target, predicted = np.asarray(targets, dtype=np.float64), np.asarray(predictions, dtype=np.float64)
    n, width = len(target), len(classes)
    shape = (n, width) if kind == "multilabel" else (n,)
    if probs_NC.shape != (n, width) or target.shape != shape or predicted.shape != shape:
        raise ValueError(
            f"{kind} with {width} classes: probabilities {probs_NC.shape}, targets {target.shape}, predictions "
            f"{predicted.shape} don't fit together (expected {(n, width)}, {shape}, {shape})"
        )
    bad = int((~np.isfinite(probs_NC)).any(axis=1).sum())
    if bad:
        raise MedtrainError(f"{bad} of {n} predictions aren't numbers: did the training diverge? Lower optimizer.lr.")
    target = np.where(target >= 0, target, np.nan)
    if kind == "multilabel":
        return probs_NC, target, predicted > 0.5, np.arange(n)
    cases = np.flatnonzero(np.isfinite(target))
    if len(cases) and target[cases].max() >= width:
        raise ValueError(f"target {int(target[cases].max())} with {width} classes")
    numbers = np.arange(width)
    return (
        probs_NC[cases],
        (target[cases, None] == numbers).astype(np.float64),
        predicted[cases, None] == numbers,
        cases,
    )
