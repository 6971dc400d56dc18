"""What the report must know of what a run predicts: the one place of it where kinds of labels have names."""

from __future__ import annotations

from dataclasses import dataclass

from medtrain.core.errors import MedtrainError
from medtrain.report.folder import RunFolder

EACH_ALONE = "What another threshold would have done to these cases. The slider starts at the run's own decision."


@dataclass(frozen=True)
class Predicted:
    """A kind of labels.

    Args:
        forms: in which predictions are given.
        one_positive: there are two classes, and the last is what is looked for.
        exclusive: a case has exactly one class.
        reliability: what the reliability diagram asks.
        averages: what the metrics are means over, if they are.
        thresholds: what the explorer's slider means.
    """

    forms: frozenset[str] = frozenset({"labels", "probabilities"})
    one_positive: bool = False
    exclusive: bool = False
    reliability: str = ""
    averages: str = ""
    thresholds: str = EACH_ALONE

    @property
    def most_probable(self) -> bool:
        """The decision is the most probable of many classes."""
        return self.exclusive and not self.one_positive


KINDS = {
    "binary": Predicted(
        one_positive=True,
        exclusive=True,
        reliability="Does a predicted probability of the positive class come true as often as it says? On the dashed "
        "line it does. Bins of equal size.",
    ),
    "multiclass": Predicted(
        exclusive=True,
        reliability="Is the most likely class right as often as its probability says? On the dashed line it is. Bins "
        "of equal size.",
        averages="Metrics are means over classes unless they say micro; accuracy, MCC, kappa, Brier score and "
        "calibration error are of all classes together.",
        thresholds="One class against the rest: what would count as this class from the threshold on. The run's own "
        "decision is the most probable class, which no threshold expresses; the slider starts near 0.5.",
    ),
    "multilabel": Predicted(
        reliability="Do predicted probabilities come true as often as they say? On the dashed line they do. Bins of "
        "equal size.",
        averages="Metrics are means over labels unless they say micro.",
    ),
    "boxes": Predicted(frozenset({"boxes"})),
}


def predicted(run: RunFolder) -> Predicted:
    """Look up what a run predicts.

    Raises:
        MedtrainError: this version doesn't know it.
    """
    if run.kind not in KINDS:
        raise MedtrainError(
            f"{run.path / 'run.json'}: spec.label_kind={run.kind} is unknown; there are {', '.join(KINDS)}"
        )
    return KINDS[run.kind]


def forms_of(run: RunFolder) -> frozenset[str]:
    """Name the forms that a run's predictions have: labels, probabilities, boxes."""
    return predicted(run).forms


def positive_class(run: RunFolder) -> str | None:
    """Name the class that is looked for, where there is a single one; None of many classes."""
    return run.classes[-1] if predicted(run).one_positive and run.classes else None
