"""`evaluate`: every metric of a classifier on one set of cases, with intervals over patients.

One function for every way in which classes make a whole (the sheets), usable on any arrays (a notebook, another
framework's predictions). The point value and the replicates of an interval come from the same code: the value
is the replicate in which each case weighs one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import MedtrainError
from medtrain.metric.bootstrap import Array, patient_index
from medtrain.metric.groups import by_group
from medtrain.metric.interval import NOTHING, RELIABLE, Form, averaged, correlation, missing, rising, write
from medtrain.metric.limits import SheetForms
from medtrain.metric.options import EvalOptions
from medtrain.metric.ranking import ratio
from medtrain.metric.share import share_forms
from medtrain.metric.sheet import Key, Sheet

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

    Intervals: see `medtrain.metric.interval`. ``ece`` has none, being biased: beside it stands ``if_calibrated``, what
    a calibrated model would be expected to show in as many cases; ``ece_debiased`` has one.

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
    """Values and replicates of one set of cases, and how they are written.

    Args:
        binned: with replicates of the ECE, which `metrics` doesn't need.
    """

    def __init__(self, cases: Cases, sheet: type[Sheet], bootstrap: int, seed: int, binned: bool = False) -> None:
        if not sheet.partial:
            cases = cases.select(np.isfinite(cases.target_NC).any(axis=1))
        self.classes = list(cases.classes)
        self.patient_N, self.n_patients = patient_index(cases.patients, len(cases.probs_NC))
        self.sheet = sheet(cases.probs_NC, cases.target_NC, cases.predicted_NC, self.classes)
        self.values, self.bins = self.sheet.values()
        self.replicates = self.sheet.replicates(self.patient_N, self.n_patients, bootstrap, seed, binned)
        self.forms = SheetForms(self.sheet, self.values, self.replicates, self.patient_N, self.n_patients)
        self.bootstrap = bootstrap

    def metrics(self) -> Results:
        """Write every metric's value and interval, of the whole and of each class; and classes of few patients."""
        results: Results = {"metrics": {}, "per_class": {name: {} for name in self.classes}}
        for key, value in self.values.items():
            owner = results["metrics"] if key[0] is None else results["per_class"][key[0]]
            owner[key[1]] = self._entry(key, value)
            if key[1] == "ece":
                owner.update(self._calibration_errors(key[0], owner["ece"]))
        return results | {"few": self._few()}

    def _calibration_errors(self, name: str | None, plain: Results) -> Results:
        """Write ``ece_debiased``, and beside the plain ECE what a calibrated model would show."""
        parts = [c for c, _ in self.sheet.parts("ece")] if name is None else [name]
        if plain["value"] is None:
            return {"ece_debiased": write(math.nan, None)}
        errors = [self.forms.calibration(part, self.bootstrap > 0) for part in parts or [None]]
        value = float(np.mean([error.value for error in errors]))
        plain["if_calibrated"] = float(np.mean([error.if_calibrated for error in errors]))
        limits = averaged(np.array([error.value for error in errors]), np.array([error.limits for error in errors]))
        form = Form((max(0.0, limits[0]), limits[1]), (self.n_patients,)) if self.bootstrap else None
        return {"ece_debiased": write(value, form)}

    def _few(self) -> dict[str, dict[str, int]] | None:
        """Count the patients of classes with under ten positive or negative ones; None where there is no such class."""
        names = [self.sheet.whole_class] if self.sheet.whole_class is not None else self.classes
        behind = {name: self.forms.pools[name].behind for name in names}
        few = {n: {"positive": k, "negative": m} for n, (k, m) in behind.items() if min(k, m) < RELIABLE}
        return few or None

    def _entry(self, key: Key, value: float) -> Results:
        if not self.bootstrap:
            return write(value, None)
        if not self.replicates:
            return write(value, Form(NOTHING, (self.n_patients,)))
        return write(value, self.forms.of(key), self.replicates.get(key))

    def reliability(self) -> dict[str, list[Results]]:
        """List the bins in use of each diagram: of the positive class (binary), the predicted one and each class."""
        return {"top_label" if name is None else name: self._diagram(name) for name in self.sheet.diagrams}

    def _diagram(self, name: str | None) -> list[Results]:
        sheet, cases = self.sheet.diagram(name)
        shape = (sheet.bins, self.n_patients)
        cell_N = sheet.bin_N * self.n_patients + self.patient_N[cases]
        cases_BP = np.bincount(cell_N, minlength=shape[0] * shape[1]).reshape(shape)
        hits_BP = np.bincount(cell_N[sheet.positive_N], minlength=shape[0] * shape[1]).reshape(shape)
        forms = share_forms(hits_BP, cases_BP)[1]
        rows = []
        for b, (n, predicted, observed) in enumerate(zip(*self.bins[name], strict=True)):
            if n:
                entry = write(observed, forms[b] if self.bootstrap else None)
                row = {"n": int(n), "predicted": float(predicted), "observed": entry.pop("value")}
                rows.append(row | entry)
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
        results: Results = {"prevalence": prevalence, "metrics": {}, "per_class": {name: {} for name in self.classes}}
        owners = [(whole, results["metrics"]), *(([name], results["per_class"][name]) for name in self.classes)]
        for i, metric in enumerate(("ppv", "npv")):
            for names, owner in owners:
                owner[metric] = self._there(names, shares, i)
        return results

    def _there(self, names: Sequence[str], shares: Mapping[str, float], i: int) -> Results:
        """Write the mean over classes of a predictive value, the i-th of `predictive`, at each one's prevalence."""
        if not names:
            return write(math.nan, None)
        values, drawn, forms = [], [], []
        for name in names:
            se, sp = (name, "sensitivity"), (name, "specificity")
            values.append(float(predictive(self.values[se], self.values[sp], shares[name])[i]))
            if self.replicates:
                drawn.append(predictive(self.replicates[se], self.replicates[sp], shares[name])[i])
                forms.append(self._form_there(name, shares[name], i))
        if not self.bootstrap:
            return write(float(np.mean(values)), None)
        reason = next((form.reason for form in forms if form.reason), "")
        if reason or not forms:
            return write(float(np.mean(values)), Form(NOTHING, (self.n_patients,), reason=reason))
        limits = averaged(np.array(values), np.array([form.limits for form in forms]), correlation(drawn))
        return write(float(np.mean(values)), Form(limits), np.mean(drawn, axis=0))

    def _form_there(self, name: str, prevalence: float, i: int) -> Form:
        """Give the form of a predictive value: from the limits of sensitivity and specificity."""
        keys: list[Key] = [(name, "sensitivity"), (name, "specificity")]
        forms = [self.forms.of(key) for key in keys]
        for key, form in zip(keys, forms, strict=True):
            if reason := missing(self.values[key], form, self.replicates[key]):
                return Form(NOTHING, reason=f"{key[1]}: {reason}")
        pair = [np.array([self.values[key], *form.limits]) for key, form in zip(keys, forms, strict=True)]
        low, high = rising(lambda se, sp: predictive(se, sp, prevalence)[i], *pair)
        return Form((float(low), float(high)))


def predictive(sensitivity: npt.ArrayLike, specificity: npt.ArrayLike, prevalence: float) -> tuple[Array, Array]:
    """Compute PPV and NPV at a prevalence (Altman & Bland, BMJ 1994); NaN for 0/0."""
    sick, well = np.asarray(sensitivity) * prevalence, np.asarray(specificity) * (1 - prevalence)
    # of the well, those that are not found well are false positives; likewise of the sick
    return ratio(sick, sick + (1 - prevalence - well)), ratio(well, well + (prevalence - sick))
