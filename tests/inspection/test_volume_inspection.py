"""inspect of volumes: geometry that gives classes away, masks, bad files."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy import ndimage
from sklearn.metrics import roc_auc_score

from medtrain.inspection import inspect_data
from medtrain.inspection.volumes import correlates, shortcuts
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


def test_what_goes_with_a_quantity_is_measured() -> None:
    draw = np.random.default_rng(0)
    value = draw.normal(0, 1, 300)
    features = {"extent": -np.exp(value + draw.normal(0, 1, 300)), "noise": draw.normal(0, 1, 300)}
    features["alike"] = np.ones(300)
    value[:5] = np.nan
    used = np.arange(300) < 290
    (found,) = correlates(features, value, ["diameter_mm"], used)
    rho = pd.Series(features["extent"][5:290]).rank().corr(pd.Series(value[5:290]).rank())
    assert found.problem.kind == "shortcut" and found.problem.where == "extent"
    assert rho < -0.6 and f"goes with 'diameter_mm' (Spearman's correlation {rho:.2f})" in found.problem.detail
    assert not correlates(features, value, ["diameter_mm"], np.arange(300) < 12)  # of seven cases it may be chance


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


def test_volumes_that_look_the_same_and_what_readers_note(tmp_path: Path) -> None:
    """A copy resampled, one with noise, one in other units and one cut by a voxel; and what headers leave in doubt."""
    draw = np.random.default_rng(0)
    bodies = [ndimage.gaussian_filter(draw.normal(size=(48, 40, 32)), 5) * 9000 for _ in range(12)]
    files = [save(tmp_path / f"{n:02d}.nii.gz", body.astype(np.float32)) for n, body in enumerate(bodies)]
    copies = {
        "resampled": (ndimage.zoom(bodies[0], (0.5, 0.5, 1), order=1, grid_mode=True, mode="nearest"), (2.0, 2.0, 1.0)),
        "noisy": (bodies[1] + draw.normal(0, 10, bodies[1].shape), (1.0, 1.0, 1.0)),
        "units": (bodies[2] * 0.013 + 5, (1.0, 1.0, 1.0)),
        "cut": (bodies[3][1:, :], (1.0, 1.0, 1.0)),
    }
    files += [save(tmp_path / f"{name}.nii", x.astype(np.float32), spacing) for name, (x, spacing) in copies.items()]
    files.append(save(tmp_path / "equal.nii", bodies[4].astype(np.float64)))  # the same content: a duplicate
    files.append(save(tmp_path / "flat.nii", np.full((9, 9, 9), 3, np.int16)))
    spiked = bodies[11].copy()
    spiked[0, 0, 0] = 1e9
    save(files[11], spiked.astype(np.float32))
    unplaced = nib.Nifti1Image(bodies[10].astype(np.float32), None)
    nib.save(unplaced, files[10])
    table = pd.DataFrame({"image": [str(file) for file in files], "label": np.arange(len(files)) % 2})
    table.to_csv(tmp_path / "t.csv", index=False)
    data = volumes(tmp_path / "t.csv", tmp_path / "cache", window=None, patch_size=8)
    inspected = inspect_data(data)
    rows: dict[str, list[tuple[int, ...]]] = {}
    for finding in inspected.findings:
        rows.setdefault(finding.problem.kind, []).append(finding.rows)
    assert sorted(rows["near_duplicate"]) == [(n, 12 + n) for n in range(4)]
    assert (4, 16) in rows["duplicate"] + rows.get("label_conflict", [])
    assert rows["constant"] == [(17,)] and rows["extreme"] == [(11,)] and rows["no_place"] == [(10,)]
    apart = inspect_data(volumes(tmp_path / "t.csv", tmp_path / "cache", window=None, patch_size=8), near=False)
    assert "near_duplicate" not in {finding.problem.kind for finding in apart.findings}
