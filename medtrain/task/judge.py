"""Predictions of cases, judged: the same metrics and table whoever made them, one network, several, or other folds'."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from medtrain.core.spec import DataSpec
from medtrain.metric import Decision, abstention_curve, doubt
from medtrain.metric import evaluate as metrics_of
from medtrain.task.base import Outcome
from medtrain.task.table import predictions_table


@dataclass
class Predicted:
    """What is said of N cases.

    Args:
        rows: case and patient of each.
        probs: [N, C], one column a class in order, binary too.
        predicted: the decision, as `Decision.predict` codes it.
        target: coded as the metric room takes it; None where there is none.
        uncertainty: [N], multilabel [N, C]; None where a single prediction was made.
        by: where it comes from: ``ensemble`` or ``mc_dropout``.
    """

    rows: pd.DataFrame
    probs: np.ndarray
    predicted: np.ndarray
    target: np.ndarray | None = None
    uncertainty: np.ndarray | None = None
    by: str = "confidence"

    def table(self, spec: DataSpec) -> pd.DataFrame:
        return predictions_table(spec, self.rows, self.probs, self.predicted, self.target, self.uncertainty)


def judge(spec: DataSpec, found: Predicted, decision: Decision, *, bootstrap: int) -> Outcome:
    """Metrics with intervals, the abstention curve, and the table of predictions."""
    kind, classes = spec.label_kind, spec.classes
    assert found.target is not None
    said = (kind, found.probs, found.target, found.predicted, classes)
    metrics = metrics_of(*said, found.rows["patient"].tolist(), bootstrap=bootstrap)
    unsure = doubt(kind, found.probs, decision) if found.uncertainty is None else found.uncertainty
    counts = {"n_cases": len(found.rows), "n_patients": int(found.rows["patient"].nunique())}
    curve = {"by": found.by, "curve": abstention_curve(*said, unsure)}
    return Outcome(counts | metrics | {"abstention": curve}, {"test_predictions.csv": found.table(spec)})
