"""Time to an event, of which some cases are only known to have come so far without it: a risk, and chances of survival.

Two heads, by the loss: ``cox`` gives a log hazard ratio, of which a baseline hazard, fitted with the decision, makes
chances of survival; ``hazards`` gives log-odds of the event in intervals of time, which are chances themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.special import expit, logit

from medtrain.core.errors import UsageError
from medtrain.io.table import RawTable
from medtrain.metric import EvalOptions, constant_scores
from medtrain.metric.baseline import best_cutoff, breslow, fit_slope
from medtrain.metric.concordance import concordance
from medtrain.metric.follow_up import FollowUp
from medtrain.metric.policy import RISKS
from medtrain.metric.survival import Risks, entry_of, estimates, evaluate_survival, risk_groups
from medtrain.target.alone import Linear, cox
from medtrain.target.base import Form, Policy, Target
from medtrain.target.cases import CaseTarget
from medtrain.target.decision import Decision
from medtrain.target.event_columns import EventColumns
from medtrain.target.outcome import Outcome, Predicted
from medtrain.target.reading import Labels, NamedTarget, refuse_keys
from medtrain.target.times import read_times, usual_horizons

if TYPE_CHECKING:
    from torch import Tensor

Array = npt.NDArray[Any]

BINS = 10  # intervals of discrete hazards
CUT = "risk"  # what the cut-off of risk groups is called in a decision
FEW = 20  # events under which a baseline is told to rest on few


@dataclass(frozen=True)
class Event(EventColumns, NamedTarget, CaseTarget):
    """Values are float [N, 2]: the time of follow-up, and 1 for an event at its end, 0 for none.

    What a network says is read as [N, 1 + H]: the risk (a logarithm; higher means earlier), and the chance of no event
    up to each horizon, NaN where no baseline is known yet.

    Args:
        unit: of the times; "" where nobody says.
        horizons: times for which chances are told, ascending.
        longest: the longest follow-up of the table: no horizon may lie beyond it.
        cuts: the ends of the intervals of discrete hazards, from the training split's events.
        head: cox or hazards, the loss.
        baseline: (time, cumulative hazard at risk 0) in steps, of the head cox.
    """

    unit: str = ""
    horizons: tuple[float, ...] = ()
    longest: float = float("inf")
    cuts: tuple[float, ...] = ()
    head: str = "cox"
    baseline: tuple[tuple[float, float], ...] = ()

    kind = "event"
    learns = frozenset({"cuts", "baseline"})
    forms: ClassVar[frozenset[Form]] = frozenset({"times"})
    roles = ("time", "event")
    grammar = RISKS
    usual_loss = "cox"
    pools = ("mean",)
    monitors: ClassVar[Mapping[str, str]] = {"val_c_index": "max", "val_loss": "min"}

    @classmethod
    def read(cls, raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any], model: Target | None) -> Labels:
        """Read times and events of a table; see `medtrain.target.times`."""
        refuse_keys(cfg, model, "a time to an event (data.target=event)", "classes", "positive")
        values, bad, notices = read_times(raw, str(columns["time"]), str(columns["event"]))
        if model is not None:
            return Labels(model, values, bad, notices=notices)
        used = np.delete(values, [n for n, _ in bad], axis=0)
        horizons, longest = usual_horizons(used), float(used[:, 0].max())
        target = cls((str(columns["event"]),), str(cfg.get("unit_name") or ""), horizons, longest)
        return Labels(target, values, bad, notices=notices)

    def check_verb(self, verb: str) -> None:
        """Refuse to explain hazards: no single output of such a network is a risk (UsageError)."""
        super().check_verb(verb)
        if verb == "explain" and self.head == "hazards":
            raise UsageError("explain: there is none of loss=hazards yet, only of loss=cox, whose output is a risk")

    # what is learned of the data, the loss and the evaluation

    def learned(self, values: Array) -> Self:
        """Take over intervals of time with as many of the training split's events each."""
        time_N, event_N = np.asarray(values)[:, 0], np.asarray(values)[:, 1] > 0.5
        return replace(
            self, cuts=tuple(np.unique(np.quantile(time_N[event_N], np.arange(1, BINS + 1) / BINS)).tolist())
        )

    def fitted_to(self, loss: str) -> Self:
        return replace(self, head="hazards" if loss == "hazards" else "cox")

    def evaluated_by(self, evaluation: Mapping[str, Any]) -> Self:
        """Take over eval.horizons."""
        wanted = evaluation.get("horizons")
        if not wanted:
            return self
        wanted = wanted if isinstance(wanted, list | tuple) else [wanted]
        horizons = [float(horizon) for horizon in wanted]
        if horizons != sorted(set(horizons)) or horizons[0] <= 0:
            raise UsageError(f"eval.horizons={list(wanted)}: give times above 0 in ascending order")
        if horizons[-1] >= self.longest:
            raise UsageError(
                f"eval.horizons={list(wanted)}: nobody is followed beyond {self.longest:g} {self.unit}".rstrip()
                + ": give earlier times, in the unit of the table's times"
            )
        return replace(self, horizons=tuple(horizons))

    @property
    def choices(self) -> str:
        shown, unit = ", ".join(f"{horizon:g}" for horizon in self.horizons), f" {self.unit}" if self.unit else ""
        longest = f"longest follow-up {self.longest:g}"
        return f"horizons: chances of no event in {self.classes[0]} up to {shown}{unit} (eval.horizons; {longest})"

    def approximation(self, batch: int, cases: int) -> str:
        if self.head != "cox" or batch >= cases:
            return ""
        return (
            f"Cox's likelihood is an approximation: risk sets are those of a batch, about {batch} of {cases:,} cases. "
            f"It is exact with data.batch_size={cases} (of bags data.instances must hold them all, too); "
            "loss=hazards needs no risk sets"
        )

    def decided_by(self, decision: Decision) -> Self:
        """Take over the baseline that was fitted with a decision."""
        if not decision.baseline:
            return self
        return replace(self, baseline=tuple((float(time), hazard) for time, hazard in decision.baseline.items()))

    @property
    def n_outputs(self) -> int:
        return (len(self.cuts) or BINS) if self.head == "hazards" else 1

    @property
    def based(self) -> bool:
        return self.head == "cox"

    @property
    def thresholded(self) -> tuple[str, ...]:
        return (CUT,)

    @property
    def pooling(self) -> dict[str, bool]:
        return {"plain": True}

    def indicators(self, values: Array) -> npt.NDArray[np.float64]:
        """Tell cases with an event from the others."""
        return (np.asarray(values, np.float64).reshape(-1, 2)[:, 1:] > 0.5).astype(np.float64)

    def strata(self, values: Array) -> npt.NDArray[np.float64]:
        """Tell events from others, and of both those in each third of their times."""
        time_N, event_N = np.asarray(values, np.float64).reshape(-1, 2).T
        columns = []
        for own in (event_N > 0.5, event_N <= 0.5):
            edges = np.quantile(time_N[own], (1 / 3, 2 / 3)) if own.any() else np.zeros(2)
            third_N = np.searchsorted(edges, time_N, side="right")
            columns.append(own[:, None] & (third_N[:, None] == np.arange(3)))
        return np.concatenate(columns, axis=1).astype(np.float64)

    def cannot_choose(self, values: Array, monitors: Collection[str]) -> tuple[str, str] | None:
        if fault := self.unknown_monitor(monitors):
            return fault
        if np.isfinite(concordance(np.zeros(len(values)), self.follow_up(values)).value):
            return None
        events = int((np.asarray(values)[:, 1] > 0.5).sum())
        return (
            f"validation ({len(values)} cases, {events} events) has no event with a case followed longer, so "
            "val_c_index is undefined and can't choose a checkpoint",
            "give it more cases (the split column), or another data.split_seed",
        )

    # readings

    def probabilities(self, logits_NK: npt.ArrayLike, temperature: float = 1.0) -> Array:
        outputs = np.asarray(logits_NK, np.float64).reshape(-1, self.n_outputs) / temperature
        if self.head == "hazards":
            hazard_NK = np.logaddexp(0, outputs)
            risk_N1 = np.log(hazard_NK.sum(axis=1, keepdims=True))
            return np.concatenate([risk_N1, np.exp(-hazard_NK @ self._shares())], axis=1)
        with np.errstate(over="ignore"):
            return np.concatenate([outputs, np.exp(-np.exp(outputs) * self._hazard())], axis=1)

    def _shares(self) -> Array:
        """Compute (K, H): the share of each interval that lies before each horizon; a hazard is even within it."""
        ends = np.array(self.cuts)
        starts, horizons = np.concatenate([[0.0], ends[:-1]]), np.array(self.horizons)
        return np.clip((horizons - starts[:, None]) / (ends - starts)[:, None], 0, 1)

    def _hazard(self) -> Array:
        """Read the baseline at the horizons; NaN where there is none."""
        if not self.baseline:
            return np.full(len(self.horizons), np.nan)
        known, hazard = np.array(self.baseline).T
        return np.concatenate([[0.0], hazard])[np.searchsorted(known, self.horizons, side="right")]

    def probabilities_of(self, logits: Tensor) -> Tensor:
        both = logits.new_zeros(*logits.shape[:-1], 1 + len(self.horizons))
        if self.head == "hazards":
            hazard = logits.clamp(min=0) + (1 + (-logits.abs()).exp()).log()
            both[..., :1] = hazard.sum(-1, keepdim=True).log()
            both[..., 1:] = (-(hazard @ hazard.new_tensor(self._shares()))).exp()
            return both
        both[..., :1] = logits
        both[..., 1:] = (-logits.exp() * logits.new_tensor(self._hazard())).exp()
        return both

    def decision_of(self, probs_BC: Tensor, limits_T: Tensor) -> Tensor:
        return (probs_BC[:, 0].sigmoid() >= limits_T[0]).long()

    def outputs_for(self, numbers: Tensor) -> Tensor:
        return numbers + 1  # a single output stands for two sides, the second is its own

    def disagreement_of(self, probs_BSC: Tensor, decided: Tensor) -> Tensor:
        return probs_BSC[..., 0].std(1)

    # decision: a cut-off of risk, and what makes chances of risks

    def predict(self, probs_NC: npt.ArrayLike, decision: Decision) -> Array:
        return self.decide(probs_NC, list(decision.thresholds.values()))

    def decide(self, probs_NC: npt.ArrayLike, limits: npt.ArrayLike = ()) -> Array:
        """Tell cases of high risk (1) from others (0); limits are logistic functions of a risk."""
        limit = np.asarray(limits, np.float64)
        return (expit(np.asarray(probs_NC, np.float64)[:, :1]) >= limit)[:, 0].astype(np.int64)

    def fit_thresholds(
        self,
        probs_NC: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> dict[str, float]:
        """Fit the cut-off of risk groups: a quantile of the validation cases' risks, or the best of many."""
        risk_N, parsed = np.asarray(probs_NC, np.float64)[:, 0], self.grammar.parse(policy)
        if parsed.name == "best":
            return {CUT: float(expit(best_cutoff(risk_N, self.follow_up(values))))}
        return {CUT: float(expit(np.quantile(risk_N, parsed.value)))}

    def fit_decision(
        self,
        logits_NK: npt.ArrayLike,
        values: npt.ArrayLike,
        policy: Policy = 0.5,
        patients: Sequence[Any] | None = None,
    ) -> Decision:
        """Fit by how much risks count, and the cut-off of risk groups, on validation data.

        The baseline hazard is theirs too until `completed`. That risks of cases that a network has learned lie further
        apart than those of others is what the slope takes back, so the baseline may be that of the training split.
        """
        truth, temperature = self.follow_up(values), 1.0
        if self.looks_back:
            temperature = 1 / fit_slope(self.probabilities(logits_NK)[:, 0], truth)
        probs_NC = self.probabilities(logits_NK, temperature)
        events, warnings = int(truth.event_N.sum()), []
        if self.looks_back and events < FEW:
            warnings.append(f"by how much risks count rests on {events} events of validation: chances may be far off")
        thresholds = self.fit_thresholds(probs_NC, values, policy, patients)
        no_sets = "times to an event have none"
        decision = Decision(policy, temperature, thresholds, no_sets=no_sets, warnings=warnings)
        return self.completed(decision, np.asarray(logits_NK), np.asarray(values))

    def table_alone(self, x_NF: Array, values: Array) -> tuple[CaseTarget, Linear] | None:
        return self.fitted_to("cox"), cox(x_NF, np.asarray(values, np.float64))

    @property
    def looks_back(self) -> bool:
        return self.head == "cox"

    def completed(self, decision: Decision, logits_NK: Array, values: Array) -> Decision:
        if not self.looks_back:
            return decision
        risk_N = self.probabilities(logits_NK, decision.temperature)[:, 0]
        steps = zip(*breslow(risk_N, self.follow_up(values)), strict=True)
        return replace(decision, baseline={repr(float(time)): float(hazard) for time, hazard in steps})

    def disagreement(self, probs_NSC: npt.ArrayLike, predicted: npt.ArrayLike) -> Array:
        """Measure how far members' risks lie apart, their standard deviation, [N]."""
        return np.asarray(np.asarray(probs_NSC)[..., 0].std(axis=1, ddof=1))

    def predictions(
        self, rows: pd.DataFrame, probs_NSC: Array, predicted: Array, limits: npt.ArrayLike, values: Array | None
    ) -> Predicted:
        """Put predictions together: of several networks the mean of their log risks and of their chances."""
        own, several = np.asarray(limits, np.float64), probs_NSC.shape[1] > 1
        doubt = self.disagreement(probs_NSC, predicted) if several else np.zeros(len(rows))
        by = "ensemble" if several else "confidence"
        return Predicted(rows, probs_NSC.mean(axis=1), predicted, values, doubt, by, limits=own)

    # judgement

    def follow_up(self, values: npt.ArrayLike, patients: Sequence[Any] | None = None) -> FollowUp:
        """Give times and events as the metric room takes them."""
        whole = np.asarray(values, np.float64).reshape(-1, 2)
        return FollowUp(whole[:, 0], whole[:, 1] > 0.5, patients)

    def risks(self, predicted: Predicted) -> Risks:
        """Give predictions of cases whose truth is known as the metric room takes them."""
        assert predicted.values is not None
        truth = self.follow_up(predicted.values, predicted.rows["patient"].tolist())
        return Risks(predicted.probs[:, 0], predicted.probs[:, 1:], self.horizons, truth)

    def score(self, probs_NC: Array, values: Array) -> dict[str, float]:
        return {"c_index": concordance(np.asarray(probs_NC)[:, 0], self.follow_up(values)).value}

    def judge(self, predicted: Predicted, decision: Decision, options: EvalOptions) -> Outcome:
        rows, cases = predicted.rows, self.risks(predicted)
        counts = {"n_cases": len(rows), "n_patients": int(rows["patient"].nunique()), "unit": self.unit, "labels": {}}
        cut = decision.thresholds.get(CUT) if predicted.limits.ndim == 1 else None  # else each fold had its own
        groups = risk_groups(predicted.predicted > 0, cases.truth, None if cut is None else float(logit(cut)))
        more = {"risk_groups": groups, "abstention": None, "patients": None}
        files = {"test_predictions.csv": self.table(predicted)}
        same = constant_scores({"the predicted risk": expit(cases.risk_N)})
        return Outcome(counts | evaluate_survival(cases, options) | more, files, same)

    def plain_metrics(self, predicted: Predicted) -> dict[str, float | None]:
        own = estimates(self.risks(predicted))
        return {name: entry_of(one, None, False)["value"] for (owner, name), one in own.items() if owner is None}

    def events(self, values: Array) -> dict[str, int]:
        return {self.classes[0]: int((np.asarray(values)[:, 1] > 0.5).sum())}

    def within_folds(self, folds: Sequence[Predicted], pooled: Predicted, options: EvalOptions) -> dict[str, Any]:
        """Compute Harrell's C of comparisons within folds: two networks need not mean the same by a risk."""
        parts = [self.risks(fold) for fold in folds]
        patients = [name for part in parts for name in part.truth.patients or ()]
        time_N, event_N = (
            np.concatenate([getattr(part.truth, name) for part in parts]) for name in ("time_N", "event_N")
        )
        fold_N = np.repeat(np.arange(len(parts)), [len(part.risk_N) for part in parts])
        risk_N = np.concatenate([part.risk_N for part in parts])
        one = concordance(risk_N, FollowUp(time_N, event_N), fold_N=fold_N)
        return {"metrics": {"c_index_within_folds": entry_of(one, patients, bool(options.bootstrap))}}
