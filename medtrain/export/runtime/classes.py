"""Predictions of classes as a CSV: the columns that `medtrain predict` writes, in its order, to the last bit."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.export.runtime.inputs import Case, tell, write_whole
from medtrain.export.runtime.started import Started
from medtrain.io.store.fill import reason_of
from medtrain.target.event_columns import GROUPS, columns_of

WIDTH_95 = 1.959963984540054  # standard deviations on either side that hold 95 % of a normal distribution
Judge = Callable[[Any], Mapping[str, NDArray[Any]]]


class ClassRows:
    """Rows of cases in the order of their numbers, filled batch by batch.

    Args:
        cases: all of them.
        target: the node of model.json: names of classes in order, or of quantities; the horizons of risks.
        errors: why a case could not be read, by number.
    """

    def __init__(self, cases: Sequence[Case], target: Mapping[str, Any]) -> None:
        self.cases, self.classes, self.horizons = cases, target["classes"], target.get("horizons") or ()
        self.errors: dict[int, str] = {}
        self._cells: dict[int, dict[str, Any]] = {}

    def add(self, numbers: Iterable[int], outputs: Mapping[str, NDArray[Any]]) -> None:
        """Take the outputs of a batch: probabilities [B, C]; decision [B], a class, or [B, C], 0 or 1 of each;
        uncertainty [B] or [B, C], of several networks.
        """
        for row, number in enumerate(numbers):
            if "readings" in outputs:
                self._cells[number] = self._measured(outputs, row)
                continue
            cells = self._at_risk(outputs, row) if "risks" in outputs else self._classed(outputs, row)
            if "uncertainty" in outputs:
                cells |= self._doubt(outputs["uncertainty"][row])
            self._cells[number] = cells

    def _classed(self, outputs: Mapping[str, NDArray[Any]], row: int) -> dict[str, Any]:
        """Give the cells of classes: what is decided, and probabilities."""
        named = zip(self.classes, outputs["probabilities"][row], strict=True)
        return self._decided(outputs["decision"][row]) | {f"prob_{name}": p for name, p in named}

    def _at_risk(self, outputs: Mapping[str, NDArray[Any]], row: int) -> dict[str, Any]:
        """Give the cells of a time to an event: the risk, chances of none up to horizons, the group of risk."""
        cells = dict(zip(columns_of(self.horizons), outputs["risks"][row], strict=True))
        return cells | {"risk_group": GROUPS[int(outputs["decision"][row])]}

    def _measured(self, outputs: Mapping[str, NDArray[Any]], row: int) -> dict[str, Any]:
        """Give the cells of quantities: their values, the ends of predicted 95 % intervals, the members' spread."""
        v, readings = len(self.classes), outputs["readings"][row]
        columns = {"prediction": readings[:v]}
        if len(readings) > v:
            half = WIDTH_95 * readings[v:]
            columns |= {"lower": readings[:v] - half, "upper": readings[:v] + half}
        if "uncertainty" in outputs:
            columns["uncertainty"] = outputs["uncertainty"][row]
        return {
            what if v == 1 else f"{what}_{name}": value
            for what, values in columns.items()
            for name, value in zip(self.classes, values, strict=True)
        }

    def _decided(self, decision: NDArray[Any]) -> dict[str, Any]:
        if decision.ndim == 0:
            return {"prediction": self.classes[int(decision)]}
        return {f"prediction_{name}": int(value) for name, value in zip(self.classes, decision, strict=True)}

    def _doubt(self, doubt: NDArray[Any]) -> dict[str, Any]:
        if doubt.ndim == 0:
            return {"uncertainty": doubt}
        return {f"uncertainty_{name}": value for name, value in zip(self.classes, doubt, strict=True)}

    def close(self, output: Path) -> int:
        """Write the CSV whole, or not at all, and say what became of the cases; returns the exit code."""
        columns = list(next(iter(self._cells.values()), {}))
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["case", "patient", *columns, "error"])
        for number, case in enumerate(self.cases):
            cells = self._cells.get(number, {})
            values = [_text(cells.get(column, "")) for column in columns]
            writer.writerow([case.name, case.patient, *values, self.errors.get(number, "")])
        write_whole(output, text.getvalue())
        return tell(self.cases, self.errors, output)


def one_by_one(started: Started, cases: Sequence[Case], read: Callable[[int], Any], judge: Judge) -> int:
    """Read each case by its number and judge it alone, then write all of them; returns the exit code."""
    rows = ClassRows(cases, started.facts["target"])
    for number in range(len(cases)):
        try:
            content = read(number)
        except Exception as error:  # a bad file costs only itself
            rows.errors[number] = reason_of(error)
            continue
        rows.add([number], {name: value[None] for name, value in judge(content).items()})
    return rows.close(started.output)


def _text(value: Any) -> Any:
    return repr(float(value)) if isinstance(value, float | np.floating | np.ndarray) else value
