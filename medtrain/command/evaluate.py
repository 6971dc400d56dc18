"""Judge a trained task on one split: the same files whether train, test or external validation asks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig

from medtrain import launch
from medtrain.data.base import Data
from medtrain.io.files import write_json, write_text
from medtrain.metric import EvalOptions
from medtrain.report import write_report
from medtrain.target import Decision, Outcome, reached, side_by_side
from medtrain.task.base import Task


def evaluate(
    cfg: DictConfig,
    task: Task,
    data: Data,
    decision: Decision,
    folder: Path,
    *,
    split: str,
    warned: Sequence[str] = (),
) -> dict[str, Any]:
    """Judge a split: write test_metrics.json and the task's files on rank 0, return the metrics ({} elsewhere).

    Args:
        task: whose `results` are those of the split, see `run_loader`.
        warned: what was warned of before, which stands beside the metrics.
    """
    if launch.global_rank() != 0:
        return {}
    groups: Any = None if data.groups is None else data.groups.to_dict("list")
    options = EvalOptions.read(cfg.eval).with_groups(groups)
    outcome = task.evaluate(task.results, data.cases, decision, options)
    tested = reached(outcome.metrics, decision.thresholds)
    policy = task.spec.target.grammar.parse(decision.policy)
    outcome.metrics["operating_point"] = side_by_side(policy, decision.validation, tested)
    outcome.warnings.extend(warned)
    return write_outcome(folder, outcome, decision, split=split)


def write_outcome(folder: Path, outcome: Outcome, decision: Decision, **facts: Any) -> dict[str, Any]:
    """Write test_metrics.json, `facts` first, and the files of a judged split; return the metrics."""
    metrics = {**facts, **outcome.metrics}
    metrics.setdefault("decision", decision.to_dict())
    metrics["warnings"] = [*outcome.warnings, *(f"validation: {warning}" for warning in decision.warnings)]
    metrics |= {part: outcome.metrics.get(part) for part in ("calibration", "prevalence", "groups", "abstention")}
    write_json(folder / "test_metrics.json", metrics)
    for name, content in outcome.files.items():
        write(folder / name, content)
    return metrics


def write(file: Path, content: Any) -> None:
    """Write a table as CSV (full precision), anything else as JSON; atomically."""
    if isinstance(content, pd.DataFrame):
        write_text(file, content.to_csv(index=False))
    else:
        write_json(file, content)


def build_report(cfg: DictConfig, task: Task, data: Data, folder: Path) -> Path:
    """Draw the worst mistakes (`eval.thumbnails`), then write report.html."""
    task.draw_mistakes(folder, data, cfg.eval.get("thumbnails") or 0)
    return write_report(folder, task.sections())


class _OneLoader(pl.LightningDataModule):
    """A loader made late: after the ranks have met, so that it knows its share."""

    def __init__(self, make: Callable[[], Any]) -> None:
        super().__init__()
        self.make = make

    def test_dataloader(self) -> Any:
        return self.make()

    val_dataloader = test_dataloader


def run_loader(
    trainer: pl.Trainer, task: Task, data: Data, make: Callable[[], Any], *, as_after_epoch: bool = False
) -> None:
    """Run one pass without gradients; then `task.results` holds the gathered outputs of all ranks.

    Args:
        data: of the cases, which know more of them than batches hold.
        make: gives the loader, which the trainer asks for once it is set up.
        as_after_epoch: the outputs are those by which epochs are chosen, not those by which a run is judged.
    """
    task.truth = data.truth
    run = trainer.validate if as_after_epoch else trainer.test
    run(task, datamodule=_OneLoader(make), verbose=False)
    if trainer.interrupted:
        raise KeyboardInterrupt
