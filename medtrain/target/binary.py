"""Two classes, of which the last is looked for: one output, the log-odds of that class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from medtrain.metric import PositiveSheet, distance, spread
from medtrain.target.base import Words
from medtrain.target.classes import Array, ClassTarget, as_columns, indicators_as_numbers, numbers_as_indicators

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Binary(ClassTarget):
    """Values are float [N] of 0 and 1; NaN or negative: unknown."""

    kind = "binary"
    sheet: ClassVar = PositiveSheet
    words: ClassVar = Words(
        reliability="Does a predicted probability of the positive class come true as often as it says? On the dashed "
        "line it does. Bins of equal size.",
    )

    def __post_init__(self) -> None:
        if len(self.classes) != 2:
            raise ValueError(f"a binary problem has two classes, not {list(self.classes)}")

    @property
    def n_outputs(self) -> int:
        return 1

    @property
    def positive(self) -> str:
        return self.classes[-1]

    def indicators(self, values: Array) -> npt.NDArray[np.float64]:
        return numbers_as_indicators(values, 2)

    def coded(self, labels_NC: Array) -> Array:
        return indicators_as_numbers(labels_NC)

    def one_hot(self, predicted: npt.ArrayLike) -> Array:
        return np.asarray(predicted)[:, None] == np.arange(2)

    def batch_labels(self, values: Array) -> Array:
        return np.asarray(values, np.float32)[:, None]

    def from_batch(self, y: Array) -> Array:
        return y[:, 0]

    def likely(self, logits: Tensor) -> Tensor:
        return (logits[:, 0] > 0).long()

    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        logits = as_columns(logits_NK) / temperature
        return np.concatenate([expit(-logits), expit(logits)], axis=1)

    def probabilities_of(self, logits: Tensor) -> Tensor:
        return (logits * logits.new_tensor([-1.0, 1.0])).sigmoid()

    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        return (probs_BC[:, -1] >= limits_T[0]).long()

    def disagreement_of(self, probs_BSC: Tensor, decided: Tensor) -> Tensor:
        return probs_BSC[..., -1].std(1)

    @property
    def thresholded(self) -> tuple[str, ...]:
        return self.classes[-1:]

    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        return np.asarray((np.asarray(probs_NC)[:, -1:] >= np.asarray(limits, np.float64))[:, 0], dtype=np.int64)

    def nearness(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        return np.asarray(distance(np.asarray(probs_NC)[:, -1:], limits)[:, 0])

    def disagreement(self, probs_NSC: npt.ArrayLike, predicted: npt.ArrayLike) -> Array:
        """Measure how far members' probabilities of the positive class lie apart, [N]."""
        return np.asarray(spread(probs_NSC)[:, -1])
