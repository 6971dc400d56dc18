"""eval.gate: a classifier of whole images says first whether there is any lesion, and boxes count by what it says."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytorch_lightning as pl
from omegaconf import DictConfig

from medtrain.command import build
from medtrain.command.evaluate import run_loader
from medtrain.command.trained import Trained, open_run
from medtrain.config.saved import load_saved
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.data.batches import module_of
from medtrain.task.base import Task


def open_gate(cfg: DictConfig) -> Trained | None:
    """Open the run of eval.gate, None where there is none.

    Raises:
        UsageError: not a finished run of binary classification, or the task has no boxes.
    """
    if not cfg.eval.get("gate"):
        return None
    if "boxes" not in build.task_class(cfg).usual_target.forms:
        raise UsageError(f"eval.gate={cfg.eval.gate} is for boxes; task={cfg.task.name} has none")
    try:
        gate = open_run(cfg.eval.gate)
    except MedtrainError as error:
        raise UsageError(f"eval.gate: {error}") from error
    if gate.spec.target.positive is None or gate.spec.dims != 2:
        raise UsageError(f"eval.gate={cfg.eval.gate}: a run of binary classification of images is wanted")
    return gate


def attach_gate(cfg: DictConfig, trainer: pl.Trainer, task: Task, cases: pd.DataFrame) -> None:
    """Let the gate, if there is one, look at these cases, and the task count boxes by what it decides."""
    gate = open_gate(cfg)
    task.gate_N = None if gate is None else gate_factors(cfg, gate, trainer, cases["path"])


def gate_factors(cfg: DictConfig, gate: Trained, trainer: pl.Trainer, paths: pd.Series) -> np.ndarray:
    """Compute what the scores of each image's boxes are multiplied by: 0 where the gate decides for no lesion, else
    1; with eval.gate_by=scale its probability of a lesion.

    Args:
        paths: of the image files.

    Raises:
        MedtrainError: an image that the gate can't read.
    """
    saved = load_saved(gate.folder)
    node: dict[str, Any] = build.plain(saved.data)
    node |= {"root": None, "path_format": None, "columns": {"path": "path"}, "cache_dir": cfg.data.get("cache_dir")}
    with tempfile.TemporaryDirectory() as place:
        listed = Path(place) / "images.csv"
        pd.DataFrame({"path": [str(Path(path).absolute()) for path in paths]}).to_csv(listed, index=False)
        data = module_of(saved.data).for_inputs(node, gate.spec, listed)
    if data.errors:
        row, why = next(iter(data.errors.items()))
        raise MedtrainError(f"eval.gate: {paths.iloc[row]}: {why}")
    task: Any = gate.task(saved)
    run_loader(trainer, task, data, data.predict_dataloader)
    predictions: Any = task.predictions(task.results, data.cases, gate.decision)
    positive = gate.spec.classes[-1]
    if cfg.eval.gate_by == "scale":
        return np.asarray(predictions[f"prob_{positive}"], float)
    return np.asarray(predictions["prediction"].astype(str) == positive, float)
