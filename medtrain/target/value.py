"""Quantities: a number, or several, of each case, in the user's unit; standardised within by the training split."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.io.table import RawTable
from medtrain.metric import Agreement, EvalOptions, Measurements, constant_scores, evaluate_values
from medtrain.target.alone import Linear, ridge
from medtrain.target.base import Form, Policy, Target, Words
from medtrain.target.cases import CaseTarget
from medtrain.target.decision import Decision
from medtrain.target.numbers import as_written, numbers_of
from medtrain.target.outcome import Outcome, Predicted
from medtrain.target.reading import Labels, NamedTarget, refuse_keys
from medtrain.target.table import NumberColumns, as_numbers

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

STRATA = 5  # quantiles by which splits are stratified
Z95 = 1.959963984540054
MOST_SPREAD = 10.0  # of a predicted logarithm of a variance in standard units, either way


@dataclass(frozen=True)
class Value(NumberColumns, NamedTarget, CaseTarget):
    """Values are float [N, V] in the user's unit, NaN where unknown; `classes` names the V quantities.

    What a network says is read as [N, V] in the user's unit, or [N, 2 V] with the standard deviations behind, where it
    was trained to say these too.

    Args:
        unit: of the quantities; "" where nobody says.
        value_mean, value_sd: of the training split's, by which the network's outputs are standardised.
        spread: outputs are a mean and the logarithm of a variance of each quantity.
    """

    unit: str = ""
    value_mean: tuple[float, ...] = ()
    value_sd: tuple[float, ...] = ()
    spread: bool = False

    kind = "value"
    no_threshold = "data.target=value"
    learns = frozenset({"value_mean", "value_sd"})
    forms: ClassVar[frozenset[Form]] = frozenset({"values"})
    usual_loss = "mse"
    pools = ("mean",)
    monitors: ClassVar[Mapping[str, str]] = {
        "val_mae": "min",
        "val_rmse": "min",
        "val_r2": "max",
        "val_concordance": "max",
        "val_loss": "min",
    }

    words: ClassVar[Words] = Words(
        decided="Predictions are what the networks say, in the unit of the data; nothing is decided."
    )

    # what is learned of the data and the loss

    def learned(self, values: Array) -> Self:
        """Take over mean and standard deviation; DataError where a quantity doesn't vary in the training split."""
        known = np.asarray(values, np.float64).reshape(-1, len(self.classes))
        count_V = np.isfinite(known).sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean_V = np.nansum(known, axis=0) / count_V
            sd_V = np.sqrt(np.nansum((known - mean_V) ** 2, axis=0) / count_V)
        for name, n, mean, sd in zip(self.classes, count_V.tolist(), mean_V, sd_V, strict=True):
            if n < 2 or not sd > 1e-12 * abs(mean):
                what = f"{n} value{'s' * (n != 1)}" if n < 2 else f"nothing but {mean:g}"
                raise DataError(f"the training split has {what} of {name!r}: nothing to learn")
        return replace(self, value_mean=tuple(mean_V.tolist()), value_sd=tuple(sd_V.tolist()))

    def fitted_to(self, loss: str) -> Self:
        return replace(self, spread=loss == "gaussian")

    @property
    def n_outputs(self) -> int:
        return len(self.classes) * (1 + self.spread)

    @property
    def thresholded(self) -> tuple[str, ...]:
        return ()

    @property
    def pooling(self) -> dict[str, bool]:
        return {"plain": True}

    def indicators(self, values: Array) -> npt.NDArray[np.float64]:
        """Tell which quantities of a case are known: 1, else NaN, a column each."""
        known = np.isfinite(np.asarray(values, np.float64).reshape(-1, len(self.classes)))
        return np.where(known, 1.0, np.nan)

    def strata(self, values: Array) -> npt.NDArray[np.float64]:
        """Tell of each case in which fifth of these values it is, a column each: splits are stratified by them."""
        columns = []
        for column in np.asarray(values, np.float64).reshape(-1, len(self.classes)).T:
            known = np.isfinite(column)
            edges = np.quantile(column[known], np.arange(1, STRATA) / STRATA) if known.any() else np.zeros(STRATA - 1)
            fifth = np.searchsorted(edges, column, side="right")
            columns.append(np.where(known[:, None], fifth[:, None] == np.arange(STRATA), np.nan))
        return np.concatenate(columns, axis=1)

    def batch_labels(self, values: Array) -> Array:
        """Shape values as ``y`` of a batch: float32 (B, V) in the user's unit, NaN where unknown."""
        return np.asarray(values, np.float32).reshape(-1, len(self.classes))

    def from_batch(self, y: Array) -> Array:
        """Code ``y`` as values."""
        return as_written(y)

    def cannot_choose(self, values: Array, monitors: Collection[str]) -> tuple[str, str] | None:
        if fault := self.unknown_monitor(monitors):
            return fault
        if np.isfinite(values).any():
            return None
        return f"validation ({len(values)} cases) has no known value to choose a checkpoint by", "give it more cases"

    # readings

    def table_alone(self, x_NF: Array, values: Array) -> tuple[CaseTarget, Linear] | None:
        scaled_NV = (np.asarray(values, np.float64) - np.array(self.value_mean)) / np.array(self.value_sd)
        return self.fitted_to("mse"), ridge(x_NF, scaled_NV)

    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        """Read outputs in the user's unit: [N, V], or [N, 2 V] with standard deviations behind."""
        outputs = np.asarray(logits_NK, np.float64).reshape(-1, self.n_outputs)
        v, sd = len(self.classes), np.array(self.value_sd)
        whole = outputs[:, :v] * sd + np.array(self.value_mean)
        if not self.spread:
            return np.asarray(whole)
        own = np.exp(np.clip(outputs[:, v:], -MOST_SPREAD, MOST_SPREAD) / 2) * sd
        return np.concatenate([whole, own], axis=1)

    def probabilities_of(self, logits: Tensor) -> Tensor:
        v = len(self.classes)
        scale, shift = logits.new_tensor(self.value_sd), logits.new_tensor(self.value_mean)
        if not self.spread:
            return logits * scale + shift
        both = logits.new_zeros(*logits.shape)
        both[..., :v] = logits[..., :v] * scale + shift
        both[..., v:] = (logits[..., v:].clamp(-MOST_SPREAD, MOST_SPREAD) / 2).exp() * scale
        return both

    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        return probs_BC[..., : len(self.classes)]

    def together_of(self, probs_BSC: Tensor) -> Tensor:
        mean, v = probs_BSC.mean(1), len(self.classes)
        if not self.spread or probs_BSC.shape[1] == 1:
            return mean
        both = mean.new_zeros(*mean.shape)
        between = ((probs_BSC[..., :v] - mean[:, None, :v]) ** 2).mean(1)
        both[..., :v] = mean[..., :v]
        both[..., v:] = ((probs_BSC[..., v:] ** 2).mean(1) + between).sqrt()
        return both

    def outputs_for(self, numbers: Tensor) -> Tensor:
        return numbers + int(self.n_outputs == 1)  # a single output stands for two sides, the second is its own

    def disagreement_of(self, probs_BSC: Tensor, decided: Tensor) -> Tensor:
        return probs_BSC[..., : len(self.classes)].std(1)

    # decision: there is none, the prediction is what is read

    def predict(self, probs_NC: npt.ArrayLike, decision: Decision) -> Array:
        return self.decide(probs_NC)

    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        return np.asarray(probs_NC, np.float64)[:, : len(self.classes)]

    def fit_thresholds(self, *_: Any, **__: Any) -> dict[str, float]:
        return {}

    def fit_decision(
        self,
        logits_NK: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> Decision:
        """Fit nothing: a quantity is read as the network says it."""
        self.check_policy(policy)
        return Decision(policy, basis="nothing: a quantity needs no decision", no_sets="a quantity has none")

    def disagreement(self, probs_NSC: npt.ArrayLike, predicted: npt.ArrayLike) -> Array:
        """Measure how far members' predictions lie apart, their standard deviation in the user's unit, [N, V]."""
        return np.asarray(np.asarray(probs_NSC)[..., : len(self.classes)].std(axis=1, ddof=1))

    def predictions(
        self, rows: pd.DataFrame, probs_NSC: Array, predicted: Array, limits: npt.ArrayLike, values: Array | None
    ) -> Predicted:
        """Put predictions together; standard deviations of members make one with the spread between them."""
        v = len(self.classes)
        probs, doubt, by = probs_NSC.mean(axis=1), np.zeros((len(rows), v)), "confidence"
        if probs_NSC.shape[1] > 1:
            doubt, by = self.disagreement(probs_NSC, predicted), "ensemble"
        if self.spread:
            within, between = (probs_NSC[..., v:] ** 2).mean(axis=1), probs_NSC[..., :v].var(axis=1)
            probs = np.concatenate([probs[:, :v], np.sqrt(within + between)], axis=1)
            doubt = probs[:, v:] if by == "confidence" else doubt
        return Predicted(rows, probs, predicted, values, doubt, by, limits=np.asarray(limits, np.float64))

    # judgement

    def measurements(self, predicted: Predicted) -> Measurements:
        """Give predictions of cases whose truth is known as the metric room takes them."""
        assert predicted.values is not None
        v, probs = len(self.classes), np.asarray(predicted.probs, np.float64)
        truth = np.asarray(predicted.values, np.float64).reshape(-1, v)
        own = probs[:, v:] if probs.shape[1] > v else None
        return Measurements(probs[:, :v], truth, self.classes, predicted.rows["patient"].tolist(), own)

    def score(self, probs_NC: Array, values: Array) -> dict[str, float]:
        """Compute quick metrics; of several quantities their means, errors in standard deviations of the training."""
        v = len(self.classes)
        cases = Measurements(np.asarray(probs_NC, np.float64)[:, :v], values, self.classes)
        own = Agreement(cases, EvalOptions(0)).values
        out = {}
        for metric in ("mae", "rmse", "r2", "concordance"):
            by_unit = np.array(self.value_sd) if v > 1 and metric in ("mae", "rmse") else np.ones(v)
            out[metric] = float(np.mean([own[name, metric] for name in self.classes] / by_unit))
        return out

    def judge(self, predicted: Predicted, decision: Decision, options: EvalOptions) -> Outcome:
        rows, cases = predicted.rows, self.measurements(predicted)
        metrics = evaluate_values(cases, options)
        facts = {"n_cases": len(rows), "n_patients": int(rows["patient"].nunique()), "unit": self.unit}
        known = dict(zip(self.classes, np.isfinite(cases.target_NV).sum(axis=0).tolist(), strict=True))
        return Outcome(
            facts | {"known": known} | metrics | {"abstention": None, "patients": None},
            {"test_predictions.csv": self.table(predicted)},
            constant_scores(
                {f"the prediction of {n!r}": c for n, c in zip(self.classes, cases.predicted_NV.T, strict=True)}
            ),
        )

    def plain_metrics(self, predicted: Predicted) -> dict[str, float | None]:
        results = Agreement(self.measurements(predicted), EvalOptions(0)).results()["metrics"]
        return {name: entry["value"] for name, entry in results.items()}

    def events(self, values: Array) -> dict[str, int]:
        known = np.isfinite(np.asarray(values, np.float64).reshape(-1, len(self.classes)))
        return dict(zip(self.classes, known.sum(axis=0).tolist(), strict=True))

    # table

    def _columns(self, what: str) -> list[str]:
        return [what] if len(self.classes) == 1 else [f"{what}_{name}" for name in self.classes]

    def table(self, predicted: Predicted) -> pd.DataFrame:
        """Make the table: ``lower`` and ``upper`` end the predicted 95 % interval; all in the user's unit."""
        rows, v = predicted.rows, len(self.classes)
        table: dict[str, Any] = {"case": rows["case"].to_numpy(), "patient": rows["patient"].tolist()}
        if predicted.values is not None:
            table |= self.named("target", predicted.values)
        values_NV = predicted.probs[:, :v]
        table |= dict(zip(self._columns("prediction"), values_NV.T, strict=True))
        if predicted.probs.shape[1] > v:
            half_NV = Z95 * predicted.probs[:, v:]
            table |= dict(zip(self._columns("lower"), (values_NV - half_NV).T, strict=True))
            table |= dict(zip(self._columns("upper"), (values_NV + half_NV).T, strict=True))
        if predicted.by != "confidence":
            table |= dict(zip(self._columns("uncertainty"), predicted.doubt.T, strict=True))
        return pd.DataFrame(table)

    def named(self, what: str, values: Array) -> dict[str, Any]:
        columns = np.asarray(values, np.float64).reshape(-1, len(self.classes)).T
        return dict(zip(self._columns(what), columns, strict=True))

    def labels(self, table: pd.DataFrame, what: str) -> Array:
        return as_numbers(table.reindex(columns=self._columns(what)))

    def probs(self, table: pd.DataFrame) -> Array:
        """Read predictions [N, V], or [N, 2 V] with the standard deviations of their intervals."""
        whole = as_numbers(table[self._columns("prediction")])
        if self._columns("upper")[0] not in table:
            return whole
        return np.concatenate([whole, (as_numbers(table[self._columns("upper")]) - whole) / Z95], axis=1)

    # labels

    @classmethod
    def read(cls, raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any], model: Target | None) -> Labels:
        """Read numbers, a column a quantity."""
        refuse_keys(cfg, model, "a quantity (data.target=value)", "classes", "positive")
        named = columns["label"] if isinstance(columns["label"], list) else [columns["label"]]
        if model is not None and len(model.classes) != len(named):
            raise UsageError(f"data.columns.label={named}: the model predicts {', '.join(model.classes)}")
        bad: dict[int, Problem] = {}
        notices: list[Problem] = []
        read = [numbers_of(raw, name, bad, notices) for name in named]
        values = np.stack(read, axis=1)
        for n in np.flatnonzero(np.isnan(values).all(axis=1)).tolist():
            bad.setdefault(n, Problem("missing_label", raw.where(int(raw.text.index[n])), "the value is blank"))
        values[list(bad)] = 0.0
        target = model if model is not None else cls(tuple(named), str(cfg.get("unit_name") or ""))
        return Labels(target, values, sorted(bad.items()), notices=notices)
