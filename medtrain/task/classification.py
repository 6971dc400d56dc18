"""Classification of cases: one image, or many instances of a case pooled into one prediction."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from medtrain.augment import mixup
from medtrain.core.pool import pool_cases
from medtrain.core.spec import DataSpec
from medtrain.metric import Decision, auroc, fit_decision, probabilities
from medtrain.metric import evaluate as metrics_of
from medtrain.task.base import Batch, Outcome, Outputs, Task


class Classification(Task):
    """A classifier of batches ``{"x", "y", "case"}``; several rows may belong to one case.

    Args:
        loss: ``loss(logits_BK, y) -> scalar``; None where nothing is trained.
        augment: ``augment(x_BCHW, ids, seed, epoch) -> x_BCHW`` on inputs in 0..1; only in training. Its ids are the
            cases, or rows (case, draw) of batches with a ``draw``, so that repeats in an epoch all differ.
        pool: how the instances of a case make its prediction: mean, max or noisy_or.
        mixup: alpha of mixup in training; 0 for none.
        views: ``views(x_BCHW)`` yields versions of inputs in 0..1 whose probabilities are averaged in the end.
    """

    mean: Tensor
    std: Tensor
    takes: ClassVar[tuple[str, ...]] = ("loss", "augment", "pool", "mixup", "views")

    def __init__(
        self,
        *args: Any,
        loss: nn.Module | None = None,
        augment: nn.Module | None = None,
        pool: str = "mean",
        mixup: float = 0.0,
        views: nn.Module | None = None,
        **more: Any,
    ) -> None:
        super().__init__(*args, **more)
        self.loss, self.augment, self.pool, self.mixup, self.views = loss, augment, pool, mixup, views
        shape = (1, -1, *[1] * self.spec.dims)
        self.register_buffer("mean", torch.tensor(self.spec.mean or (0.0,)).view(shape), persistent=False)
        self.register_buffer("std", torch.tensor(self.spec.std or (1.0,)).view(shape), persistent=False)

    def inputs(self, batch: Batch) -> Tensor:
        """The network's input: scaled to 0..1, augmented in training, normalised."""
        x = scaled(batch["x"])
        if self.training and self.augment is not None:
            ids = torch.stack([batch["case"], batch["draw"]], 1) if "draw" in batch else batch["case"]
            x = self.augment(x, ids, seed=self.seed, epoch=self.current_epoch)
        return (x - self.mean) / self.std

    def forward(self, batch: Batch) -> Tensor:
        """Logits, one row an instance, `spec.n_logits` columns."""
        logits: Tensor = self.model(self.inputs(batch))
        return logits

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        assert self.loss is not None
        if not self.mixup:
            return {"loss": self.loss(self(batch), batch["y"])}
        x, partner, share = mixup(self.inputs(batch), self.mixup, self.seed, *self.place)
        logits, y = self.model(x), batch["y"]
        return {"loss": share * self.loss(logits, y) + (1 - share) * self.loss(logits, y[partner])}

    def outputs(self, batch: Batch) -> dict[str, Any]:
        kept = {key: batch[key] for key in ("case", "instance", "y") if key in batch}
        return kept | {"logits": self(batch).float()}

    def final_outputs(self, batch: Batch) -> dict[str, Any]:
        """`outputs`, the probabilities of each instance averaged over its views."""
        if self.views is None:
            return self.outputs(batch)
        seen = [self.outputs(batch | {"x": x}) for x in self.views(scaled(batch["x"]))]
        number = torch.arange(len(batch["case"]), device=seen[0]["logits"].device).repeat(len(seen))
        return seen[0] | {"logits": self._pooled(torch.cat([each["logits"] for each in seen]), number, "mean")[0]}

    def batch_size(self, batch: Batch) -> int:
        return len(batch["case"])

    def cases(self, outputs: Outputs) -> dict[str, Tensor]:
        """One row a case, in the order of case numbers: ``case``, ``logits``, and ``y`` where it is known.

        Repeated rows (the padding of the last batch) are dropped. Batches with an ``instance`` number hold several
        instances a case: these are pooled as probabilities and turned back into logits, which a temperature fits.
        """
        joined = {key: torch.cat([batch[key] for batch in outputs]) for key in outputs[0]}
        keys = torch.stack([joined["case"], joined["instance"]], 1) if "instance" in joined else joined["case"][:, None]
        joined = {key: value[_first_rows(keys)] for key, value in joined.items()}
        if "instance" not in joined:
            return joined
        logits, number = self._pooled(joined["logits"], joined["case"], self.pool)
        cases = {"case": number, "logits": logits}
        return cases | ({"y": joined["y"][_first_rows(joined["case"][:, None])]} if "y" in joined else {})

    def _pooled(self, logits_NK: Tensor, numbers_N: Tensor, how: str) -> tuple[Tensor, Tensor]:
        """Logits of the pooled probabilities, one row a number, and the numbers in ascending order."""
        multiclass, logits = self.spec.label_kind == "multiclass", logits_NK.double()  # so that sure cases don't tie
        pooled, numbers = pool_cases(logits.softmax(1) if multiclass else logits.sigmoid(), numbers_N, how)
        clipped = pooled.clamp(1e-12, 1 - 1e-12)
        return (clipped.log() if multiclass else torch.logit(clipped)).to(logits_NK.dtype), numbers

    def score(self, outputs: Outputs) -> dict[str, float]:
        cases = self.cases(outputs)
        target = as_target(cases["y"], self.spec.label_kind)
        assert self.loss is not None
        with torch.no_grad():
            loss = self.loss(cases["logits"], cases["y"])
        return {"loss": float(loss), "auroc": auroc(self._probs(cases, 1.0), target)}

    def fit_decision(self, outputs: Outputs, policy: str | float) -> Decision:
        cases, kind = self.cases(outputs), self.spec.label_kind
        return fit_decision(kind, cases["logits"].numpy(), as_target(cases["y"], kind), self.spec.classes, policy)

    def evaluate(
        self,
        outputs: Outputs,
        cases: pd.DataFrame,
        decision: Decision,
        *,
        bootstrap: int,
        prevalence: float | None = None,
        groups: pd.DataFrame | None = None,
    ) -> Outcome:
        found, kind = self.cases(outputs), self.spec.label_kind
        rows, target = cases.iloc[found["case"].numpy()], as_target(found["y"], self.spec.label_kind)
        probs = self._probs(found, decision.temperature)
        predicted, patients = decision.predict(probs, kind), rows["patient"].tolist()
        named = {} if groups is None else groups.iloc[found["case"].numpy()].to_dict("list")
        asked: dict[str, Any] = {"bootstrap": bootstrap, "prevalence": prevalence, "groups": named}
        metrics = metrics_of(kind, probs, target, predicted, self.spec.classes, patients, **asked)
        metrics["calibration"] = {"temperature": decision.temperature, **metrics["calibration"]}
        counts = {"n_cases": len(rows), "n_patients": int(rows["patient"].nunique())}
        table = predictions_table(self.spec, rows, probs, predicted, target)
        return Outcome({**counts, **metrics}, {"test_predictions.csv": table})

    def predictions(self, outputs: Outputs, cases: pd.DataFrame, decision: Decision) -> pd.DataFrame:
        found = self.cases(outputs)
        probs = self._probs(found, decision.temperature)
        rows = cases.iloc[found["case"].numpy()]
        table = predictions_table(self.spec, rows, probs, decision.predict(probs, self.spec.label_kind))
        return table.set_index(pd.Index(found["case"].numpy()))

    def _probs(self, cases: dict[str, Tensor], temperature: float) -> np.ndarray:
        """Probabilities [N, C], one column a class, binary too."""
        return probabilities(cases["logits"].numpy(), self.spec.label_kind, temperature)


def scaled(x: Tensor) -> Tensor:
    """Pixels as floating point in 0..1."""
    return x if x.is_floating_point() else x.float() / torch.iinfo(x.dtype).max


def as_target(y: Tensor, kind: str) -> np.ndarray:
    """Targets in the coding of the metric room: binary [N] of 0, 1, NaN; multiclass int [N]; multilabel [N, C]."""
    array: np.ndarray = y.numpy()
    return array[:, 0] if kind == "binary" else array


def _first_rows(keys_NK: Tensor) -> Tensor:
    """Where each distinct row of keys stands first, in ascending order of the keys."""
    _, inverse, counts = torch.unique(keys_NK, dim=0, return_inverse=True, return_counts=True)
    return torch.argsort(inverse, stable=True)[torch.cumsum(counts, 0) - counts]


def predictions_table(
    spec: DataSpec, rows: pd.DataFrame, probs: np.ndarray, predicted: np.ndarray, target: np.ndarray | None = None
) -> pd.DataFrame:
    """case, patient, target, prediction, prob_<class>...; without targets where none are given.

    Args:
        probs: [N, C], one column a class in order, binary too.
        predicted, target: binary and multiclass [N] class numbers, multilabel [N, C] of 0, 1 (NaN unknown).
    """
    table: dict[str, Any] = {"case": rows["case"].to_numpy(), "patient": rows["patient"].tolist()}
    for name, values in (("target", target), ("prediction", predicted)):
        if values is not None and spec.label_kind == "multilabel":
            for i, cls in enumerate(spec.classes):
                table[f"{name}_{cls}"] = [_named(v, ("0", "1")) for v in values[:, i]]
        elif values is not None:
            table[name] = [_named(v, spec.classes) for v in values]
    return pd.DataFrame(table | {f"prob_{cls}": probs[:, i] for i, cls in enumerate(spec.classes)})


def _named(value: Any, names: tuple[str, ...]) -> str:
    """The class's name; blank where unknown."""
    return "" if value != value or value < 0 else names[int(value)]
