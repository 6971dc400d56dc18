"""Tables of patients and of slides, put together by patient."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.bags import BagData
from tests.data.test_bag_data import CFG, bag

Tables = tuple[pd.DataFrame, pd.DataFrame]


@pytest.fixture
def tables(tmp_path: Path) -> Tables:
    """30 patients with two slides each."""
    for n in range(60):
        bag(tmp_path / "bags" / f"s{n}.h5", np.random.default_rng(n).normal(size=(3, 4)))
    ids = [f"p{n:02d}" for n in range(30)]
    status = ["MSIH" if n % 2 else "nonMSIH" for n in range(30)]
    clini = pd.DataFrame({"PATIENT": ids, "isMSIH": status, "AGE": range(30, 60)})
    slide = {"FILENAME": [f"s{n}.h5" for n in range(60)], "PATIENT": [ids[n // 2] for n in range(60)]}
    return clini, pd.DataFrame(slide)


def data(folder: Path, tables: Tables, form: str = "csv", **more: Any) -> tuple[BagData, list[str]]:
    files = [folder / f"{name}.{form}" for name in ("clini", "slide")]
    for file, table in zip(files, tables, strict=True):
        table.to_csv(file, index=False) if form == "csv" else table.to_excel(file, index=False)
    cfg = {**CFG, "table": str(files[0]), "slide_table": str(files[1]), "root": str(folder / "bags")}
    cfg["positive"] = "MSIH"
    told: list[str] = []
    cfg |= {"columns": {"label": "isMSIH"}, "cache_dir": str(folder / "cache")}
    made = BagData({**cfg, **more}, report=told.append)
    made.prepare()
    return made, told


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_each_slide_has_its_patients_label(tmp_path: Path, tables: Tables, form: str) -> None:
    if form == "xlsx":
        pytest.importorskip("openpyxl")
    made, _ = data(tmp_path, tables, form)
    truth = dict(zip(tables[0]["PATIENT"], tables[0]["isMSIH"], strict=True))
    cases = made.cases
    assert len(cases) == 60 and cases["patient"].nunique() == 30
    classes = made.spec.classes
    y = np.asarray(made.y(range(60))).ravel().astype(int)
    assert [classes[n] for n in y] == [truth[p] for p in cases["patient"]]
    assert (cases.groupby("patient")["split"].nunique() == 1).all()


def test_patients_of_several_slides_are_one_case(tmp_path: Path, tables: Tables) -> None:
    made, _ = data(tmp_path, tables, unit="patient")
    assert len(made.cases) == 30 and sorted(map(len, made.members)) == [2] * 30


def test_what_has_no_partner_is_counted(tmp_path: Path, tables: Tables) -> None:
    clini, slide = tables
    slide.loc[[0, 1, 7], "PATIENT"] = ["P00", "", "q"]
    _, told = data(tmp_path, (clini, slide))
    text = "\n".join(told)
    assert "3 slides are left out" in text and "slide.csv row 2" in text and "1 patients among them" in text
    assert "1 patients have no slide" in text and "'p00'" in text


def test_ages_of_patients_are_numbers_to_a_filter(tmp_path: Path, tables: Tables) -> None:
    made, _ = data(tmp_path, tables, filter="AGE >= 40")
    assert len(made.cases) == 40


def test_patients_that_come_twice_are_refused_where_they_differ(tmp_path: Path, tables: Tables) -> None:
    clini, slide = tables
    again = pd.concat([clini, clini.iloc[:1]])
    assert len(data(tmp_path, (again, slide))[0].cases) == 60
    again.iloc[-1, 1] = "MSIH"
    with pytest.raises(DataError, match="more than once"):
        data(tmp_path, (again, slide))


def test_tables_that_do_not_meet_are_refused(tmp_path: Path, tables: Tables) -> None:
    clini, slide = tables
    with pytest.raises(DataError, match="no patient in common"):
        data(tmp_path, (clini, slide.assign(PATIENT="x" + slide["PATIENT"])))
    with pytest.raises(UsageError, match="data.columns.patient: slide.csv"):
        data(tmp_path, (clini, slide.rename(columns={"PATIENT": "who"})))
    with pytest.raises(DataError, match="'isMSIH' .* differ in 30 rows"):
        data(tmp_path, (clini, slide.assign(isMSIH="MSIH")))


def test_slides_of_a_patient_have_one_value_beside_them(tmp_path: Path, tables: Tables) -> None:
    clini, slide = tables
    made, _ = data(tmp_path, tables, unit="patient", covariates=["AGE"])
    assert made.columns is not None and made.columns.shape == (30, 1)
    batch = next(iter(made.train_dataloader()))
    assert batch["columns"].shape == (len(batch["offsets"]) - 1, 1)
    with pytest.raises(DataError, match="another STAIN than"):
        stained = (clini, slide.assign(STAIN=[n % 3 for n in range(60)]))
        data(tmp_path, stained, unit="patient", covariates=["STAIN"])
