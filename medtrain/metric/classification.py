"""`evaluate`: every metric of a classifier on one set of cases, with intervals over patients.

One function for binary, multiclass and multilabel problems, usable on any arrays (a notebook, another framework's
predictions). The point value and the replicates of an interval come from the same code: the value is the replicate in
which each case weighs one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import MedtrainError
from medtrain.metric.binary import NAMES, OneClass, count_metrics
from medtrain.metric.bootstrap import Array, percentile_interval, replicate
from medtrain.metric.calibration import residuals
from medtrain.metric.ranking import Ranking, ratio

KINDS = ("binary", "multiclass", "multilabel")
MICRO = ("accuracy", "sensitivity", "specificity", "ppv", "npv", "f1")
Key = tuple[str | None, str]  # (class or None for the whole, metric)
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
) -> Results:
    """All metrics with 95 % intervals by bootstrap over patients.

    The whole: binary metrics are the positive (last) class's. For multiclass and multilabel they are the mean over
    classes (one against the rest), except multiclass ``accuracy``, ``mcc``, ``kappa``, ``brier`` (mean over cases of
    the sum of squared errors, 0..2, as scikit-learn's `brier_score_loss`) and ``ece`` (of the predicted class's
    probability), which are defined on all classes together. Multilabel ``accuracy`` is the mean of the labels'
    accuracies, not the share of cases with every label right. ``NAME_micro`` pools all (case, class) pairs.

    Undefined values (no positive, no negative, 0/0) are None. A mean leaves out classes that lack positives or
    negatives in these data, as no model could have a value there; a class that is in the data but has no value
    (never predicted: no ppv) makes the mean None. Replicates without a value are dropped from the interval.
    A percentile interval of ``ece``, a sum of absolute deviations, would sit above the value: it is shifted so that
    the replicates' median is the value.

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

    Returns:
        ``{"metrics": {NAME: {"value", "ci95"}}, "per_class": {CLASS: {NAME: {"value", "ci95"}}}}``.

    Raises:
        ValueError: unknown kind, or shapes that don't fit together.
        MedtrainError: probabilities that aren't numbers.
    """
    if kind not in KINDS:
        raise ValueError(f"kind {kind!r} is none of {KINDS}")
    probs, target_NC, predicted_NC, cases = _arrays(kind, probs_NC, targets, predictions, classes)
    patients = None if patients is None else [patients[i] for i in cases]
    sheet = _Sheet(kind, probs, target_NC, predicted_NC, list(classes))
    values = {key: float(v[0]) for key, v in sheet.statistics(np.ones((1, len(cases)))).items()}
    replicates = replicate(sheet.statistics, patients, len(cases), bootstrap, seed)
    results: Results = {"metrics": {}, "per_class": {name: {} for name in classes}}
    for key, value in values.items():
        owner = results["metrics"] if key[0] is None else results["per_class"][key[0]]
        owner[key[1]] = _entry(key[1], value, replicates.get(key))
    return results


def _entry(name: str, value: float, values_R: Array | None) -> dict[str, Any]:
    if np.isnan(value):
        return {"value": None, "ci95": None}
    if values_R is None:
        return {"value": value, "ci95": None}
    if name == "ece":
        values_R = np.clip(values_R - np.median(values_R) + value, 0, 1)
    span = percentile_interval(values_R)
    return {"value": value, "ci95": None if span is None else list(span)}


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


class _Sheet:
    """The data of one evaluation, arranged once so that any case weights give all metrics."""

    def __init__(self, kind: str, probs_NC: Array, target_NC: Array, predicted_NC: Array, classes: list[str]) -> None:
        self.kind, self.classes = kind, classes
        self.columns = [
            OneClass(probs_NC[:, c], target_NC[:, c], predicted_NC[:, c].astype(float)) for c in range(len(classes))
        ]
        if kind == "binary":
            return
        self.pooled = Ranking(
            np.concatenate([column.probs for column in self.columns]),
            np.concatenate([column.target > 0.5 for column in self.columns]),
            np.concatenate([column.cases for column in self.columns]),
        )
        if kind == "multiclass":
            correct = (predicted_NC & (target_NC > 0.5)).any(axis=1)
            confidence = np.where(predicted_NC, probs_NC, 0).max(axis=1, initial=0)
            self.top_NB = residuals(confidence, correct.astype(float))

    def statistics(self, weights_RN: Array) -> dict[Key, Array]:
        each = [column.statistics(weights_RN) for column in self.columns]
        if self.kind == "binary":
            whole = dict(each[-1])
        else:
            counts_RC4 = np.stack([column.counts(weights_RN) for column in self.columns], axis=1)
            whole = self._macro(each, len(weights_RN))
            if self.kind == "multiclass":
                whole |= self._multiclass(weights_RN, counts_RC4, each, whole["sensitivity"])
            whole |= self._micro(weights_RN, counts_RC4)
        out: dict[Key, Array] = {(None, name): values for name, values in whole.items()}
        for name, values in zip(self.classes, each, strict=True):
            out |= {(name, metric): v for metric, v in values.items()}
        return out

    def _macro(self, each: list[dict[str, Array]], rows: int) -> dict[str, Array]:
        present = [values for values, column in zip(each, self.columns, strict=True) if column.two_sided]
        if not present:
            return {name: np.full(rows, np.nan) for name in NAMES}
        return {name: np.mean([values[name] for values in present], axis=0) for name in NAMES}

    def _multiclass(
        self, weights_RN: Array, counts_RC4: Array, each: list[dict[str, Array]], recall_R: Array
    ) -> dict[str, Array]:
        """Metrics on all classes together; mcc is Gorodkin's R_K (Comput. Biol. Chem. 2004, eq. 8)."""
        tp, fp, fn, _ = np.moveaxis(counts_RC4, 2, 0)
        n, right = weights_RN.sum(axis=1), tp.sum(axis=1)
        true_RC, predicted_RC = tp + fn, tp + fp
        chance = (true_RC * predicted_RC).sum(axis=1)
        spread = (n**2 - (true_RC**2).sum(axis=1)) * (n**2 - (predicted_RC**2).sum(axis=1))
        return {
            "accuracy": ratio(right, n),
            "balanced_accuracy": recall_R,
            "mcc": ratio(right * n - chance, np.sqrt(spread)),
            "kappa": ratio(right * n - chance, n**2 - chance),
            "brier": np.sum([values["brier"] for values in each], axis=0),
            "ece": ratio(np.abs(weights_RN @ self.top_NB).sum(axis=1), n),
        }

    def _micro(self, weights_RN: Array, counts_RC4: Array) -> dict[str, Array]:
        auroc, auprc = self.pooled.auroc_and_ap(weights_RN)
        values = {"auroc": auroc, "auprc": auprc}
        pooled = count_metrics(*counts_RC4.sum(axis=1).T)
        values |= {name: pooled[name] for name in MICRO if self.kind == "multilabel" or name != "accuracy"}
        return {f"{name}_micro": v for name, v in values.items()}


@dataclass(frozen=True)
class Statistics:
    """Every metric of one set of predictions, for any weights of its cases.

    Attributes:
        statistics: weights_RK of the K cases with a label -> {(class or None for the whole, metric): values_R}.
        cases: which of the N cases these are.
    """

    statistics: Callable[[Array], dict[Key, Array]]
    cases: Array


def statistics_of(
    kind: str, probs_NC: npt.ArrayLike, targets: npt.ArrayLike, predictions: npt.ArrayLike, classes: Sequence[str]
) -> Statistics:
    """What `evaluate` replicates, for other statistics of it; arguments and errors as of `evaluate`."""
    probs, target_NC, predicted_NC, cases = _arrays(kind, probs_NC, targets, predictions, classes)
    return Statistics(_Sheet(kind, probs, target_NC, predicted_NC, list(classes)).statistics, cases)
