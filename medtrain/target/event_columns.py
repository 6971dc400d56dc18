"""The columns of predictions of times to an event: time, event, risk, surv_<horizon>..., risk_group, uncertainty."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.target.numbers import as_written
from medtrain.target.outcome import Predicted
from medtrain.target.table import NumberColumns, as_numbers

Array = NDArray[Any]
GROUPS = ("low", "high")


def columns_of(horizons: Iterable[float]) -> list[str]:
    """Name the columns of a risk and the chances of no event up to each horizon."""
    return ["risk", *(f"surv_{horizon:g}" for horizon in horizons)]


class EventColumns(NumberColumns):
    """Readings [N, 1 + H] are a risk and chances of survival; values [N, 2] a time and whether the event was seen."""

    horizons: tuple[float, ...]

    @property
    def columns(self) -> list[str]:
        """Name the columns of readings in a table of predictions."""
        return columns_of(self.horizons)

    def table(self, predicted: Predicted) -> pd.DataFrame:
        rows = predicted.rows
        table: dict[str, Any] = {"case": rows["case"].to_numpy(), "patient": rows["patient"].tolist()}
        if predicted.values is not None:
            table |= self.named("target", predicted.values)
        table |= dict(zip(self.columns, predicted.probs.T, strict=True))
        table |= self.named("prediction", predicted.predicted)
        if predicted.by != "confidence":
            table["uncertainty"] = predicted.doubt
        return pd.DataFrame(table)

    def named(self, what: str, values: Array) -> dict[str, Any]:
        if what == "prediction":
            return {"risk_group": [GROUPS[int(value)] for value in values]}
        time_N, event_N = np.asarray(values, np.float64).reshape(-1, 2).T
        return {"time": time_N, "event": event_N.astype(np.int64)}

    def from_batch(self, y: Array) -> Array:
        """Code ``y`` as times and events."""
        return as_written(y)

    def labels(self, table: pd.DataFrame, what: str) -> Array:
        if what == "prediction":
            return (table["risk_group"] == GROUPS[1]).to_numpy(np.float64)
        return as_numbers(table[["time", "event"]])

    def probs(self, table: pd.DataFrame) -> Array:
        return as_numbers(table[self.columns])
