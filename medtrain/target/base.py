"""Target: what is predicted of a case, and all that follows from it.

Whoever needs to know how labels are written, how many outputs a network has, how a prediction is decided, judged or
shown asks the target of the data. Nobody else compares kinds by name, so a new kind is one file in this room.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import UsageError
from medtrain.metric.policy import PROBABILITIES, Grammar
from medtrain.target.counts import LabelCounts

Form = Literal["labels", "probabilities", "grades", "values", "times", "boxes", "masks"]
"""The forms that predictions come in; metrics, report sections and commands say which of them they take."""

Policy = str | float
"""What `eval.threshold` asks for: a number, or how a threshold is chosen on validation data."""


@dataclass(frozen=True)
class Words:
    """Sentences of a report that depend on the kind.

    Args:
        reliability: what the reliability diagram asks.
        averages: what the metrics are means over, if they are.
        decided: how cases are decided where no threshold does.
        thresholds: what another threshold would mean.
    """

    reliability: str = ""
    averages: str = ""
    decided: str = "The predicted class is the one of the highest probability."
    thresholds: str = (
        "What another threshold would have done to these cases. The slider starts at the run's own decision."
    )


@dataclass(frozen=True)
class Target(ABC):
    """What is predicted of each case.

    Args:
        classes: names in order; of a binary problem the last is the positive one.

    Attributes:
        kind: the name of the kind, as run.json and checkpoints have it; the file of this room is named so too.
        forms: the forms in which predictions of this kind come.
        exclusive: a case has exactly one of the classes, so that outputs go through a softmax.
        several: a case may have any number of the classes, none too.
        grammar: of `eval.threshold`.
        no_threshold: what is decided without a threshold, and how, in words; "" where thresholds decide.
        words: of reports.
        lacks: verbs that there are not yet of this kind.
        learns: the fields that each training split settles for itself, by `learned`.
    """

    classes: tuple[str, ...]

    kind: ClassVar[str]
    forms: ClassVar[frozenset[Form]]
    exclusive: ClassVar[bool] = False
    several: ClassVar[bool] = False
    grammar: ClassVar[Grammar] = PROBABILITIES
    no_threshold: ClassVar[str] = ""
    words: ClassVar[Words] = Words()
    lacks: ClassVar[frozenset[str]] = frozenset()
    learns: ClassVar[frozenset[str]] = frozenset()

    @property
    @abstractmethod
    def n_outputs(self) -> int:
        """Count the numbers that a network gives for a case: the width of its head."""

    def learned(self, values: NDArray[Any]) -> Self:
        """Take over what the training split's values tell, such as their mean."""
        return self

    def fitted_to(self, loss: str) -> Self:
        """Take over how a loss, by its name, wants the outputs to be read."""
        return self

    def evaluated_by(self, evaluation: Mapping[str, Any]) -> Self:
        """Take over what the eval node says of what is read from the outputs; UsageError where that can't be."""
        return self

    def decided_by(self, decision: Any) -> Self:
        """Take over what a `Decision` says of how outputs are read, beyond their temperature."""
        return self

    @property
    def choices(self) -> str:
        """Say what was chosen of the data and can be chosen otherwise, in a line; "" for nothing."""
        return ""

    def approximation(self, batch: int, cases: int) -> str:
        """Say what of the loss is an approximation with so many cases a batch, in a line; "" where nothing is.

        Args:
            cases: of the training split.
        """
        return ""

    @property
    def looks_back(self) -> bool:
        """Tell whether a decision needs what the trained network says of the cases that it has learned."""
        return False

    @property
    def tied(self) -> bool:
        """Tell whether the outputs share the weights of the last layer, and differ by a bias each."""
        return False

    @property
    def positive(self) -> str | None:
        """Name the one class that is looked for; None where there are several, or none stands out."""
        return None

    @property
    def based(self) -> bool:
        """Tell whether its predictions are made with a decision's baseline."""
        return False

    @property
    def thresholded(self) -> tuple[str, ...]:
        """Name the classes that are decided by a threshold each."""
        return self.classes

    @abstractmethod
    def indicators(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Turn targets into labels_NC: 1 where a case has the class, 0 where it has not, NaN where that is unknown.

        Splits are stratified by them, and samplers and losses count them.
        """

    def strata(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Give (N, S) indicators by which splits are stratified; those of the classes, as a rule."""
        return self.indicators(values)

    def count(self, values: NDArray[Any]) -> LabelCounts:
        """Count the labels of a split."""
        return LabelCounts.of(self.indicators(values))

    def batch_labels(self, values: NDArray[Any]) -> NDArray[Any]:
        """Shape values as ``y`` of a batch, which losses take: float32, a row a case, NaN where unknown."""
        return np.asarray(values, np.float32)

    def from_batch(self, y: NDArray[Any]) -> NDArray[Any]:
        """Code ``y`` of batches as values."""
        return y

    @abstractmethod
    def cannot_choose(self, values: NDArray[Any], monitors: Collection[str]) -> tuple[str, str] | None:
        """Tell why validation cases with these values can't choose a checkpoint by `monitors`, and what to do."""

    def check_verb(self, verb: str) -> None:
        """Refuse a verb that there is not of this kind (UsageError)."""
        if verb in self.lacks:
            raise UsageError(f"{verb}: there is none of data.target={self.kind} yet; predict and test take such runs")

    def check_policy(self, policy: Policy) -> None:
        """Refuse a policy of `eval.threshold` that has no meaning for this kind (UsageError): all but 0.5, where no
        threshold decides."""
        if self.grammar.parse(policy)[:2] != ("fixed", 0.5) and self.no_threshold:
            raise UsageError(
                f"eval.threshold={policy} has no meaning for {self.no_threshold}: leave it at 0.5. (Of binary and "
                f"multilabel problems it is {self.grammar.allowed}.)"
            )

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON and `weights_only` checkpoints take them."""
        return {"label_kind": self.kind} | {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """Read what `to_dict` gave; keys that belong to something else are passed over."""
        known = {field.name for field in fields(cls)} & plain.keys()
        return cls(**{k: tuple(plain[k]) if isinstance(plain[k], list) else plain[k] for k in known})
