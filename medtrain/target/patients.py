"""Judging patients beside their cases: one value a patient, metrics and a table of their own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from medtrain.metric import EvalOptions, by_patient, evaluate
from medtrain.target.outcome import Predicted


def judge_patients(
    target: Any, predicted: Predicted, options: EvalOptions
) -> tuple[dict[str, Any] | None, dict[str, Any]]:
    """Judge patients where any has several cases; see `by_patient`.

    Args:
        target: of classes; it decides patients as it does cases, by the threshold of their first case.
        predicted: of cases.

    Returns:
        The node ``patients`` of test_metrics.json, None where each case is a patient or `options` want none; and
        {file: table}.
    """
    names = predicted.rows["patient"].astype(str).to_numpy()
    if options.patients is None or len(set(names)) == len(names):
        return None, {}
    labels_NC, wanted = target.indicators(np.asarray(predicted.values)), np.isin(target.classes, target.looked_for)
    together = by_patient(predicted.probs, labels_NC, names, options.patients, wanted, not target.several)
    values, first = target.coded(together.target_PC), together.first_P
    rows = predicted.rows.iloc[first].assign(case=names[first])
    limits = predicted.limits if predicted.limits.ndim == 1 else predicted.limits[first]
    decided = target.decide(together.probs_PC, limits)
    whole = target.predictions(rows, together.probs_PC[:, None], decided, limits, values)
    cases = target.cases(whole.probs, values, decided, rows["patient"].tolist())
    metrics = evaluate(cases, target.sheet, replace(options, groups=None, prevalence=None))
    facts = {"rule": options.patients, "n_patients": len(rows), "n_mixed": together.mixed}
    table = target.table(whole).drop(columns="case").assign(cases=together.cases_P)
    return facts | {key: metrics[key] for key in ("metrics", "per_class")}, {"test_patients.csv": table}
