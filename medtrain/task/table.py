"""The table of predictions: case, patient, target, prediction, prob_<class>..., uncertainty; written and read here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import MedtrainError
from medtrain.core.spec import DataSpec


def predictions_table(
    spec: DataSpec,
    rows: pd.DataFrame,
    probs: np.ndarray,
    predicted: np.ndarray,
    target: np.ndarray | None = None,
    uncertainty: np.ndarray | None = None,
) -> pd.DataFrame:
    """case, patient, target, prediction, prob_<class>..., uncertainty; the first and last only where they are given.

    Args:
        probs: [N, C], one column a class in order, binary too.
        predicted, target: binary and multiclass [N] class numbers, multilabel [N, C] of 0, 1 (NaN unknown).
        uncertainty: [N]; multilabel [N, C], a column ``uncertainty_<class>`` each.
    """
    table: dict[str, Any] = {"case": rows["case"].to_numpy(), "patient": rows["patient"].tolist()}
    for name, values in (("target", target), ("prediction", predicted)):
        if values is not None and spec.label_kind == "multilabel":
            for i, cls in enumerate(spec.classes):
                table[f"{name}_{cls}"] = [_named(v, ("0", "1")) for v in values[:, i]]
        elif values is not None:
            table[name] = [_named(v, spec.classes) for v in values]
    table |= {f"prob_{cls}": probs[:, i] for i, cls in enumerate(spec.classes)}
    if uncertainty is not None and uncertainty.ndim == 2:
        table |= {f"uncertainty_{cls}": uncertainty[:, i] for i, cls in enumerate(spec.classes)}
    elif uncertainty is not None:
        table["uncertainty"] = uncertainty
    return pd.DataFrame(table)


def read_predictions(file: Path, spec: DataSpec) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """(rows with case and patient, probs [N, C], targets) of a table with targets, to the last bit.

    Targets are coded as the metric room takes them: binary [N] of 0, 1, NaN; multiclass [N] of class numbers, -1
    unknown; multilabel [N, C] of 0, 1, NaN.

    Raises:
        MedtrainError: not there, or not a table of these classes.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        rows, probs = table[["case", "patient"]], table[[f"prob_{cls}" for cls in spec.classes]]
        if spec.label_kind == "multilabel":
            target = _numbers(table[[f"target_{cls}" for cls in spec.classes]])
        else:
            number = {cls: i for i, cls in enumerate(spec.classes)}
            target = np.array([number[cell] if cell else np.nan for cell in table["target"]], dtype=float)
            target = np.nan_to_num(target, nan=-1).astype(np.int64) if spec.label_kind == "multiclass" else target
        return rows, _numbers(probs), target
    except (OSError, ValueError, KeyError) as error:
        raise MedtrainError(f"{file}: not the predictions of a run on {', '.join(spec.classes)} ({error})") from error


def _numbers(table: pd.DataFrame) -> np.ndarray:
    # Python's own reading of a number gives back what was written; pandas' quick one need not
    return np.array([[float(cell) if cell else np.nan for cell in row] for row in table.to_numpy()], dtype=float)


def _named(value: Any, names: tuple[str, ...]) -> str:
    """The class's name; blank where unknown."""
    return "" if value != value or value < 0 else names[int(value)]
