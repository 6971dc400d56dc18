"""inspect of volumes: geometry that gives classes away, masks, bad files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from medtrain.inspection import inspect_data
from medtrain.inspection.volumes import shortcuts
from tests.data.test_volume_data import volumes
from tests.volumes import nodules, save


def test_what_gives_classes_away_is_measured() -> None:
    draw = np.random.default_rng(0)
    label = draw.integers(0, 2, 300).astype(float)
    telling, silent = label + draw.normal(0, 1, 300), draw.normal(0, 1, 300)
    labels_NC, used = np.stack([1 - label, label], 1), np.ones(300, bool)
    (found,) = shortcuts({"extent": -telling, "noise": silent}, labels_NC, ("benign", "malignant"), used)
    assert f"AUROC of {roc_auc_score(label, telling):.3f}" in found.problem.detail
    assert found.problem.kind == "shortcut"


def test_a_table_of_volumes(tmp_path: Path) -> None:
    table = nodules(tmp_path)
    rows = pd.read_csv(table)
    for n in range(1, len(rows), 2):  # the positive ones are longer
        voxels = np.random.default_rng(n).integers(-1000, 100, (12, 12, 20)).astype(np.int16)
        save(tmp_path / rows["image"][n], voxels)
        save(tmp_path / rows["mask"][n], (voxels > 0).astype(np.uint8))
    save(tmp_path / rows["mask"][3], np.zeros((12, 12, 20), np.uint8))
    (tmp_path / rows["image"][4]).write_bytes(b"")
    found = inspect_data(volumes(table, tmp_path / "cache", center="volume"))
    kinds = {finding.problem.kind for finding in found.findings}
    assert {"unreadable", "shortcut", "empty_mask"} <= kinds
    severity = {f.problem.severity for f in found.findings if f.problem.kind == "empty_mask" and 3 in f.rows}
    assert severity == {"warning"}
    assert found.images["size"]["largest"] == [12, 12, 20] and found.images["masks"] == len(rows) - 1
    picture = found.picture(1)
    assert picture is not None and picture.shape == (1, 8, 8) and picture.dtype == np.uint8
    assert found.picture(4) is None
