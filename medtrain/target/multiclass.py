"""One class of several: an output a class, through a softmax; the most probable class is the prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import softmax

from medtrain.metric import ExclusiveSheet, lead, softmax_temperature, spread
from medtrain.target.base import Words
from medtrain.target.classes import Array, ClassTarget, as_columns, indicators_as_numbers, numbers_as_indicators

if TYPE_CHECKING:
    from torch import Tensor


class Multiclass(ClassTarget):
    """Values are class numbers, int [N]; negative (or NaN): unknown."""

    kind = "multiclass"
    no_threshold = "a multiclass problem, which takes the class of the highest probability"
    exclusive = True
    sheet: ClassVar = ExclusiveSheet
    words: ClassVar = Words(
        reliability="Is the most likely class right as often as its probability says? On the dashed line it is. Bins "
        "of equal size.",
        averages="Metrics are means over classes unless they say micro; accuracy, MCC, kappa, Brier score and "
        "calibration error are of all classes together.",
        thresholds="One class against the rest: what would count as this class from the threshold on. The run's own "
        "decision is the most probable class, which no threshold expresses; the slider starts near 0.5.",
    )

    def indicators(self, values: Array) -> npt.NDArray[np.float64]:
        return numbers_as_indicators(values, len(self.classes))

    def coded(self, labels_NC: Array) -> Array:
        return np.nan_to_num(indicators_as_numbers(labels_NC), nan=-1).astype(np.int64)

    def one_hot(self, predicted: npt.ArrayLike) -> Array:
        return np.asarray(predicted)[:, None] == np.arange(len(self.classes))

    def batch_labels(self, values: Array) -> Array:
        """Shape values as ``y`` of a batch: int64 (B,), negative where unknown."""
        return np.asarray(values, np.int64)

    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        return np.asarray(softmax(as_columns(logits_NK) / temperature, axis=1))

    def probabilities_of(self, logits: Tensor) -> Tensor:
        return logits.softmax(-1)

    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        return probs_BC.argmax(1)

    def disagreement_of(self, probs_BSC: Tensor, decided: Tensor) -> Tensor:
        return probs_BSC.std(1).gather(1, decided[:, None])[:, 0]

    @property
    def thresholded(self) -> tuple[str, ...]:
        return ()

    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        return np.asarray(np.asarray(probs_NC).argmax(axis=1), dtype=np.int64)

    def fit_temperature(self, logits_NK: npt.ArrayLike, values: npt.ArrayLike) -> float:
        return softmax_temperature(as_columns(logits_NK), values)

    def nearness(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        """Compute by how much the most probable class leads the next, negative."""
        return lead(probs_NC)

    def disagreement(self, probs_NSC: npt.ArrayLike, predicted: npt.ArrayLike) -> Array:
        """Measure how far members' probabilities of the predicted class lie apart, [N]."""
        sd_NC = spread(probs_NSC)
        return np.asarray(sd_NC[np.arange(len(sd_NC)), np.asarray(predicted, np.int64)])
