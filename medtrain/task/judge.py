"""Predictions of cases, judged: the same metrics and table whoever made them, one network, several, or other folds'."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.spec import DataSpec
from medtrain.metric import Decision, abstention_curve
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
        doubt: how unsure each prediction is, [N], multilabel [N, C]: `metric.spread` of several predictions a case,
            else `metric.doubt`.
        by: where that comes from: ``ensemble``, ``mc_dropout``, or ``confidence`` of a single prediction.
    """

    rows: pd.DataFrame
    probs: np.ndarray
    predicted: np.ndarray
    target: np.ndarray | None
    doubt: np.ndarray
    by: str = "confidence"

    def table(self, spec: DataSpec) -> pd.DataFrame:
        uncertainty = None if self.by == "confidence" else self.doubt
        return predictions_table(spec, self.rows, self.probs, self.predicted, self.target, uncertainty)


def judge(spec: DataSpec, found: Predicted, decision: Decision, **asked: Any) -> Outcome:
    """Metrics with intervals, the abstention curve, and the table of predictions.

    Args:
        asked: bootstrap, prevalence and groups, as `metric.evaluate` takes them.
    """
    assert found.target is not None
    said = (spec.label_kind, found.probs, found.target, found.predicted, spec.classes)
    metrics = metrics_of(*said, found.rows["patient"].tolist(), **asked)
    metrics["calibration"] = {"temperature": decision.temperature, **metrics["calibration"]}
    counts = {"n_cases": len(found.rows), "n_patients": int(found.rows["patient"].nunique())}
    curve = {"by": found.by, "curve": abstention_curve(*said, found.doubt)}
    return Outcome(counts | metrics | {"abstention": curve}, {"test_predictions.csv": found.table(spec)})
