"""TPE against random search at equal trials: the best validation score so far, by trial, over several seeds.

    python scripts/benchmarks/search.py FOLDER [TABLE.csv ...] [--trials 12] [--seeds 5]

Trains bags of features (CSV, such as MUSK 1) for a few epochs a trial, in this process: rate, weight decay, dropout,
batch and width are searched. Without tables two are drawn, of which one is hard. Prints a line a table: the median over
the seeds.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
from pathlib import Path

import numpy as np
import pandas as pd

from medtrain.cli import main

SPACE = [
    "optimizer.lr=tag(log,interval(1e-5,1e-1))",
    "optimizer.weight_decay=tag(log,interval(1e-6,1))",
    "model.dropout=interval(0,0.8)",
    "data.batch_size=int(interval(2,32))",
]
SHOWN = (1, 4, 8, 12, 16, 20)


def drawn(file: Path, shift: float, seed: int) -> Path:
    """Draw a table of 120 bags of 5 instances of 20 features; in a positive bag one instance is shifted."""
    rng = np.random.default_rng(seed)
    label_N = np.repeat(np.arange(120) % 2, 5)
    x_NF = rng.normal(size=(600, 20))
    x_NF[::5, :4] += shift * label_N[::5, None]
    table = pd.DataFrame(x_NF.round(4))
    table.insert(0, "bag", np.repeat(np.arange(120), 5))
    table.insert(0, "label", label_N)
    table.to_csv(file, index=False, header=False)
    return file


def curve(table: Path, sampler: str, seed: int, trials: int, epochs: int, folder: Path) -> list[float]:
    """Search once; the best validation loss after each trial."""
    words = ["-m", "hydra/sweeper=optuna", f"hydra.sweep.dir={folder}", f"hydra.sweeper.n_trials={trials}"]
    words += [f"hydra.sweeper.sampler={sampler}", f"hydra.sweeper.seed={seed}", "task=wsi_mil", "data=feature_bags"]
    words += [f"data.table={table}", "data.num_workers=0", "trainer=cpu", f"trainer.max_epochs={epochs}"]
    words += ["eval.bootstrap=0", "callbacks.last=null", "logger.tensorboard=null"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        code = main([*words, *SPACE])
    if code:
        raise SystemExit(out.getvalue())
    values = [trial["values"][0] for trial in json.loads((folder / "search.json").read_text())["trials"]]
    return np.minimum.accumulate(values).tolist()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("tables", type=Path, nargs="*")
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    given = parser.parse_args()
    os.environ.setdefault("MEDTRAIN_CACHE", str(given.folder / "cache"))
    given.folder.mkdir(parents=True, exist_ok=True)
    tables = given.tables + [
        drawn(given.folder / f"{n}.csv", s, i) for i, (n, s) in enumerate([("plain", 2), ("hard", 1)])
    ]
    for table in tables:
        for sampler in ("random", "tpe"):
            curves = [
                curve(table, sampler, seed, given.trials, given.epochs, given.folder / f"{table.stem}_{sampler}_{seed}")
                for seed in range(given.seeds)
            ]
            median = [statistics.median(values) for values in zip(*curves, strict=True)]
            shown = "  ".join(f"{n}: {median[n - 1]:.4f}" for n in SHOWN if n <= given.trials)
            print(f"{table.stem:<8} {sampler:<7} {shown}", flush=True)
