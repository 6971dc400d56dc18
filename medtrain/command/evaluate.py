"""Judge a trained task on one split: the same files whether train, test or external validation asks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig

from medtrain.config import ranks
from medtrain.core.spec import DataSpec
from medtrain.io.files import write_json, write_text
from medtrain.metric import Decision, fit_decision, probabilities
from medtrain.metric import evaluate as metrics_of
from medtrain.task.base import Task
from medtrain.task.classification import as_target


def fit_decision_on_val(cfg: DictConfig, trainer: pl.Trainer, task: Any, data: Any) -> Decision:
    """Temperature and thresholds, fitted on validation cases; equal on every rank."""
    run_loader(trainer, task, data.val_dataloader)
    cases = task.cases(task.results)
    kind = data.spec.label_kind
    policy = cfg.eval.threshold
    return fit_decision(kind, cases["logits"].numpy(), as_target(cases["y"], kind), data.spec.classes, policy)


def evaluate(
    cfg: DictConfig, trainer: pl.Trainer, task: Any, data: Any, decision: Decision, folder: Path, *, split: str
) -> dict[str, Any]:
    """Predict a split, write test_metrics.json and test_predictions.csv on rank 0, return the metrics."""
    run_loader(trainer, task, lambda: data.eval_dataloader(split))
    if ranks.global_rank() != 0:
        return {}
    spec: DataSpec = data.spec
    cases = task.cases(task.results)
    rows = data.cases.iloc[cases["case"].numpy()]
    probs = probabilities(cases["logits"].numpy(), spec.label_kind, decision.temperature)
    target = as_target(cases["y"], spec.label_kind)
    predicted = decision.predict(probs, spec.label_kind)
    found = metrics_of(
        spec.label_kind,
        probs,
        target,
        predicted,
        spec.classes,
        rows["patient"].to_numpy(),
        bootstrap=cfg.eval.bootstrap,
    )
    outcome = {
        "split": split,
        "n_cases": len(rows),
        "n_patients": int(rows["patient"].nunique()),
        **found,
        "decision": decision.to_dict(),
        "calibration": None,
        "groups": None,
    }
    write_json(folder / "test_metrics.json", outcome)
    table = predictions_table(spec, rows, probs, predicted, target)
    write_text(folder / "test_predictions.csv", table.to_csv(index=False))
    return outcome


class _OneLoader(pl.LightningDataModule):
    """A loader made late: after the ranks have met, so that it knows its share."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.make = make

    def test_dataloader(self) -> Any:
        return self.make()


def run_loader(trainer: pl.Trainer, task: Task, make: Callable[[], Any]) -> None:
    """One pass without gradients; `task.results` holds the gathered outputs of all ranks afterwards."""
    trainer.test(task, datamodule=_OneLoader(make), verbose=False)
    if trainer.interrupted:
        raise KeyboardInterrupt


def predictions_table(
    spec: DataSpec, rows: pd.DataFrame, probs: np.ndarray, predicted: np.ndarray, target: np.ndarray | None = None
) -> pd.DataFrame:
    """case, patient, target, prediction, prob_<class>...; without targets where none are given.

    Args:
        probs: [N, C], one column a class in order, binary too.
        predicted, target: binary and multiclass [N] class numbers, multilabel [N, C] of 0, 1 (NaN unknown).
    """
    table = {"case": rows["case"].to_numpy(), "patient": rows["patient"].to_numpy()}
    for name, values in (("target", target), ("prediction", predicted)):
        if values is None:
            continue
        if spec.label_kind == "multilabel":
            for i, cls in enumerate(spec.classes):
                table[f"{name}_{cls}"] = [_named(v, ("0", "1")) for v in values[:, i]]
        else:
            table[name] = [_named(v, spec.classes) for v in values]
    for i, cls in enumerate(spec.classes):
        table[f"prob_{cls}"] = probs[:, i]
    return pd.DataFrame(table)


def _named(value: Any, names: tuple[str, ...]) -> str:
    """The class's name; blank where unknown."""
    return "" if value != value or value < 0 else names[int(value)]
