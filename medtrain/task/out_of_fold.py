"""What several runs said of cases that none of them was trained on, put together from their prediction tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError
from medtrain.core.spec import DataSpec
from medtrain.metric import Decision, decide, doubt, evaluate, spread
from medtrain.task.base import Outcome
from medtrain.task.judge import Predicted, judge
from medtrain.task.table import read_predictions

Spread = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Said:
    """Calibrated probabilities of S runs for N cases.

    Args:
        rows: case and patient.
        probs_NSC: one column a class in order, binary too.
        target: coded as the metric room takes it.
        limits_NT: the thresholds that hold for each case; none for multiclass.
    """

    rows: pd.DataFrame
    probs_NSC: np.ndarray
    target: np.ndarray
    limits_NT: np.ndarray

    @classmethod
    def read(cls, files: Sequence[Path], spec: DataSpec, thresholds: Mapping[str, float] | None = None) -> Said:
        """The tables of runs that tested, or validated on, the same cases."""
        alone = []
        for file in files:
            rows, probs, target = read_predictions(file, spec)
            limits = np.tile(list((thresholds or {}).values()), (len(rows), 1))
            alone.append(cls(rows, probs[:, None], target, limits))
        return together(alone)

    def in_order(self, cases: Sequence[str]) -> Said:
        """The same, in this order of cases.

        Raises:
            MedtrainError: not the same cases.
        """
        here = pd.Index(self.rows["case"])
        if len(here) != len(cases) or set(here) != set(cases):
            raise MedtrainError(f"a table has predictions of {len(here)} cases, not of the {len(cases)} in splits.csv")
        at = here.get_indexer(pd.Index(cases))
        return Said(self.rows.iloc[at].reset_index(drop=True), self.probs_NSC[at], self.target[at], self.limits_NT[at])

    def predicted(self, spec: DataSpec) -> Predicted:
        """Means over the runs, decided by the cases' own thresholds; with the runs' spread where there are several."""
        kind, probs = spec.label_kind, self.probs_NSC.mean(axis=1)
        predicted = decide(kind, probs, self.limits_NT)
        if self.probs_NSC.shape[1] > 1:
            doubts, by = spread(kind, self.probs_NSC, predicted), "ensemble"
        else:
            doubts, by = doubt(kind, probs, self.limits_NT), "confidence"
        return Predicted(self.rows, probs, predicted, self.target, doubts, by)

    def values(self, spec: DataSpec) -> dict[str, float | None]:
        """The metrics, without intervals."""
        found = self.predicted(spec)
        said = (spec.label_kind, found.probs, self.target, found.predicted, spec.classes)
        return {name: entry["value"] for name, entry in evaluate(*said, bootstrap=0)["metrics"].items()}


def end_to_end(folds: Sequence[Said]) -> Said:
    """Other cases, one fold after the other."""
    return Said(
        pd.concat([fold.rows for fold in folds], ignore_index=True),
        np.concatenate([fold.probs_NSC for fold in folds]),
        np.concatenate([fold.target for fold in folds]),
        np.concatenate([fold.limits_NT for fold in folds]),
    )


def together(parts: Sequence[Said]) -> Said:
    """The same cases, said by more runs; thresholds are averaged. Cases stand in the order of the first."""
    first = parts[0]
    alike = [part.in_order(first.rows["case"].tolist()) for part in parts]
    probs = np.concatenate([part.probs_NSC for part in alike], axis=1)
    return Said(first.rows, probs, first.target, np.mean([part.limits_NT for part in alike], axis=0))


def judge_repeats(
    spec: DataSpec, repeats: Sequence[Sequence[Said]], decision: Decision, *, order: Sequence[str], **asked: Any
) -> Outcome:
    """All predictions pooled, with intervals over patients, and how the metrics spread.

    Args:
        repeats: the folds of each cross-validation; one fold in all where the runs share a test split.
        decision: of the whole, for the record: each case is decided by its own thresholds.
        order: of the cases.
        asked: as `judge` takes it.

    Returns:
        The outcome; its metrics have ``folds`` (over all folds) and ``repeats`` (over cross-validations): {NAME:
        {"mean", "sd", "values"}}, None where there is one.
    """
    wholes = [end_to_end(folds) for folds in repeats]
    outcome = judge(spec, together(wholes).in_order(order).predicted(spec), decision, **asked)
    folds = [fold.values(spec) for each in repeats for fold in each]
    outcome.metrics["folds"] = spread_over(folds)
    outcome.metrics["repeats"] = spread_over([whole.values(spec) for whole in wholes])
    return outcome


def spread_over(values: Sequence[Mapping[str, float | None]]) -> Spread | None:
    """Mean and standard deviation (n - 1) of each metric over folds or repeats; undefined values are left out."""
    if len(values) < 2:
        return None
    found: Spread = {}
    for name in values[0]:
        each = [value[name] for value in values]
        defined = [value for value in each if value is not None]
        found[name] = {
            "mean": float(np.mean(defined)) if defined else None,
            "sd": float(np.std(defined, ddof=1)) if len(defined) > 1 else None,
            "values": each,
        }
    return found
