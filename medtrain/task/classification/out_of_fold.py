"""Put together what several runs predicted of cases that none of them was trained on, from their prediction tables."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError
from medtrain.metric import EvalOptions, means_of_all, spread_over
from medtrain.metric.unseen import DRAWS
from medtrain.target import Decision, Outcome, Predicted, reached, side_by_side
from medtrain.target.cases import CaseTarget

log = logging.getLogger(__name__)

NO_SETS = (
    "the networks of a cross-validation have no case in common that none of them has learned, so limits for their mean "
    "can't be fitted with a promise; its members have prediction sets, each in its own folder"
)
NEAREST = 1e-13  # probabilities nearer to 0 or 1 count as this near


@dataclass(frozen=True)
class RunPredictions:
    """Calibrated probabilities of S runs for N cases.

    Args:
        rows: case and patient.
        probs_NSC: one column a class in order, binary too.
        values: the truth, coded as the target has it.
        limits_NT: the thresholds that hold for each case; none for multiclass.
    """

    rows: pd.DataFrame
    probs_NSC: np.ndarray
    values: np.ndarray
    limits_NT: np.ndarray

    @classmethod
    def read(
        cls, files: Sequence[Path], target: CaseTarget, thresholds: Mapping[str, float] | None = None
    ) -> RunPredictions:
        """Read the tables of runs that tested, or validated on, the same cases."""
        alone = []
        for file in files:
            rows, probs, values = target.read_file(file)
            alone.append(cls(rows, probs[:, None], values, np.empty((len(rows), 0))))
        joined = together(alone)
        return joined if thresholds is None else joined.decided_by(target, thresholds)

    def in_order(self, cases: Sequence[str]) -> RunPredictions:
        """Put the cases into this order.

        Raises:
            MedtrainError: not the same cases.
        """
        here = pd.Index(self.rows["case"])
        if len(here) != len(cases) or set(here) != set(cases):
            raise MedtrainError(f"a table has predictions of {len(here)} cases, not of the {len(cases)} in splits.csv")
        rows = here.get_indexer(pd.Index(cases))
        return RunPredictions(
            self.rows.iloc[rows].reset_index(drop=True), self.probs_NSC[rows], self.values[rows], self.limits_NT[rows]
        )

    def predicted(self, target: CaseTarget) -> Predicted:
        """Average over the runs and decide by the cases' own thresholds; the spread of several is their doubt."""
        decided = target.decide(self.probs_NSC.mean(axis=1), self.limits_NT)
        return target.predictions(self.rows, self.probs_NSC, decided, self.limits_NT, self.values)

    def decided_by(self, target: CaseTarget, thresholds: Mapping[str, float]) -> RunPredictions:
        """Decide all cases by these thresholds."""
        limits = [thresholds[name] for name in target.thresholded]
        return replace(self, limits_NT=np.tile(limits, (len(self.rows), 1)))

    def reached(self, target: CaseTarget, options: EvalOptions) -> dict[str, dict[str, Any]]:
        """Compute what the thresholds reach, as `medtrain.target.reached` gives it."""
        judged = target.judge(self.predicted(target), Decision(), options).metrics
        return reached(judged, target.thresholded)

    def metrics(self, target: CaseTarget) -> dict[str, float | None]:
        """Compute the metrics, without intervals."""
        return target.plain_metrics(self.predicted(target))


def end_to_end(folds: Sequence[RunPredictions]) -> RunPredictions:
    """Join predictions of different cases, one fold after the other."""
    return RunPredictions(
        pd.concat([fold.rows for fold in folds], ignore_index=True),
        np.concatenate([fold.probs_NSC for fold in folds]),
        np.concatenate([fold.values for fold in folds]),
        np.concatenate([fold.limits_NT for fold in folds]),
    )


def together(parts: Sequence[RunPredictions]) -> RunPredictions:
    """Join predictions of the same cases by more runs; thresholds are averaged, the order is that of the first."""
    first = parts[0]
    alike = [part.in_order(first.rows["case"].tolist()) for part in parts]
    probs = np.concatenate([part.probs_NSC for part in alike], axis=1)
    return RunPredictions(first.rows, probs, first.values, np.mean([part.limits_NT for part in alike], axis=0))


@dataclass(frozen=True)
class Fold:
    """Cases that some runs tested and others on which they were tuned, with what the runs say of both.

    Args:
        repeat: which of several cross-validations, from 0.
        number: which part of it; None where the runs share a test split.
        tuned: the validation cases.
        tested: the test cases; both with the thresholds that were fitted on the former.
    """

    repeat: int
    number: int | None
    tuned: RunPredictions
    tested: RunPredictions

    def facts(self, target: CaseTarget) -> dict[str, Any]:
        """Describe the test of this fold: its cases, how they were decided, and the metrics."""
        limits = self.tested.limits_NT[0].tolist() if len(self.tested.limits_NT) else []
        return {
            "repeat": self.repeat,
            "fold": self.number,
            "n_cases": len(self.tested.rows),
            "n_patients": int(self.tested.rows["patient"].nunique()),
            "events": target.events(self.tested.values),
            "thresholds": dict(zip(target.thresholded, limits, strict=True)),
            "metrics": self.tested.metrics(target),
        }


def judge_folds(
    target: CaseTarget, folds: Sequence[Fold], decision: Decision, order: Sequence[str], options: EvalOptions
) -> Outcome:
    """Judge all predictions pooled, with intervals over patients, and fold by fold.

    Args:
        folds: of each cross-validation; one in all where the runs share a test split.
        decision: of the whole, for the record: each case is decided by its own thresholds.
        order: of the cases.
        options: how to judge them.

    Returns:
        The outcome; of a cross-validation its metrics begin with ``auroc_within_folds``, and it has
        ``cross_validation`` (see docs/run_folder.md). ``folds`` (over all folds) and ``repeats`` (over
        cross-validations) are {NAME: {"mean", "sd", "values"}}, None where there is one.
    """
    wholes = [end_to_end([fold.tested for fold in repeat]) for _, repeat in groupby(folds, lambda fold: fold.repeat)]
    predicted = together(wholes).in_order(order).predicted(target)
    outcome = target.judge(predicted, decision, options)
    facts = [fold.facts(target) for fold in folds]
    outcome.metrics["folds"] = spread_over([fold["metrics"] for fold in facts])
    outcome.metrics["repeats"] = spread_over([whole.metrics(target) for whole in wholes])
    tuned = end_to_end([fold.tuned for fold in folds]).reached(target, options)
    tested = reached(outcome.metrics, target.thresholded)
    outcome.metrics["operating_point"] = side_by_side(target.grammar.parse(decision.policy), tuned, tested)
    if folds[0].number is not None:
        _add_cross_validation(target, outcome, folds, facts, predicted, options)
    return outcome


def _add_cross_validation(
    target: CaseTarget,
    outcome: Outcome,
    folds: Sequence[Fold],
    facts: list[dict[str, Any]],
    predicted: Predicted,
    options: EvalOptions,
) -> None:
    """Put metrics within folds first, and say what was done in each fold; no one threshold decided the cases."""
    within = target.within_folds([fold.tested.predicted(target) for fold in folds], predicted, options)
    metrics = outcome.metrics
    metrics["metrics"] = within.get("metrics", {}) | metrics["metrics"]
    for name, entries in within.get("per_class", {}).items():
        metrics["per_class"][name] = entries | metrics["per_class"][name]
    metrics["cross_validation"] = {"folds": facts} | within.get("facts", {})


def fit_whole(
    target: CaseTarget, folds: Sequence[Fold], order: Sequence[str], policy: str | float, options: EvalOptions
) -> Decision:
    """Fit the decision on the mean of all runs, each of which has its own temperature.

    Where the runs share a split, on their mean over its validation cases. In a cross-validation no case is new to all
    of them, so the mean is estimated from those runs that have not learned it; see `medtrain.metric.unseen`.

    Args:
        order: of the cases.
        options: how to judge what the thresholds reach there; what they reach by estimated means has no interval.
    """
    if folds[0].number is None:
        tuned = folds[0].tuned
        patients = tuned.rows["patient"].tolist()
        thresholds = target.fit_thresholds(tuned.probs_NSC.mean(axis=1), tuned.values, policy, patients)
        validation = tuned.decided_by(target, thresholds).reached(target, options)
        sets, absent = target.fit_sets(tuned.probs_NSC.mean(axis=1), tuned.values, patients)
        return Decision(policy, 1.0, thresholds, validation=validation, sets=sets, absent=absent)
    if not target.thresholded:  # nothing to fit
        return Decision(policy, no_sets=NO_SETS)
    if not set(target.thresholded) <= set(target.classes):  # of no probability: the mean of the folds' own
        limits = np.mean([fold.tested.limits_NT[0] for fold in folds], axis=0).tolist()
        basis = "each fold's validation data; the mean of the folds"
        return Decision(policy, 1.0, dict(zip(target.thresholded, limits, strict=True)), basis, no_sets=NO_SETS)
    probs_NSC, whole = _by_unseen(target, folds, order)
    probs_DNC = _estimated(target, probs_NSC, whole.values)
    if probs_DNC is None:
        log.warning("too few cases were predicted by two networks that had not learned them: the threshold of the "
                    "ensemble is fitted on single predictions, and finds more than it says")  # fmt: skip
        probs_DNC = whole.probs_NSC.mean(axis=1)[None]
    many = len(probs_DNC)
    rows = pd.concat([whole.rows] * many, ignore_index=True)
    drawn = RunPredictions(rows, np.concatenate(probs_DNC)[:, None], np.concatenate([whole.values] * many), np.empty(0))
    thresholds = target.fit_thresholds(drawn.probs_NSC[:, 0], drawn.values, policy, rows["patient"].tolist())
    validation = drawn.decided_by(target, thresholds).reached(target, EvalOptions(0))
    for one in validation.values():
        one |= {side: one[side] // many for side in ("positive", "negative")}
    unseen = np.isfinite(probs_NSC[:, :, 0]).sum(axis=1).mean()
    basis = (
        f"what networks said of cases that they had not learned ({unseen:.3g} of {probs_NSC.shape[1]} a case), from "
        "which the mean of all was estimated"
    )
    return Decision(policy, 1.0, thresholds, basis, validation, no_sets=NO_SETS)


def _by_unseen(target: CaseTarget, folds: Sequence[Fold], order: Sequence[str]) -> tuple[np.ndarray, RunPredictions]:
    """Collect what each run says of cases that it has not learned, NaN elsewhere, and all cases as they were tested."""
    whole = end_to_end([fold.tested for fold in folds if fold.repeat == 0]).in_order(order)
    row, parts = pd.Index(order), []
    for fold in folds:
        own = np.full((len(order), *fold.tested.probs_NSC.shape[1:]), np.nan)
        for seen in (fold.tuned, fold.tested):
            own[row.get_indexer(pd.Index(seen.rows["case"]))] = seen.probs_NSC
        parts.append(own)
    return np.concatenate(parts, axis=1), whole


def _estimated(target: CaseTarget, probs_NSC: np.ndarray, values: np.ndarray) -> np.ndarray | None:
    """Estimate the mean of all runs, [D, N, C]; classes without a threshold stay as they are."""
    labels_NC = target.indicators(values)
    out_DNC = np.tile(np.nanmean(probs_NSC, axis=1), (DRAWS, 1, 1))
    for name in target.thresholded:
        c = target.classes.index(name)
        known = np.isfinite(labels_NC[:, c])
        probs_NS = np.clip(probs_NSC[known, :, c], NEAREST, 1 - NEAREST)
        drawn = means_of_all(np.log(probs_NS) - np.log1p(-probs_NS), labels_NC[known, c] > 0.5)
        if drawn is None:
            return None
        out_DNC[:, known, c] = drawn
    return out_DNC


@dataclass(frozen=True)
class ClassJudge:
    """How classes are judged from the files of several runs, as `medtrain.command.ensemble` wants it."""

    target: CaseTarget

    def fold(self, repeat: int, number: int | None, folders: Sequence[Path], policy: str | float) -> Fold:
        """Read what runs say of their validation and test cases; the former fit the thresholds of the latter."""
        tuned = RunPredictions.read([folder / "val_predictions.csv" for folder in folders], self.target)
        patients = tuned.rows["patient"].tolist()
        thresholds = self.target.fit_thresholds(tuned.probs_NSC.mean(axis=1), tuned.values, policy, patients)
        tested = RunPredictions.read([folder / "test_predictions.csv" for folder in folders], self.target, thresholds)
        return Fold(repeat, number, tuned.decided_by(self.target, thresholds), tested)

    def fit_whole(
        self, folds: Sequence[Fold], order: Sequence[str], policy: str | float, options: EvalOptions
    ) -> Decision:
        """Fit the decision of all runs together."""
        return fit_whole(self.target, folds, order, policy, options)

    def judge(self, folds: Sequence[Fold], decision: Decision, order: Sequence[str], options: EvalOptions) -> Outcome:
        """Judge all folds together."""
        return judge_folds(self.target, folds, decision, order, options)
