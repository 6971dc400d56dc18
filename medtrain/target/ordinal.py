"""One grade of several in order: cumulative outputs (CORAL, CORN) or a softmax; the median grade is the prediction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from scipy.special import expit

from medtrain.core.errors import Problem, UsageError
from medtrain.io.cells import is_unknown, names
from medtrain.io.table import RawTable
from medtrain.metric import OrderedSheet, sigmoid_temperature
from medtrain.target.base import Form, Target, Words
from medtrain.target.classes import Array, as_columns
from medtrain.target.labels import from_names, named_classes
from medtrain.target.multiclass import Multiclass
from medtrain.target.order import as_items
from medtrain.target.quantity import MOST_VALUES
from medtrain.target.reading import Labels, NamedTarget
from medtrain.target.spelling import one_way

if TYPE_CHECKING:
    from torch import Tensor

SOFTMAX = "softmax"
CUMULATIVE = ("coral", "corn")  # losses whose outputs are of "more than this grade"


@dataclass(frozen=True)
class Ordinal(NamedTarget, Multiclass):
    """Values are the numbers of grades, int [N], the least is 0; negative: unknown.

    Args:
        head: how outputs become probabilities. softmax: an output a grade. coral: sigmoids of K - 1 outputs are the
            probabilities of more than each grade but the last (Cao, Mirjalili and Raschka, Pattern Recognition Letters
            2020). corn: of more than a grade where it is more than the one before (Shi, Cao and Raschka, Pattern
            Analysis and Applications 2023).
    """

    head: str = SOFTMAX

    kind = "ordinal"
    no_threshold = "data.target=ordinal, which takes the median grade"
    forms: ClassVar[frozenset[Form]] = frozenset({"labels", "probabilities", "grades"})
    sheet: ClassVar = OrderedSheet
    monitors: ClassVar[Mapping[str, str]] = {
        "val_kappa_quadratic": "max",
        "val_mae": "min",
        "val_auroc": "max",
        "val_loss": "min",
    }
    words: ClassVar[Words] = replace(
        Multiclass.words,
        reliability="Is the decided grade right as often as its probability says? On the dashed line it is. Bins of "
        "equal size.",
        decided="The predicted grade is the median one: the truth is at most it with a probability of a half or more.",
        thresholds="One grade against the rest: what would count as this grade from the threshold on. The run's own "
        "decision is the median grade, which no threshold expresses; the slider starts near 0.5.",
    )

    @property
    def n_outputs(self) -> int:
        return len(self.classes) - (self.head != SOFTMAX)

    def fitted_to(self, loss: str) -> Self:
        return replace(self, head=loss if loss in CUMULATIVE else SOFTMAX)

    @property
    def tied(self) -> bool:
        return self.head == "coral"

    # outputs

    @property
    def pooling(self) -> dict[str, bool]:
        return {"exclusive": self.head == SOFTMAX}

    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        if self.head == SOFTMAX:
            return super().probabilities(logits_NK, temperature)
        more_NK = expit(as_columns(logits_NK) / temperature)
        more_NK = np.cumprod(more_NK, axis=1) if self.head == "corn" else np.minimum.accumulate(more_NK, axis=1)
        ends = np.ones((len(more_NK), 1))
        return np.asarray(-np.diff(np.concatenate([ends, more_NK, 0 * ends], axis=1), axis=1))

    def probabilities_of(self, logits: Tensor) -> Tensor:
        if self.head == SOFTMAX:
            return super().probabilities_of(logits)
        more, k = logits.sigmoid(), self.n_outputs
        if self.head == "corn":
            more = (-(-logits).exp().log1p()).cumsum(-1).exp()
        else:
            later_KK = logits.new_tensor(np.triu(np.ones((k, k)), 1) * 2)
            more = (more[..., None, :] + later_KK).amin(-1)
        steps_KC = logits.new_tensor(np.eye(k, k + 1, 1) - np.eye(k, k + 1))
        return more @ steps_KC + logits.new_tensor(np.eye(1, k + 1)[0])

    def outputs_for(self, numbers: Tensor) -> Tensor:
        """Number the output of "more than the grade before", of the least grade that of "more than it"."""
        return numbers if self.head == SOFTMAX or self.n_outputs == 1 else (numbers - 1).clamp(min=0)

    def likely(self, logits: Tensor) -> Tensor:
        return self.probabilities_of(logits).argmax(1)

    # decision

    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        """Decide for the median grade: the least one that the truth is at most with a probability of a half or more."""
        below_NK = np.cumsum(np.asarray(probs_NC, np.float64), axis=1)[:, :-1]
        return np.asarray((below_NK < 0.5).sum(axis=1), dtype=np.int64)

    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        return (probs_BC.cumsum(1)[:, :-1] < 0.5).sum(1)

    def fit_temperature(self, logits_NK: npt.ArrayLike, values: npt.ArrayLike) -> float:
        if self.head == SOFTMAX:
            return super().fit_temperature(logits_NK, values)
        grade_N1 = np.asarray(values, np.float64)[:, None]
        step_K = np.arange(self.n_outputs)
        more_NK = np.where(grade_N1 >= 0, (grade_N1 > step_K).astype(float), np.nan)
        if self.head == "corn":
            more_NK[grade_N1 < step_K] = np.nan  # only what is at least this grade can be more
        return sigmoid_temperature(as_columns(logits_NK), more_NK)

    # judgement

    def score(self, probs_NC: Array, values: Array) -> dict[str, float]:
        whole, _ = self.sheet(probs_NC, *self._sides(probs_NC, values), self.classes).values()
        names = ("kappa_quadratic", "mae_grades")
        return super().score(probs_NC, values) | {name.removesuffix("_grades"): whole[None, name] for name in names}

    def _sides(self, probs_NC: Array, values: Array) -> tuple[Array, Array]:
        return self.indicators(values), self.one_hot(self.decide(probs_NC))

    # labels

    @classmethod
    def read(cls, raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any], model: Target | None) -> Labels:
        """Read grades: numbers order themselves, names are ordered by data.classes."""
        column = columns["label"]
        if not isinstance(column, str):
            raise UsageError(
                f"data.columns.label={list(column)}: data.target=ordinal takes one column; several targets at once are "
                "a later step"
            )
        if cfg.get("positive") is not None:
            raise UsageError(f"data.positive={cfg['positive']}: grades have none; leave it out")
        named = named_classes(cfg.get("classes")) if model is None else model.classes
        texts = names(raw.column(column))
        codes = np.unique(np.array(texts, dtype=object), return_inverse=True)
        cells, notices = one_way(
            [[text] if text else [] for text in codes[0]],
            codes[1],
            column,
            named,
            bool(cfg.get("merge_case")),
        )
        texts = [cells[code][0] if cells[code] else "" for code in codes[1]]
        grades = named or _ordered({text for text in texts if not is_unknown(text)}, column, raw.file.name)
        labels = from_names(raw, texts, grades, None, model if model is not None else cls(grades))
        values = np.asarray(labels.values, np.int64)
        gaps = [] if named else _gaps(grades, raw.file.name)
        target = model if model is not None else cls(grades)
        return replace(labels, target=target, values=values, notices=[*notices, *gaps])


def _ordered(texts: set[str], column: str, file: str) -> tuple[str, ...]:
    """Put numbers in order.

    Raises:
        UsageError: some are none, or there are too many or too few for grades.
    """
    numbers: dict[str, float] = {}
    for text in texts:
        try:
            numbers[text] = float(text)
        except ValueError:
            shown = as_items(sorted(texts)[:8]) + ",..." * (len(texts) > 8)
            raise UsageError(
                f"{file}: the grades in {column!r} are names, such as {text!r}, whose order nobody can tell\n"
                f"say it with data.classes=[{shown}], from the least to the greatest"
            ) from None
    if len(numbers) > MOST_VALUES:
        raise UsageError(
            f"{file}: {column!r} has {len(numbers):,} different numbers, more than {MOST_VALUES}: too many for grades; "
            "data.target=value predicts a number, data.classes=[...] lists grades"
        )
    if len(numbers) < 2:
        raise UsageError(f"{file}: {column!r} has {len(numbers)} grade, and there is nothing to tell apart")
    return tuple(sorted(numbers, key=numbers.__getitem__))


def _gaps(grades: tuple[str, ...], file: str) -> list[Problem]:
    """Tell of whole numbers between the grades that no case has."""
    numbers = [float(grade) for grade in grades]
    if not all(number.is_integer() for number in numbers):
        return []
    every = range(int(numbers[0]), int(numbers[-1]) + 1)
    absent = [str(number) for number in every if number not in numbers]
    if not absent or len(every) > MOST_VALUES:
        return []
    detail = (
        f"no case has the grade {', '.join(absent)}: the grades on either side count as neighbours; "
        f"data.classes=[{','.join(map(str, every))}] keeps a place for it"
    )
    return [Problem("missing_grade", file, detail, "warning")]
