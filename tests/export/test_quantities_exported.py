"""Quantities in an export: what its graph says, what predict.py writes of it, and how both are compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.export.parity import Limits, compare_values
from medtrain.export.runtime.classes import ClassRows
from medtrain.export.runtime.inputs import Case
from medtrain.target.ordinal import Ordinal
from medtrain.target.value import Value

TARGET = replace(Value(("a", "b"), "mm", (10.0, 1.0), (2.0, 0.5)), spread=True)


@pytest.mark.parametrize("members", [1, 3])
def test_the_graph_says_what_the_target_says(members: int) -> None:
    logits = np.random.default_rng(0).normal(size=(5, members, 4))
    probs_NSC = np.stack([TARGET.probabilities(logits[:, s]) for s in range(members)], 1)
    rows = pd.DataFrame({"case": list("abcde"), "patient": list("abcde")})
    wanted = TARGET.predictions(rows, probs_NSC, TARGET.decide(probs_NSC.mean(1)), [], None)
    read = TARGET.probabilities_of(torch.from_numpy(logits))
    ours = TARGET.together_of(read)
    assert np.allclose(ours.numpy(), wanted.probs, atol=1e-12)
    assert np.allclose(TARGET.decision_of(ours, torch.empty(0)).numpy(), wanted.predicted, atol=1e-12)
    if members > 1:
        assert np.allclose(TARGET.disagreement_of(read, ours).numpy(), wanted.doubt, atol=1e-12)


def test_predict_writes_the_columns_of_the_run(tmp_path: Path) -> None:
    probs = TARGET.probabilities(np.random.default_rng(1).normal(size=(2, 4)))
    rows = pd.DataFrame({"case": ["x", "y"], "patient": ["x", "y"]})
    own = TARGET.table(TARGET.predictions(rows, probs[:, None], TARGET.decide(probs), [], None)).assign(error="")
    own.to_csv(tmp_path / "own.csv", index=False)
    written = ClassRows([Case("x", "x", ""), Case("y", "y", "")], TARGET.to_dict())
    written.add([0, 1], {"readings": probs, "decision": probs[:, :2]})
    assert written.close(tmp_path / "other.csv") == 0
    parity = compare_values(tmp_path / "own.csv", tmp_path / "other.csv", Limits(1e-9))
    assert not parity.faults and parity.largest < 1e-12
    moved = pd.read_csv(tmp_path / "other.csv")
    moved["prediction_a"] += 0.1
    moved.to_csv(tmp_path / "moved.csv", index=False)
    assert compare_values(tmp_path / "own.csv", tmp_path / "moved.csv", Limits(1e-5)).faults


def test_maps_of_grades_are_made_for_an_output_that_there_is() -> None:
    numbers = torch.arange(4)
    assert Ordinal(("1", "2", "3", "4"), "coral").outputs_for(numbers).tolist() == [0, 0, 1, 2]
    assert Ordinal(("1", "2", "3", "4")).outputs_for(numbers).tolist() == [0, 1, 2, 3]
    assert Value(("a",)).outputs_for(torch.zeros(2, dtype=torch.long)).tolist() == [1, 1]
