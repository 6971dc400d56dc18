"""Segmentation by the command: a run on masks of a phantom, label maps on the images' own grids, predictions."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from tests.integration.conftest import TINY_MASKS, Ran


def test_a_run_and_what_it_predicts(medtrain: Callable[..., Ran], folder: Path) -> None:
    ran = medtrain(*TINY_MASKS, "hydra.run.dir=run")
    assert ran.code == 0, ran.out + ran.err
    assert "the plan, from the training cases" in ran.out and "dice" in ran.out
    metrics = json.loads((folder / "run" / "test_metrics.json").read_text())
    assert {"dice", "iou", "nsd", "hd95", "lesion_f1"} <= set(metrics["metrics"]) and metrics["tolerance_mm"] == 2
    table = pd.read_csv(folder / "run" / "test_predictions.csv")
    assert len(table) == metrics["n_cases"] and not (folder / "run" / ".masks").exists()
    listed = pd.read_csv(folder / "run" / "splits.csv").set_index("case")
    for case, mask, ml in zip(table["case"], table["mask"], table["volume_ml_nodule"], strict=True):
        assert listed.loc[case, "split"] == "test"
        label = nib.load(folder / "run" / mask)
        voxel_ml = abs(np.linalg.det(label.affine[:3, :3])) / 1000
        assert (np.asarray(label.dataobj) > 0).sum() * voxel_ml == pytest.approx(ml, rel=1e-4)
    assert pd.read_csv(folder / "run" / "val_predictions.csv")["mask"].isna().all()  # whose label maps are not kept
    assert medtrain("test", "run=run").code == 0
    tested = json.loads((folder / "run" / "test_test" / "test_metrics.json").read_text())
    assert tested["metrics"]["dice"]["value"] == pytest.approx(metrics["metrics"]["dice"]["value"])
    pd.testing.assert_frame_equal(pd.read_csv(folder / "run" / "test_test" / "test_predictions.csv"), table)
    source = next(p for p in Path(str(folder)).rglob("masks/*.nii.gz"))
    predicted = medtrain("predict", "run=run", f"input={source}", "output=p.csv")
    assert predicted.code == 0, predicted.err
    row = pd.read_csv(folder / "p.csv").iloc[0]
    made, given = nib.load(folder / row["mask"]), nib.load(source)
    assert made.shape == given.shape
    np.testing.assert_allclose(made.affine, given.affine)

    pytest.importorskip("onnxruntime")
    exported = medtrain("export", "run=run", "output=made", "export.cases=2")
    assert exported.code == 0, exported.err
    assert "0 of" in exported.out and "voxels have another label" in exported.out
    parity = json.loads((folder / "made" / "parity.json").read_text())
    assert (parity["voxels_apart"], parity["voxels"] > 10_000) == (0, True)
    facts = json.loads((folder / "made" / "model.json").read_text())
    pytest.importorskip("jsonschema").validate(facts, json.loads((folder / "made" / facts["$schema"]).read_text()))
    again = medtrain("predict", "run=made", f"input={source}", "output=q.csv")
    assert again.code == 0, again.err
    other = pd.read_csv(folder / "q.csv").iloc[0]
    assert other["volume_ml_nodule"] == row["volume_ml_nodule"]
    np.testing.assert_array_equal(np.asarray(nib.load(folder / other["mask"]).dataobj), np.asarray(made.dataobj))
