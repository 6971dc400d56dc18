"""Precision to expect of a test split, as `inspect` tells it."""

from __future__ import annotations

import pytest
from rich.console import Console

from medtrain.metric.precision import auroc_error, share_limits
from medtrain.report.precision import precision_table, precision_to_expect
from medtrain.target import DataSpec

SPLITS = {"test": {"images": 300, "patients": 100}}
ROW = {"images": 60, "patients": 30, "negatives": 240}


def test_events_of_the_test_split_count_by_patient() -> None:
    """60 events of 30 patients are worth 40, 240 others of three a patient 120."""
    spec = DataSpec.of("binary", ("well", "sick"), 1, (8, 8))
    found = precision_to_expect(spec, {"test": {"well": ROW, "sick": ROW}}, SPLITS)
    assert list(found) == ["sick"]
    half = 1.96 * auroc_error(0.8, 40, 120)
    assert found["sick"]["auroc"]["ci95"] == pytest.approx([0.8 - half, 0.8 + half], abs=1e-4)
    assert found["sick"]["sensitivity"]["ci95"] == pytest.approx(share_limits(0.8, 40))
    assert found["sick"]["specificity"]["ci95"] == pytest.approx(share_limits(0.8, 120))


def test_the_table_has_a_row_a_class() -> None:
    spec = DataSpec.of("multiclass", tuple(f"class {n}" for n in range(25)), 1, (8, 8))
    none = ROW | {"images": 0, "patients": 0}
    rows = {name: none if name == "class 3" else ROW for name in spec.classes}
    console = Console(width=200, record=True)
    console.print(precision_table(precision_to_expect(spec, {"test": rows}, SPLITS)))
    told = console.export_text()
    assert "AUROC of 0.8" in told and "... 25 classes in all" in told and "n/a" in told


def test_nothing_is_expected_without_a_test_split_or_of_boxes() -> None:
    assert precision_to_expect(DataSpec.of("binary", ("a", "b"), 1, (8, 8)), {"train": {"b": ROW}}, SPLITS) == {}
    assert precision_to_expect(DataSpec.of("boxes", ("a",), 1, (8, 8)), {"test": {"a": ROW}}, SPLITS) == {}
