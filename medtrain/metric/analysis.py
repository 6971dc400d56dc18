"""Analyses: what is said of judged cases beyond metrics; each a function that evaluation looks up.

An analysis is a function with `analysis` on it. It takes a `Study`, and gives what is merged into test_metrics.json:
a node of its own, or entries of ``metrics`` and ``per_class`` ({"value", "ci95"}). Nothing else is edited for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array, patient_index
from medtrain.metric.classification import Cases, Results
from medtrain.metric.options import EvalOptions
from medtrain.metric.sheet import Sheet


@dataclass(frozen=True)
class SetLimits:
    """What makes prediction sets.

    Args:
        present: {class: least probability that puts it into a case's set}; {} without any.
        absent: {class: least probability of not having it that leaves this open}; {} where classes are exclusive.
        reason: why there are none, where there are none.
    """

    present: Mapping[str, float] = field(default_factory=dict)
    absent: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True)
class Study:
    """Judged cases, and how they were judged.

    Args:
        cases: predictions and truth.
        sheet: how classes make a whole.
        options: the eval node's.
        thresholds: {class: positive from this probability on}, of the classes that are decided so.
        results: what `evaluate` gave.
        looked_for: the classes that one looks for: the positive one of two, else all.
        sets: the limits of prediction sets.
    """

    cases: Cases
    sheet: type[Sheet]
    options: EvalOptions
    thresholds: Mapping[str, float]
    looked_for: Sequence[str]
    results: Results
    sets: SetLimits = field(default_factory=SetLimits)

    def one_class(self, name: str) -> tuple[Array, Array, Array]:
        """Give probs_N, positive_N and patient_N (numbers from 0) of the cases whose label is known."""
        c = list(self.cases.classes).index(name)
        known = np.isfinite(self.cases.target_NC[:, c])
        patients, _ = patient_index(self.cases.patients, len(known))
        _, patient_N = np.unique(patients[known], return_inverse=True)
        return self.cases.probs_NC[known, c], self.cases.target_NC[known, c] > 0.5, patient_N


Analysis = Callable[[Study], Results]
ANALYSES: list[Analysis] = []


def analysis(function: Analysis) -> Analysis:
    """Make a function of a `Study` a part of all evaluations of classes."""
    ANALYSES.append(function)
    return function


def analyse(study: Study) -> Results:
    """Run all analyses, and merge what they give."""
    results: Results = {}
    for function in ANALYSES:
        merge(results, function(study))
    return results


def merge(results: Results, more: Mapping[str, Any]) -> Results:
    """Put `more` into `results`, node by node."""
    for key, value in more.items():
        if isinstance(value, Mapping) and isinstance(results.get(key), dict):
            merge(results[key], value)
        else:
            results[key] = value
    return results
