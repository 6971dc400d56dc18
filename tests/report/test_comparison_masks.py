"""Compare of segmentations: paired differences of Dice on the cases that two runs share."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from medtrain.core.errors import UsageError
from medtrain.metric import EvalOptions
from medtrain.metric.mask_overlap import MEASURED, evaluate_masks
from medtrain.metric.mask_table import columns_of
from medtrain.report.comparison import compare, read_compared
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

CLASSES = ("a", "b")


def measured(share: float, cases: int = 30, seed: int = 0) -> np.ndarray:
    """Make what `measure` could have given: about `share` of the voxels of masks of the same sizes are right."""
    true = np.random.default_rng(7).integers(100, 200, (cases, 2)).astype(float)
    both = np.floor(true * np.clip(share + np.random.default_rng(seed).normal(0, 0.02, (cases, 2)), 0, 1))
    nsd, hd95, one = both / true, 5 - 4 * both / true, np.ones_like(true)
    rows = [both, true, true, nsd, hd95, true / 1000, true / 1000, one, one, one, one]
    assert len(rows) == len(MEASURED)
    return np.stack(rows, -1)


def run(folder: Path, rows: np.ndarray, first: int = 0) -> Path:
    folder.mkdir()
    names = [f"c{n + first}" for n in range(len(rows))]
    table = pd.DataFrame({"case": names, "patient": names, "mask": ""}).assign(**columns_of(rows, CLASSES))
    table.to_csv(folder / "test_predictions.csv", index=False)
    spec = DataSpec(MaskTarget(CLASSES), 1, (8, 8, 8), (1.0, 1.0, 1.0)).to_dict()
    facts = {"status": "finished", "verb": "train", "task": "volume_seg", "model": folder.name, "spec": spec}
    (folder / "run.json").write_text(json.dumps(facts))
    judged = evaluate_masks(rows, CLASSES, names, EvalOptions(bootstrap=50))
    (folder / "test_metrics.json").write_text(json.dumps({"split": "test", "n_cases": len(rows), **judged}))
    return folder


def test_differences_are_paired(tmp_path: Path) -> None:
    rows = measured(0.80, seed=1), measured(0.85, seed=2)
    runs = [read_compared(run(tmp_path / name, own)) for name, own in zip(("low", "high"), rows, strict=True)]
    compared = compare(runs, bootstrap=500)  # type: ignore[arg-type]
    assert compared["metric"] == "dice"
    [difference] = compared["differences"]
    entry = difference["metrics"]["dice"]
    dice = [2 * own[..., 0] / (own[..., 1] + own[..., 2]) for own in rows]
    assert entry["value"] == pytest.approx((dice[1] - dice[0]).mean())
    assert entry["ci95"][0] > 0.03 and entry["p"] < 0.01
    assert difference["per_class"]["b"]["dice"]["value"] == pytest.approx((dice[1] - dice[0])[:, 1].mean())
    assert difference["metrics"]["hd95"]["value"] < 0 and difference["n_patients"] == 30


def test_the_margin_knows_that_less_distance_is_better(tmp_path: Path) -> None:
    rows = measured(0.80, seed=1), measured(0.85, seed=2)
    runs = [read_compared(run(tmp_path / name, own)) for name, own in zip(("low", "high"), rows, strict=True)]
    compared = compare(runs, metric="hd95", bootstrap=500, margin=0.1)  # type: ignore[arg-type]
    assert compared["differences"][0]["metrics"]["hd95"]["p_worse"] < 0.05  # a smaller distance is not worse
    with pytest.raises(UsageError, match="more or less is better"):
        compare(runs, metric="volume_difference_ml", bootstrap=50, margin=0.1)  # type: ignore[arg-type]


def test_only_shared_cases_of_the_same_masks_are_compared(tmp_path: Path) -> None:
    one, other = measured(0.8, seed=1), measured(0.85, seed=2)
    runs = [read_compared(run(tmp_path / "one", one[:20])), read_compared(run(tmp_path / "other", other[10:], 10))]
    assert compare(runs, bootstrap=50)["differences"][0]["n_cases"] == 10  # type: ignore[arg-type]
    changed = other.copy()
    changed[3, 0, MEASURED.index("true_volume_ml")] += 0.01
    with pytest.raises(UsageError, match="other labels for 1 of 20"):
        compare([runs[0], read_compared(run(tmp_path / "changed", changed))], bootstrap=50)  # type: ignore[list-item]
