"""CaseTarget: one prediction a case by a network's outputs; what classes, grades and quantities have in common.

What a network says of a case is *read* from its outputs by the target: probabilities of classes, or numbers in the
user's unit. Tasks keep these readings apart by member or pass, average them, and hand them to the target to be decided,
judged and written.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy.typing as npt
import pandas as pd

from medtrain.metric import EvalOptions
from medtrain.target.alone import Linear
from medtrain.target.base import Policy, Target
from medtrain.target.decision import Decision
from medtrain.target.outcome import Outcome, Predicted
from medtrain.target.table import PredictionColumns

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]


class CaseTarget(PredictionColumns, Target):
    """One prediction of each case.

    Attributes:
        pools: how predictions of a case's instances may become the case's.
        usual_loss: the option of `loss` that is taken where a person names none.
        monitors: what is logged of validation, and which way is better: min or max; the first chooses as a rule.
    """

    pools: ClassVar[tuple[str, ...]] = ("mean", "max", "noisy_or")
    usual_loss: ClassVar[str] = "cross_entropy"
    monitors: ClassVar[Mapping[str, str]] = {"val_auroc": "max", "val_loss": "min"}

    def unknown_monitor(self, monitors: Collection[str]) -> tuple[str, str] | None:
        """Tell which of `monitors` validation does not give, and what to do; as `cannot_choose`."""
        unknown = sorted({name for name in monitors if name} - set(self.monitors))
        if not unknown:
            return None
        return (
            f"{unknown[0]} is none of what validation gives for data.target={self.kind}: {', '.join(self.monitors)}",
            f"set task.monitor={next(iter(self.monitors))}",
        )

    # what the network gives

    @abstractmethod
    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        """Read outputs, divided by the temperature where the kind has one: float64, one column a class or number."""

    @property
    def pooling(self) -> dict[str, bool]:
        """Say how outputs of instances are pooled, as arguments of `medtrain.core.pool.pool_cases`."""
        return {"exclusive": self.exclusive}

    @abstractmethod
    def probabilities_of(self, logits: Tensor) -> Tensor:
        """Read outputs (..., K) that have their temperature, as operators of an exported graph."""

    @abstractmethod
    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        """Decide cases as `predict` does: class numbers int64 (B,), or a column each (B, C)."""

    def together_of(self, probs_BSC: Tensor) -> Tensor:
        """Put what S networks say of each case together (B, C), as operators of an exported graph."""
        return probs_BSC.mean(1)

    def likely(self, logits: Tensor) -> Tensor:
        """Number what maps are for where nobody says: the most probable class of each case, or the first number."""
        return logits[:, 0].long() * 0

    def outputs_for(self, numbers: Tensor) -> Tensor:
        """Number the outputs that maps are made for, given the numbers of classes or quantities."""
        return numbers

    @abstractmethod
    def disagreement_of(self, probs_BSC: Tensor, decided: Tensor) -> Tensor:
        """Measure how much S predictions a case differ, as `disagreement` does."""

    def table_alone(self, x_NF: Array, values: Array) -> tuple[CaseTarget, Linear] | None:
        """Fit what columns of a table tell without any image; None where there is no such model of this kind yet.

        Args:
            x_NF: of the training cases, as `medtrain.core.covariates.encoded` gives them.

        Returns:
            What reads its outputs, and the model that gives them.
        """
        return None

    # decision

    @abstractmethod
    def predict(self, probs_NC: npt.ArrayLike, decision: Decision) -> Array:
        """Decide cases, coded as values."""

    @abstractmethod
    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        """Decide cases by these thresholds, coded as values."""

    @abstractmethod
    def fit_thresholds(
        self,
        probs_NC: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> dict[str, float]:
        """Fit the thresholds of a decision on validation data; {} where nothing is decided by one."""

    def fit_sets(
        self, probs_NC: Array, values: Array, patients: Sequence[Any] | None
    ) -> tuple[dict[str, float], dict[str, float]]:
        """Fit the limits of prediction sets: `Decision.sets` and `Decision.absent`; {} where there are no sets."""
        return {}, {}

    @abstractmethod
    def fit_decision(
        self,
        logits_NK: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> Decision:
        """Fit a decision on validation data.

        Raises:
            UsageError: a policy that doesn't exist or doesn't apply.
        """

    def completed(self, decision: Decision, logits_NK: Array, values: Array) -> Decision:
        """Complete a decision by outputs of the training split, where the kind `looks_back`."""
        return decision

    @abstractmethod
    def disagreement(self, probs_NSC: npt.ArrayLike, predicted: npt.ArrayLike) -> Array:
        """Measure how much S predictions a case differ (their standard deviation), [N] or [N, C]."""

    @abstractmethod
    def predictions(
        self, rows: pd.DataFrame, probs_NSC: Array, predicted: Array, limits: npt.ArrayLike, values: Array | None
    ) -> Predicted:
        """Put predictions of cases by S networks together, with how unsure they are."""

    # judgement

    @abstractmethod
    def score(self, probs_NC: Array, values: Array) -> dict[str, float]:
        """Compute quick metrics for each validation epoch, logged as ``val_NAME``; NaN where undefined."""

    @abstractmethod
    def judge(self, predicted: Predicted, decision: Decision, options: EvalOptions) -> Outcome:
        """Judge predictions: metrics with intervals, and the table of predictions."""

    @abstractmethod
    def plain_metrics(self, predicted: Predicted) -> dict[str, float | None]:
        """Compute the metrics of the whole without intervals."""

    @abstractmethod
    def events(self, values: Array) -> dict[str, int]:
        """Count what there is to learn from or judge by in these cases, a number a name."""

    def within_folds(self, folds: Sequence[Predicted], pooled: Predicted, options: EvalOptions) -> dict[str, Any]:
        """Compare cases within their fold alone, where a metric ranks them: {} for none.

        Args:
            folds: the cases of every fold, of all repeats.
            pooled: all cases once.

        Returns:
            ``metrics`` and ``per_class`` with entries that come first, and ``facts`` of the cross-validation.
        """
        return {}
