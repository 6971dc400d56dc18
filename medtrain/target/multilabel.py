"""Any number of classes a case, none too: an output a class, each through a sigmoid with a threshold of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit

from medtrain.metric import LabelsSheet, distance, spread
from medtrain.target.base import Words
from medtrain.target.classes import Array, ClassTarget, as_columns
from medtrain.target.table import as_numbers

if TYPE_CHECKING:
    from torch import Tensor


class Multilabel(ClassTarget):
    """Values are float [N, C] of 0 and 1; NaN: unknown."""

    kind = "multilabel"
    several = True
    sheet: ClassVar = LabelsSheet
    words: ClassVar = Words(
        reliability="Do predicted probabilities come true as often as they say? On the dashed line they do. Bins of "
        "equal size.",
        averages="Metrics are means over labels unless they say micro.",
    )

    def indicators(self, values: Array) -> npt.NDArray[np.float64]:
        labels_NC = np.asarray(values, np.float64)
        return np.where(labels_NC >= 0, labels_NC, np.nan)

    def coded(self, labels_NC: Array) -> Array:
        return labels_NC

    def one_hot(self, predicted: npt.ArrayLike) -> Array:
        return np.asarray(np.asarray(predicted, np.float64) > 0.5)

    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        return np.asarray(expit(as_columns(logits_NK) / temperature))

    def probabilities_of(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()

    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        return (probs_BC >= limits_T).long()

    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        return np.asarray(np.asarray(probs_NC) >= np.asarray(limits, np.float64), dtype=np.int64)

    def nearness(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        return distance(probs_NC, limits)

    def disagreement(self, probs_NSC: npt.ArrayLike, predicted: npt.ArrayLike) -> Array:
        """Measure how far members' probabilities of each label lie apart, [N, C]."""
        return spread(probs_NSC)

    def named(self, what: str, values: Array) -> dict[str, list[str]]:
        """Write values as one column of 0 and 1 a class, blank where unknown."""
        columns = np.asarray(values).reshape(-1, len(self.classes)).T
        names = (f"{what}_{name}" for name in self.classes)
        return {n: ["" if v != v or v < 0 else str(int(v)) for v in c] for n, c in zip(names, columns, strict=True)}

    def labels(self, table: pd.DataFrame, what: str) -> Array:
        return as_numbers(table.reindex(columns=[f"{what}_{name}" for name in self.classes]))

    def _refuse_others(self, table: pd.DataFrame) -> None:
        """Leave it to reading: a cell that is no number is a ValueError."""
