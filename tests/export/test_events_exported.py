"""Times to an event in an export: what its graph says, what predict.py writes of it, and how both are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.export.parity import Limits, compare_risks
from medtrain.export.portable import ExportRequest
from medtrain.export.runtime.classes import ClassRows
from medtrain.export.runtime.inputs import Case
from medtrain.model import Ensemble
from medtrain.target import DataSpec, Decision
from medtrain.target.event import Event
from medtrain.task.classification.portable import Judge, comparing, outputs_of

COX = Event(("died",), "months", horizons=(12.0, 24.5))
HAZARDS = replace(COX, head="hazards", cuts=(6.0, 14.0, 30.0))
DECISION = Decision(0.5, 1.3, {"risk": 0.55}, baseline={"5.0": 0.1, "13.0": 0.4, "20.0": 0.9})
ROWS = pd.DataFrame({"case": list("abcde"), "patient": list("pqrst")})


def written(target: Event, members: int) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The run's own table of five cases, and what the graph gives of them."""
    logits_NSK = np.random.default_rng(0).normal(size=(5, members, target.n_outputs))
    read = target.decided_by(DECISION)
    probs_NSC = np.stack([read.probabilities(logits_NSK[:, s], 1.3) for s in range(members)], 1)
    decided = read.predict(probs_NSC.mean(1), DECISION)
    table = read.table(read.predictions(ROWS, probs_NSC, decided, [0.55], None)).assign(error="")
    networks = [torch.nn.Identity() for _ in range(members)]
    own = DataSpec(target.decided_by(DECISION), 1, (2, 2))
    model: Any = networks[0] if members == 1 else Ensemble(networks, specs=[own] * members)
    task = SimpleNamespace(target=target, model=model, spec=SimpleNamespace(classes=target.classes))
    judged = Judge(task, ExportRequest(DECISION, {}))(torch.from_numpy(logits_NSK))
    assert comparing(task) is compare_risks
    return table, dict(zip(outputs_of(task), (output.numpy() for output in judged), strict=True))


@pytest.mark.parametrize("target", [COX, HAZARDS], ids=["cox", "hazards"])
@pytest.mark.parametrize("members", [1, 3])
def test_predict_writes_what_the_run_does(target: Event, members: int, tmp_path: Path) -> None:
    table, outputs = written(target, members)
    assert ("uncertainty" in outputs) == (members > 1)
    table.to_csv(tmp_path / "own.csv", index=False)
    cases = [Case(case, patient, "") for case, patient in ROWS.itertuples(index=False)]
    rows = ClassRows(cases, target.to_dict())
    rows.add(range(5), outputs)
    assert rows.close(tmp_path / "other.csv") == 0
    parity = compare_risks(tmp_path / "own.csv", tmp_path / "other.csv", Limits(1e-9))
    assert (parity.cases, parity.faults, parity.changed) == (5, [], [])
    assert parity.largest < 1e-12


def test_what_differs_is_named(tmp_path: Path) -> None:
    table, _ = written(COX, 1)
    table.to_csv(tmp_path / "own.csv", index=False)
    for column, change in (("surv_12", 1e-4), ("risk", 1e-3)):
        table.assign(**{column: table[column] + change}).to_csv(tmp_path / "other.csv", index=False)
        faults = compare_risks(tmp_path / "own.csv", tmp_path / "other.csv", Limits(1e-5)).faults
        assert len(faults) == 5 and faults[0].startswith(f"a: {column} ")
    other = {"low": "high", "high": "low"}
    table.assign(risk_group=[other[group] for group in table["risk_group"]]).to_csv(tmp_path / "other.csv", index=False)
    parity = compare_risks(tmp_path / "own.csv", tmp_path / "other.csv", Limits(1e-5, thresholds={"risk": 0.55}))
    away = abs(1 / (1 + np.exp(-table["risk"][0])) - 0.55)
    assert len(parity.faults) == 5 and f"{away:.2g} from where it tips" in parity.faults[0]
