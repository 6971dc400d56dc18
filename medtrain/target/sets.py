"""Prediction sets of cases: fitted with the decision, and written beside the predictions, in a table of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.metric import fit_sets
from medtrain.target.decision import Decision

Array = NDArray[Any]
Limits = dict[str, float]


def fit_limits(target: Any, probs_NC: Array, values: Array, patients: Sequence[Any] | None) -> tuple[Limits, Limits]:
    """Fit the limits of prediction sets to calibrated probabilities of validation cases.

    Args:
        target: of classes.

    Returns:
        `Decision.sets` and `Decision.absent`: where a case may have any number of classes, each is a question of its
        own with the answers yes and no, so that no has a limit, too; else the latter is empty.
    """
    labels_NC = target.indicators(np.asarray(values))
    sets = dict(zip(target.classes, fit_sets(probs_NC, labels_NC, patients), strict=True))
    if not target.several:
        return sets, {}
    return sets, dict(zip(target.classes, fit_sets(1 - probs_NC, 1 - labels_NC, patients), strict=True))


def table_of_sets(target: Any, rows: pd.DataFrame, probs_NC: Array, decision: Decision) -> pd.DataFrame | None:
    """Write the prediction set of each case; None where the decision has no limits for them.

    Returns:
        case, patient, and ``set``: names of classes with | between, blank where the set is empty. Where a case may have
        any number of classes a column ``set_CLASS`` each: ``1``, ``0``, ``0|1`` (it can't be told) or blank.
    """
    if not decision.sets:
        return None
    limits = np.array([decision.sets[name] for name in target.classes])
    inside_NC = np.asarray(probs_NC) >= limits
    table: dict[str, Any] = {"case": rows["case"].to_numpy(), "patient": rows["patient"].tolist()}
    if not decision.absent:
        table["set"] = [_joined(target.classes, row) for row in inside_NC]
        return pd.DataFrame(table, index=rows.index)
    without_NC = 1 - np.asarray(probs_NC) >= np.array([decision.absent[name] for name in target.classes])
    for c, name in enumerate(target.classes):
        answers = zip(without_NC[:, c], inside_NC[:, c], strict=True)
        table[f"set_{name}"] = [_joined(("0", "1"), answer) for answer in answers]
    return pd.DataFrame(table, index=rows.index)


def _joined(names: Sequence[str], there: Sequence[Any]) -> str:
    return "|".join(name for name, one in zip(names, there, strict=True) if one)
