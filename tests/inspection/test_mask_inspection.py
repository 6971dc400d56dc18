"""Masks inspected: figures that follow from how they were drawn, and what is unlike the others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from medtrain.data.batches.masks import MaskData
from medtrain.inspection import Inspection, inspect_data
from medtrain.inspection.masks import Marked, marked_facts
from medtrain.report.mask_facts import mask_table
from tests.segmentations import halved_balls, segmentation


def inspected(table: Path, **keys: Any) -> Inspection:
    return inspect_data(MaskData(segmentation(table, **keys), report=lambda text: None), near=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return halved_balls(tmp_path, count=16)


def redrawn(table: Path, n: int, change: Any) -> None:
    file = table.parent / f"mask_{n}.nii.gz"
    image = nib.load(file)
    nib.save(nib.Nifti1Image(change(np.asarray(image.dataobj).copy()), image.affine), file)


def kinds(inspection: Inspection) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for finding in inspection.findings:
        found.setdefault(finding.problem.kind, []).extend(finding.rows)
    return found


def test_volumes_pieces_and_grey_levels_by_class(table: Path) -> None:
    inspection = inspected(table, classes=["left", "right"])
    assert not any(finding.problem.severity == "error" for finding in inspection.findings), inspection.findings
    facts = inspection.images["marked"]
    counts = [
        [int((np.asarray(nib.load(table.parent / f"mask_{n}.nii.gz").dataobj) == label).sum()) for n in range(16)]
        for label in (1, 2)
    ]
    for name, own in zip(("left", "right"), counts, strict=True):
        ml = np.quantile(np.array(own) * 1.5 / 1000, (0, 0.5, 1))
        assert list(facts[name]["ml"].values()) == pytest.approx(ml.round(4).tolist())
        assert facts[name]["cases"] == 16 and facts[name]["pieces"]["largest"] == 1
    assert facts["left"]["grey_within"]["median"] == pytest.approx(140, abs=5)
    assert facts["right"]["grey_within"]["median"] == pytest.approx(240, abs=5)
    assert facts["left"]["grey_outside"]["median"] == pytest.approx(40, abs=5)
    console = Console(width=160, record=True)
    console.print(mask_table(facts))
    assert "at the border" in console.export_text()


def test_masks_unlike_the_others_are_found(table: Path) -> None:
    def at_the_border(x: np.ndarray) -> np.ndarray:
        x[-1, 5:8, 5:8] = 2
        return x

    def tiny(x: np.ndarray) -> np.ndarray:
        place = np.argwhere(x == 1)[0]
        x[x == 1] = 0
        x[tuple(place)] = 1
        return x

    def specks(x: np.ndarray) -> np.ndarray:
        x[1:19:4, 1, 1:19:4] = 1
        return x

    redrawn(table, 3, at_the_border)
    redrawn(table, 4, tiny)
    redrawn(table, 5, specks)
    redrawn(table, 6, np.zeros_like)
    found = kinds(inspected(table))
    assert 3 in found["border"] and found["odd_volume"] == [4] and found["odd_pieces"] == [5]
    assert found["empty_mask"] == [6]


def test_a_mask_of_everything_is_told_and_nothing_else_is_lost(table: Path) -> None:
    redrawn(table, 3, lambda mask: np.ones_like(mask))
    inspection = inspected(table, classes=["left", "right"])
    assert kinds(inspection)["all_marked"] == [3]
    json.dumps(inspection.images["marked"], allow_nan=False)
    assert inspection.images["marked"]["left"]["cases"] == 16
    assert np.isfinite(inspection.images["marked"]["left"]["grey_outside"]["median"])
    assert marked_facts([([Marked(1.0, 1, True, 5.0)], None)], ["all"])["all"]["grey_outside"] is None


def test_what_training_refuses_is_an_error_here_and_the_rest_is_inspected(table: Path) -> None:
    redrawn(table, 2, lambda x: np.where(x == 2, 9, x).astype(np.uint8))
    redrawn(table, 7, lambda x: x[:-1])
    inspection = inspected(table, classes=["left", "right", "third"])
    errors = [finding for finding in inspection.findings if finding.problem.severity == "error"]
    assert sorted(row for finding in errors for row in finding.rows) == [2, 7]
    assert inspection.images["marked"]["left"]["cases"] == 14
    assert any("third" in finding.problem.detail for finding in inspection.findings)


def test_a_table_of_labels_and_masks_is_another_data_set(table: Path) -> None:
    rows = pd.read_csv(table).assign(label="a")
    rows.to_csv(table, index=False)
    assert inspected(table).images["marked"].keys() == {"1", "2"}
