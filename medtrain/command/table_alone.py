"""The table alone: what the columns beside the images predict without any, on the same split, in RUN/table_alone.

Without it nobody knows whether a network with columns has learned anything of the images.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from omegaconf import DictConfig

from medtrain.command.evaluate import write_outcome
from medtrain.core.covariates import encoded
from medtrain.data.base import Data
from medtrain.io import record
from medtrain.io.files import read_json, write_json, write_text
from medtrain.metric import EvalOptions
from medtrain.report.compared import read_compared
from medtrain.report.comparison import compare
from medtrain.target.cases import CaseTarget

FOLDER = "table_alone"


def table_alone(cfg: DictConfig, data: Data, run: Path) -> list[str]:
    """Fit, judge and compare the table alone with a finished run; what there is to say, [] for nothing.

    Writes the files of a test into RUN/table_alone, and ``table_alone`` (metrics, and the run's less these) into the
    run's test_metrics.json.
    """
    target, columns = data.spec.target, data.columns
    if columns is None or data.targets is None or not isinstance(target, CaseTarget):
        return []
    x_NF = encoded(data.spec.covariates, torch.from_numpy(columns)).numpy().astype(np.float64)
    train, val, test = (data.rows(split) for split in ("train", "val", "test"))
    fitted = target.table_alone(x_NF[train], data.targets[train])
    if fitted is None:
        return [f"the table alone: there is no such model of data.target={target.kind} yet"]
    reader, outputs = fitted
    patients = data.cases["patient"].iloc[val].tolist()
    decision = reader.fit_decision(outputs(x_NF[val]), data.targets[val], cfg.eval.threshold, patients)
    decision = reader.completed(decision, outputs(x_NF[train]), data.targets[train])
    reader = reader.decided_by(decision)
    probs_NC = reader.probabilities(outputs(x_NF[test]), decision.temperature)
    rows = data.cases.iloc[test]
    limits = list(decision.thresholds.values())
    predicted = reader.predictions(
        rows, probs_NC[:, None], reader.predict(probs_NC, decision), limits, data.targets[test]
    )
    options = EvalOptions.read(cfg.eval)
    outcome = reader.judge(predicted, decision, options)
    folder = run / FOLDER
    folder.mkdir(exist_ok=True)
    metrics = write_outcome(folder, outcome, decision, split="test")
    whole = record.read(run)
    facts = {key: whole.get(key) for key in ("task", "seed", "versions", "spec", "data", "synthetic", "fingerprints")}
    own = {"model": "table alone", "verb": "test", "status": "finished", "heartbeat": record.now()}
    write_json(folder / record.FILE, facts | own)
    write_text(folder / "splits.csv", data.split_table().to_csv(index=False))
    pair = [read_compared(folder), read_compared(run)]
    if wrong := [text for text in pair if isinstance(text, str)]:
        return [f"the table alone is in {folder}; it could not be compared: {wrong[0]}"]
    comparison = compare([one for one in pair if not isinstance(one, str)], 0, None, options.bootstrap)
    file = run / "test_metrics.json"
    difference = comparison["differences"][0]["metrics"]
    write_json(file, read_json(file) | {FOLDER: {"metrics": metrics["metrics"], "difference": difference}})
    return [f"the table alone ({folder}), without any image:", *comparison["says"]]
