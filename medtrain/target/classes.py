"""ClassTarget: classes with probabilities; what binary, multiclass and multilabel problems have in common.

Values, the targets of N cases, are coded by the kind: class numbers [N] (negative or NaN: unknown), or 0 and 1 a class
[N, C] (NaN: unknown). Indicators say the same of every kind: labels_NC of 1, 0 and NaN.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd

from medtrain.metric import (
    Cases,
    EvalOptions,
    SetLimits,
    Sheet,
    Study,
    abstention_curve,
    analyse,
    auroc,
    constant_decisions,
    constant_scores,
    evaluate,
    fit_threshold,
    merge,
    paired_differences,
    sigmoid_temperature,
    within_folds,
)
from medtrain.target.alone import Linear, logistic, multinomial
from medtrain.target.base import Form, Policy
from medtrain.target.cases import CaseTarget
from medtrain.target.decision import Decision
from medtrain.target.outcome import Outcome, Predicted
from medtrain.target.patients import judge_patients
from medtrain.target.sets import fit_limits, table_of_sets

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


class ClassTarget(CaseTarget):
    """A class, or several, of each case, with a probability of every class.

    Attributes:
        sheet: how the classes' metrics make those of the whole.
    """

    forms: ClassVar[frozenset[Form]] = frozenset({"labels", "probabilities"})
    sheet: ClassVar[type[Sheet]]

    # what the network gives

    @property
    def n_outputs(self) -> int:
        return len(self.classes)

    def likely(self, logits: Tensor) -> Tensor:
        """Number the most likely class of each case, int64 (B,), from logits (B, K)."""
        return logits.argmax(1)

    # the same in torch, as operators of an exported graph

    def disagreement_of(self, probs_BSC: Tensor, decided: Tensor) -> Tensor:
        """Measure how much S predictions a case differ, as `disagreement` does."""
        return probs_BSC.std(1)

    def table_alone(self, x_NF: Array, values: Array) -> tuple[CaseTarget, Linear] | None:
        reader = self.fitted_to("cross_entropy")
        labels_NC = self.indicators(values)
        if self.exclusive:
            return reader, multinomial(x_NF, labels_NC)
        return reader, logistic(x_NF, labels_NC[:, -self.n_outputs :])

    # decision

    def predict(self, probs_NC: npt.ArrayLike, decision: Decision) -> Array:
        """Decide cases by a decision's thresholds.

        Raises:
            ValueError: it has not a threshold for each class that needs one.
        """
        if len(decision.thresholds) != len(self.thresholded):
            shape = np.shape(probs_NC)
            raise ValueError(
                f"{len(decision.thresholds)} thresholds don't fit {self.kind} probabilities of shape {shape}"
            )
        return self.decide(probs_NC, list(decision.thresholds.values()))

    def fit_temperature(self, logits_NK: npt.ArrayLike, values: npt.ArrayLike) -> float:
        """Fit the temperature of least negative log-likelihood on validation data (Guo et al. 2017, section 4.2)."""
        logits = as_columns(logits_NK)
        return sigmoid_temperature(logits, np.asarray(values, np.float64).reshape(logits.shape))

    def fit_thresholds(
        self,
        probs_NC: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> dict[str, float]:
        """Fit the thresholds of a decision to calibrated probabilities of validation cases.

        Without positives or without negatives a policy can't be fitted: that threshold is 0.5, with a warning in the
        log.

        Raises:
            UsageError: a policy that doesn't exist or doesn't apply.
        """
        self.check_policy(policy)
        parsed, probs, thresholds = self.grammar.parse(policy), np.asarray(probs_NC, np.float64), {}
        labels_NC = self.indicators(np.asarray(values))
        for name in self.thresholded:
            c = self.classes.index(name)
            known = np.isfinite(labels_NC[:, c])
            own = None if patients is None else [patients[n] for n in np.flatnonzero(known).tolist()]
            thresholds[name] = fit_threshold(probs[known, c], labels_NC[known, c] > 0.5, parsed, name, own)
        return thresholds

    def fit_decision(
        self,
        logits_NK: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> Decision:
        """Fit the temperature, then thresholds on the probabilities that it gives, on validation data.

        Raises:
            UsageError: a policy that doesn't exist or doesn't apply.
        """
        self.check_policy(policy)
        temperature = self.fit_temperature(logits_NK, values)
        probs_NC = self.probabilities(logits_NK, temperature)
        thresholds = self.fit_thresholds(probs_NC, values, policy, patients)
        sets, absent = self.fit_sets(probs_NC, np.asarray(values), patients)
        return Decision(policy, temperature, thresholds, sets=sets, absent=absent)

    @abstractmethod
    def nearness(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        """Measure how near single predictions are to the decision (high: unsure), [N] or [N, C]."""

    def predictions(
        self, rows: pd.DataFrame, probs_NSC: Array, predicted: Array, limits: npt.ArrayLike, values: Array | None
    ) -> Predicted:
        """Put predictions of cases together, with how unsure they are.

        Args:
            rows: case and patient of each.
            probs_NSC: of S networks.
            predicted: the decision on their mean.
            limits: the thresholds behind it.
            values: the truth; None where it is not known.
        """
        probs, own = probs_NSC.mean(axis=1), np.asarray(limits, np.float64)
        if probs_NSC.shape[1] > 1:
            doubt = self.disagreement(probs_NSC, predicted)
            return Predicted(rows, probs, predicted, values, doubt, "ensemble", limits=own)
        return Predicted(rows, probs, predicted, values, self.nearness(probs, limits), limits=own)

    # judgement

    @abstractmethod
    def one_hot(self, predicted: npt.ArrayLike) -> Array:
        """Turn decisions, coded as values, into bool [N, C]."""

    @abstractmethod
    def coded(self, labels_NC: Array) -> Array:
        """Turn indicators back into values."""

    def check_shapes(self, probs: Array, values: Array, predicted: Array) -> None:
        """Refuse arrays that don't fit together, or values outside the classes (ValueError)."""
        shapes = np.shape(probs), np.shape(values), np.shape(predicted)
        n, width = len(values), len(self.classes)
        coded = np.shape(self.coded(np.zeros((n, width))))
        if shapes != ((n, width), coded, coded):
            raise ValueError(
                f"{self.kind} with {width} classes: probabilities {shapes[0]}, targets {shapes[1]}, predictions "
                f"{shapes[2]} don't fit together (expected {(n, width)}, {coded}, {coded})"
            )

    def cases(self, probs: Array, values: Array, predicted: Array, patients: Sequence[Any] | None = None) -> Cases:
        """Give predictions and truth as the metric room takes them."""
        probs, values, predicted = np.asarray(probs, np.float64), np.asarray(values), np.asarray(predicted)
        self.check_shapes(probs, values, predicted)
        return Cases(probs, self.indicators(values), self.one_hot(predicted), self.classes, patients)

    def of_predicted(self, predicted: Predicted) -> Cases:
        """Give predictions of cases whose truth is known as the metric room takes them."""
        assert predicted.values is not None
        return self.cases(predicted.probs, predicted.values, predicted.predicted, predicted.rows["patient"].tolist())

    def evaluate(
        self,
        probs: npt.ArrayLike,
        values: npt.ArrayLike,
        predicted: npt.ArrayLike,
        patients: Sequence[Any] | None = None,
        **options: Any,
    ) -> dict[str, Any]:
        """Compute all metrics; `options` are those of `medtrain.metric.EvalOptions` (bootstrap, prevalence, groups)."""
        cases = self.cases(np.asarray(probs), np.asarray(values), np.asarray(predicted), patients)
        return evaluate(cases, self.sheet, EvalOptions(**options))

    def differences(self, one: Cases, other: Cases, bootstrap: int, seed: int = 0) -> dict[str, Any]:
        """Compute what `other` is better by than `one` on the same cases; see `medtrain.metric.paired_differences`."""
        return paired_differences(one, other, self.sheet, bootstrap, seed)

    def abstention(self, cases: Cases, doubt: Array, **options: Any) -> list[dict[str, Any]]:
        """Compute the metrics of the surest cases; see `medtrain.metric.abstention_curve`."""
        return abstention_curve(cases, self.sheet, doubt, **options)

    def judge(self, predicted: Predicted, decision: Decision, options: EvalOptions) -> Outcome:
        """Judge predictions: metrics with intervals, the abstention curve, and the table of predictions.

        Args:
            options: their groups are those of the predicted cases, in order.
        """
        rows, cases = predicted.rows, self.of_predicted(predicted)
        metrics = evaluate(cases, self.sheet, options)
        metrics["calibration"] = {"temperature": decision.temperature, **metrics["calibration"]}
        counts = {"n_cases": len(rows), "n_patients": int(rows["patient"].nunique()), "labels": _counted(cases)}
        thresholds = decision.thresholds if predicted.limits.ndim == 1 else {}  # else no one threshold decided
        limits = SetLimits(decision.sets, decision.absent, decision.no_sets)
        merge(metrics, analyse(Study(cases, self.sheet, options, thresholds, self.looked_for, metrics, limits)))
        curve = {"by": predicted.by, "curve": self.abstention(cases, predicted.doubt)} if options.abstention else None
        of_patients, files = judge_patients(self, predicted, options)
        files = {"test_predictions.csv": self.table(predicted)} | files
        if (sets := table_of_sets(self, rows, predicted.probs, decision)) is not None:
            files["test_prediction_sets.csv"] = sets
        return Outcome(
            counts | metrics | {"abstention": curve, "patients": of_patients}, files, self.constant(predicted)
        )

    @property
    def looked_for(self) -> tuple[str, ...]:
        """Name the classes that one looks for: the positive one of two, else all."""
        return (self.positive,) if self.positive else self.classes

    def constant(self, predicted: Predicted) -> list[str]:
        """Say what is predicted alike for all cases, in a sentence each."""
        columns = {name: predicted.probs[:, self.classes.index(name)] for name in self.looked_for}
        scores = {f"the probability of {name!r}": column for name, column in columns.items()}
        same = constant_scores(scores)
        if same or self.several or predicted.values is None or not len(predicted.predicted):
            return same
        first = self.classes[int(predicted.predicted[0])]
        return constant_decisions(predicted.predicted, predicted.values, f"predicted as {first!r}")

    def score(self, probs_NC: Array, values: Array) -> dict[str, float]:
        return {"auroc": auroc(probs_NC, values)}

    def within_folds(self, folds: Sequence[Predicted], pooled: Predicted, options: EvalOptions) -> dict[str, Any]:
        parts, whole = [self.of_predicted(fold) for fold in folds], self.of_predicted(pooled)
        numbers = [len(self.classes) - 1] if self.positive else list(range(len(self.classes)))
        area = within_folds(parts, whole, numbers, options)
        return {
            "metrics": {"auroc_within_folds": area["auroc"]},
            "per_class": {name: {"auroc_within_folds": entry} for name, entry in area["per_class"].items()},
            "facts": {"auroc_pooled_minus_within": area["pooled_minus_within"]},
        }

    def plain_metrics(self, predicted: Predicted) -> dict[str, float | None]:
        metrics = self.evaluate(predicted.probs, predicted.values, predicted.predicted, bootstrap=0)["metrics"]  # type: ignore[arg-type]
        return {name: entry["value"] for name, entry in metrics.items()}

    def events(self, values: Array) -> dict[str, int]:
        return dict(zip(self.classes, (self.indicators(values) == 1).sum(axis=0).tolist(), strict=True))

    def fit_sets(
        self, probs_NC: Array, values: Array, patients: Sequence[Any] | None
    ) -> tuple[dict[str, float], dict[str, float]]:
        return fit_limits(self, probs_NC, np.asarray(values), patients)

    def cannot_choose(self, values: Array, monitors: Collection[str]) -> tuple[str, str] | None:
        if "val_auroc" not in monitors or np.isfinite(auroc(np.zeros((len(values), len(self.classes))), values)):
            return None
        return (
            f"validation ({len(values)} cases) does not hold cases of every class, so val_auroc is undefined and "
            "can't choose a checkpoint",
            "give it more cases (the split column), or set callbacks.best.monitor=val_loss "
            "callbacks.best.mode=min callbacks.early_stopping=null",
        )


def _counted(cases: Cases) -> dict[str, dict[str, int]]:
    """Count the positive and negative cases of each class."""
    sides = [(cases.target_NC == side).sum(axis=0).tolist() for side in (1, 0)]
    rows = zip(cases.classes, *sides, strict=True)
    return {name: {"positive": positive, "negative": negative} for name, positive, negative in rows}


def as_columns(logits: npt.ArrayLike) -> Array:
    """Shape logits [N] or [N, K] as float64 [N, K]."""
    values = np.asarray(logits, dtype=np.float64)
    return values[:, None] if values.ndim == 1 else values


def numbers_as_indicators(values: Array, width: int) -> npt.NDArray[np.float64]:
    """Turn class numbers into labels_NC; a row of NaN where the number is negative or NaN.

    Raises:
        ValueError: a number beyond the classes.
    """
    numbers = np.asarray(values, np.float64)
    known = numbers >= 0  # NaN is not
    if (highest := numbers.max(initial=-1, where=known)) >= width:
        raise ValueError(f"target {highest:g} with {width} classes")
    labels_NC = np.full((len(numbers), width), np.nan)
    labels_NC[known] = np.eye(width)[numbers[known].astype(np.int64)]
    return labels_NC


def indicators_as_numbers(labels_NC: Array) -> Array:
    """Turn indicators into class numbers, NaN where a row is unknown."""
    unknown = ~np.isfinite(labels_NC).all(axis=1)
    return np.where(unknown, np.nan, np.nan_to_num(labels_NC).argmax(axis=1))
