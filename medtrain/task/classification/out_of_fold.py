"""Put together what several runs predicted of cases that none of them was trained on, from their prediction tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError
from medtrain.metric import EvalOptions
from medtrain.target import Decision, Outcome, Predicted
from medtrain.target.classes import ClassTarget

Spread = dict[str, dict[str, Any]]


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
        cls, files: Sequence[Path], target: ClassTarget, thresholds: Mapping[str, float] | None = None
    ) -> RunPredictions:
        """Read the tables of runs that tested, or validated on, the same cases."""
        alone = []
        for file in files:
            rows, probs, values = target.read_file(file)
            limits = np.tile(list((thresholds or {}).values()), (len(rows), 1))
            alone.append(cls(rows, probs[:, None], values, limits))
        return together(alone)

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

    def predicted(self, target: ClassTarget) -> Predicted:
        """Average over the runs and decide by the cases' own thresholds; the spread of several is their doubt."""
        decided = target.decide(self.probs_NSC.mean(axis=1), self.limits_NT)
        return target.predictions(self.rows, self.probs_NSC, decided, self.limits_NT, self.values)

    def metrics(self, target: ClassTarget) -> dict[str, float | None]:
        """Compute the metrics, without intervals."""
        predicted = self.predicted(target)
        metrics = target.evaluate(predicted.probs, self.values, predicted.predicted, bootstrap=0)["metrics"]
        return {name: entry["value"] for name, entry in metrics.items()}


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


def judge_repeats(
    target: ClassTarget,
    repeats: Sequence[Sequence[RunPredictions]],
    decision: Decision,
    *,
    order: Sequence[str],
    options: EvalOptions,
) -> Outcome:
    """Judge all predictions pooled, with intervals over patients, and how the metrics spread.

    Args:
        repeats: the folds of each cross-validation; one fold in all where the runs share a test split.
        decision: of the whole, for the record: each case is decided by its own thresholds.
        order: of the cases.
        options: how to judge them.

    Returns:
        The outcome; its metrics have ``folds`` (over all folds) and ``repeats`` (over cross-validations): {NAME:
        {"mean", "sd", "values"}}, None where there is one.
    """
    wholes = [end_to_end(folds) for folds in repeats]
    outcome = target.judge(together(wholes).in_order(order).predicted(target), decision, options)
    folds = [fold.metrics(target) for repeat in repeats for fold in repeat]
    outcome.metrics["folds"] = spread_over(folds)
    outcome.metrics["repeats"] = spread_over([whole.metrics(target) for whole in wholes])
    return outcome


def spread_over(values: Sequence[Mapping[str, float | None]]) -> Spread | None:
    """Compute mean and standard deviation (n - 1) of each metric over folds or repeats; undefined ones left out."""
    if len(values) < 2:
        return None
    spread: Spread = {}
    for name in values[0]:
        entries = [value[name] for value in values]
        defined = [value for value in entries if value is not None]
        spread[name] = {
            "mean": float(np.mean(defined)) if defined else None,
            "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            "values": entries,
        }
    return spread
