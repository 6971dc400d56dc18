"""What comes out of judging a split: predictions of its cases, and metrics with files."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd


@dataclass
class Predicted:
    """Predictions of N cases by probabilities.

    Args:
        rows: case and patient of each.
        probs: [N, C], one column a class in order, binary too.
        predicted: the decision, coded as the target's values.
        values: the truth, coded as the target has it; None where it is not known.
        doubt: how unsure each prediction is, [N], or [N, C] where each class is decided on its own.
        by: where that comes from: ``ensemble``, ``mc_dropout``, or ``confidence`` of a single prediction.
        limits: the thresholds behind the decision, [T], or [N, T] where each case has its own.
    """

    rows: pd.DataFrame
    probs: np.ndarray
    predicted: np.ndarray
    values: np.ndarray | None
    doubt: np.ndarray
    by: str = "confidence"
    limits: np.ndarray = field(default_factory=lambda: np.empty(0))


@dataclass
class Outcome:
    """A judged split.

    Args:
        metrics: of test_metrics.json: n_cases, n_patients, metrics, per_class, and where the task has them
            calibration, prevalence, groups.
        files: {name: table or JSON value} to write beside it.
        warnings: what makes the metrics mean little, such as a constant prediction, in a sentence each.
    """

    metrics: dict[str, Any]
    files: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
