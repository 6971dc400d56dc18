"""The columns of predictions: case, patient, target, prediction, prob_<class>..., uncertainty; written and read here.

Whoever writes or reads a table of predictions, the run, the ensemble or the report, comes here, to the last bit of each
number.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import MedtrainError
from medtrain.target.outcome import Predicted

Array = NDArray[Any]


class PredictionColumns:
    """One column ``target`` and one ``prediction`` with the names of classes; a kind may have others.

    The classes are those of the target that this is a part of.
    """

    classes: tuple[str, ...]

    def table(self, predicted: Predicted) -> pd.DataFrame:
        """Make the table: target and uncertainty only where they are known."""
        rows = predicted.rows
        table: dict[str, Any] = {"case": rows["case"].to_numpy(), "patient": rows["patient"].tolist()}
        if predicted.values is not None:
            table |= self.named("target", predicted.values)
        table |= self.named("prediction", predicted.predicted)
        table |= {f"prob_{name}": predicted.probs[:, c] for c, name in enumerate(self.classes)}
        if predicted.by != "confidence":
            table |= self._uncertainty(predicted.doubt)
        return pd.DataFrame(table)

    def _uncertainty(self, doubt: Array) -> dict[str, Array]:
        if doubt.ndim == 1:
            return {"uncertainty": doubt}
        return {f"uncertainty_{name}": doubt[:, c] for c, name in enumerate(self.classes)}

    def named(self, what: str, values: Array) -> dict[str, list[str]]:
        """Write values as {column: names of classes}, blank where unknown; `what` is target or prediction."""
        return {what: [_name(value, self.classes) for value in values]}

    def labels(self, table: pd.DataFrame, what: str) -> Array:
        """Read the columns that `named` writes as labels_NC: 1, 0, and NaN where the cell is blank or no class."""
        number = {name: c for c, name in enumerate(self.classes)}
        cells: list[Any] = table[what].tolist() if what in table else [None] * len(table)
        index = np.array([number.get(cell, -1) for cell in cells], dtype=np.int64)
        labels_NC = np.where(index[:, None] == np.arange(len(self.classes)), 1.0, 0.0)
        labels_NC[index < 0] = np.nan
        return labels_NC

    def probs(self, table: pd.DataFrame) -> Array:
        """Read the probabilities [N, C] of a table of text."""
        return as_numbers(table[[f"prob_{name}" for name in self.classes]])

    def coded(self, labels_NC: Array) -> Array:
        """Turn indicators into values."""
        raise NotImplementedError

    def read_file(self, file: Path) -> tuple[pd.DataFrame, Array, Array]:
        """Read (rows with case and patient, probs [N, C], values) of a table with targets.

        Raises:
            MedtrainError: not there, or not a table of these classes.
        """
        try:
            table = pd.read_csv(file, dtype=str, keep_default_na=False)
            unknown = [c for c in self.named("target", np.empty(0)) if c not in table]
            if unknown:
                raise KeyError(f"no column {unknown[0]}")
            self._refuse_others(table)
            return table[["case", "patient"]], self.probs(table), self.coded(self.labels(table, "target"))
        except (OSError, ValueError, KeyError) as error:
            names = ", ".join(self.classes)
            raise MedtrainError(f"{file}: not the predictions of a run on {names} ({error})") from error

    def _refuse_others(self, table: pd.DataFrame) -> None:
        """Refuse cells of the target's columns that name none of the classes (KeyError)."""
        others = set(table["target"]) - {*self.classes, ""}
        if others:
            raise KeyError(sorted(others)[0])


class NumberColumns(PredictionColumns):
    """Columns of numbers in place of names: what is read of them are values already."""

    def coded(self, labels_NC: Array) -> Array:
        return labels_NC

    def _refuse_others(self, table: pd.DataFrame) -> None:
        """Leave it to reading: a cell that is no number is a ValueError."""


def as_numbers(table: pd.DataFrame) -> Array:
    """Read cells of text as float64, NaN where they are blank.

    Python's own reading of a number gives back what was written; pandas' quick one need not.
    """
    rows = table.to_numpy()
    return np.array([[float(cell) if _given(cell) else np.nan for cell in row] for row in rows], dtype=float).reshape(
        rows.shape
    )


def _given(cell: Any) -> bool:
    return cell is not None and cell == cell and cell != ""


def _name(value: Any, names: Sequence[str]) -> str:
    """Name a class by its number; blank where unknown."""
    return "" if value != value or value < 0 else names[int(value)]
