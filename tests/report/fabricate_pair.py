"""A second run on the cases of a first one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def worse(folder: Path, copy: Path, model: str, noise: float = 3.0, **facts: Any) -> Path:
    """A run whose probabilities are those of another, blurred."""
    shutil.copytree(folder, copy)
    table = pd.read_csv(copy / "test_predictions.csv", dtype=str, keep_default_na=False)
    columns = [name for name in table if name.startswith("prob_")]
    logits = np.log(table[columns].astype(float).to_numpy()) + noise * np.random.default_rng(1).normal(
        size=(len(table), len(columns))
    )
    probs = np.exp(logits)
    table[columns] = probs / (1 + probs) if "target" not in table else probs / probs.sum(1, keepdims=True)
    table.to_csv(copy / "test_predictions.csv", index=False)
    run = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(run | {"model": model} | facts))
    return copy
