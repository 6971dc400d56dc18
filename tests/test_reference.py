"""scripts/reference.py: its page is what it wrote, its rows compose, and figures are read from a run's files."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from medtrain.config.compose import compose
from tests.repository import ROOT


@pytest.fixture(scope="module")
def reference() -> ModuleType:
    sys.path.append(str(ROOT / "scripts"))  # last: another package is called coverage, too
    return importlib.import_module("reference")


def test_the_page_holds_what_the_script_wrote_and_nothing_else(reference: ModuleType) -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(reference.kept())


def test_names_are_each_of_one_row_and_all_rows_compose(reference: ModuleType) -> None:
    names = [model.name for model in reference.MODELS]
    assert len(set(names)) == len(names)
    for model in reference.MODELS:
        cfg = compose(model.command("full").format(data="DATA").split()).cfg
        assert cfg.model._target_.startswith("medtrain.model."), model.name
        assert cfg.trainer.max_epochs == int(model.command("full").rpartition("=")[2])


def done(reference: ModuleType, folder: Path, folds: bool = False):
    """Fabricate the files of a row's runs, and read them."""
    model = next(model for model in reference.MODELS if bool(model.data.folds) == folds)
    test = {"n_cases": 1000, "n_patients": 40, "metrics": {
        "accuracy": {"value": 0.5, "ci95": [0.4, 0.6]}, "auroc": {"value": 0.75, "ci95": [0.625, 0.875]}}}  # fmt: skip
    record = {"epoch": 3, "wall_time_s": 30.0, "unit": "slides", "peak_memory_mb": {"process": 900.0, "gpu": 200.0},
              "devices": {"accelerator": "cuda", "count": 1, "name": "Some GPU"}, "started": "2026-01-02T03:04:05",
              "versions": {"medtrain": "9.8.7", "torch": "6.5.4"}}  # fmt: skip
    place = folder / ("row_folds" if folds else "row")
    place.mkdir()
    (place / "test_metrics.json").write_text(json.dumps(test))
    runs = [folder / "row" / str(i) for i in range(3)] if folds else [place]
    for rate, run in zip((10.0, 50.0, 20.0), runs, strict=False):
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.json").write_text(json.dumps(record | {"images_per_s": rate, "epoch": int(rate)}))
    return reference.read(model, "short", place, 1.25)


def test_a_row_is_read_from_its_run(reference: ModuleType, tmp_path: Path) -> None:
    row = done(reference, tmp_path)
    assert reference.written(row).split("|")[3:-1] == [
        " AUROC 0.750 (0.625 to 0.875) ", " 1,000 of 40 patients ", " 10 ", " 200 ", " 30 s ", " 10 slides ",
        " 1 x Some GPU (1.2) ",
    ]  # fmt: skip


def test_a_row_of_folds_adds_their_time_and_takes_the_median_of_their_rates(
    reference: ModuleType, tmp_path: Path
) -> None:
    row = done(reference, tmp_path, folds=True)
    assert (row.seconds, row.rate, row.epochs, row.memory_mb) == (90.0, 20.0, 50, 200.0)


def test_rows_that_were_not_run_so_are_listed(reference: ModuleType, tmp_path: Path) -> None:
    row = done(reference, tmp_path)
    shown, missing = reference.page([row]).split("## Not run")
    assert reference.written(row) in shown and f"| {row.name} | short |" not in missing
    row.command += " optimizer.lr=1"  # the script's settings have changed since
    shown, missing = reference.page([row]).split("## Not run")
    assert reference.written(row) not in shown and f"| {row.name} | short |" in missing


def test_how_long_a_row_takes_is_told_by_epochs_of_its_other_one(reference: ModuleType, tmp_path: Path) -> None:
    row = done(reference, tmp_path)
    model = next(model for model in reference.MODELS if model.name == row.name)
    assert reference.minutes(model, "full", [row]).endswith("a guess")  # of a GPU
    row.hardware = "Some CPU, 1 of 2 cores"
    times = model.epochs("full") / model.epochs("short")
    assert reference.minutes(model, "full", [row]) == f"{0.5 * times:.0f}, by its other row"
