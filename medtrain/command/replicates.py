"""A trial's scores on bootstrap samples of the validation patients, by which a search corrects that of its best."""

from __future__ import annotations

import hashlib
import time
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig

from medtrain import launch
from medtrain.command import build
from medtrain.command.evaluate import run_loader
from medtrain.data.base import Data
from medtrain.io.files import write_json
from medtrain.metric.winner import LEAST, bags
from medtrain.task.base import Task
from medtrain.task.gathering import Outputs

FILE = "val_replicates.json"
MOST, SECONDS = 300, 10.0  # samples; fewer where scores are costly


def note_replicates(cfg: DictConfig, folder: Path, task: Task, data: Data, outputs: Outputs | None = None) -> None:
    """Write `FILE`: each logged metric within and without each bootstrap sample, null where it is undefined.

    The metrics are those that choose epochs, so a network that is spread over devices has none.

    Args:
        outputs: what was validated of the chosen epoch, if that is still known; else it is validated again.
    """
    if build.sharded(cfg):
        return
    if outputs is None:
        trainer = build.trainer(cfg, folder, training=False)
        run_loader(trainer, task, data, data.val_dataloader, as_after_epoch=True)
    else:
        task.results = outputs
    if launch.global_rank() != 0:
        return
    number_N = torch.cat([batch["case"] for batch in task.results]).unique()
    cases = data.cases.iloc[number_N.numpy()]
    names, patient_N = np.unique(cases["patient"].astype(str).to_numpy(), return_inverse=True)
    began = time.monotonic()
    whole = _score(task, number_N)
    cost = time.monotonic() - began
    count = int(min(MOST, max(LEAST, SECONDS / (2 * max(cost, 1e-6)))))
    sides: dict[str, Any] = {name: {"score": value, "inside": [], "outside": []} for name, value in whole.items()}
    for inside_P in bags(len(names), count):
        for side, there_P in (("inside", inside_P), ("outside", ~inside_P)):
            chosen_N = number_N[torch.from_numpy(there_P[patient_N])]
            scores = _score(task, chosen_N)
            for name, entry in sides.items():
                entry[side].append(scores.get(name))
    digest = hashlib.sha256("\n".join(cases["case"].astype(str)).encode()).hexdigest()
    write_json(folder / FILE, {"patients": len(names), "cases": digest, "metrics": sides})


def _score(task: Task, number_N: torch.Tensor) -> dict[str, float | None]:
    """Score some cases; {} of none, None where a metric is undefined."""
    outputs = task.of_cases(task.results, number_N) if len(number_N) else []
    if not outputs:
        return {}
    return {f"val_{name}": value if isfinite(value) else None for name, value in task.score(outputs).items()}
