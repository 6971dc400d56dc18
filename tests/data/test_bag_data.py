"""Bag data from tables: spec, statistics, patients, and everything wrong told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.bags import BagData
from medtrain.inspection import inspect_data
from medtrain.io.csv_bags import is_csv_bags, read_csv_bags

CFG: dict[str, Any] = {"name": "feature_bags", "batch_size": 4, "instances": 100, "standardise": True, "unit": "slide"}


def bag(file: Path, features: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as h5:
        h5["features"] = features.astype(np.float32)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """40 slides of 20 patients, by their names alone; half of the patients are positive."""
    draw = np.random.default_rng(0)
    rows = ["slide_id,label,patient"]
    for n in range(40):
        bag(tmp_path / "bags" / f"s{n}.h5", draw.normal(n % 3, 1 + n % 2, (n % 7 + 1, 6)))
        rows.append(f"s{n}.svs,{n // 2 % 2},p{n // 2}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def data(folder: Path, **more: Any) -> BagData:
    cfg = {**CFG, "table": str(folder / "table.csv"), "root": str(folder / "bags"), "cache_dir": str(folder / "cache")}
    made = BagData({**cfg, **more}, report=lambda text: None)
    return made


def test_a_label_table_finds_its_bags_by_name(folder: Path) -> None:
    made = data(folder)
    made.prepare()
    assert made.cases["case"].tolist() == [f"s{n}.svs" for n in range(40)]
    assert (made.spec.target.kind, made.spec.channels, made.spec.size) == ("binary", 6, ())
    seen = {}
    for batch in made.eval_dataloader("test"):
        parts = batch["x"].split(batch["offsets"].diff().tolist())
        seen |= dict(zip(batch["case"].tolist(), parts, strict=True))
    assert sorted(seen) == made.rows("test").tolist()
    for case, x in seen.items():
        with h5py.File(folder / "bags" / f"s{case}.h5") as h5:
            np.testing.assert_array_equal(x.numpy(), h5["features"][()])


def test_statistics_are_those_of_training_instances(folder: Path) -> None:
    made = data(folder)
    made.prepare()
    train = np.concatenate([made.bags.instances(int(n)) for n in made.rows("train")])
    np.testing.assert_allclose(made.spec.mean, train.mean(0), rtol=1e-5)
    np.testing.assert_allclose(made.spec.std, train.std(0), rtol=1e-5)
    whole = data(folder, standardise=False)
    whole.prepare()
    assert whole.spec.mean == ()


def test_slides_of_a_patient_are_one_case(folder: Path) -> None:
    made = data(folder, unit="patient")
    made.prepare()
    assert len(made.cases) == 20
    assert made.lengths.sum() == sum(n % 7 + 1 for n in range(40))
    assert made.lengths[3] == 6 % 7 + 1 + (7 % 7 + 1)


def test_patients_whose_slides_disagree_are_named(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("s5.svs,0", "s5.svs,1").replace("s9.svs,0", "s9.svs,1"))
    with pytest.raises(DataError) as caught:
        data(folder, unit="patient").prepare()
    told = str(caught.value)
    assert "2 label_conflict" in told and "row 7" in told and "row 6" in told and "'p2'" in told and "'p4'" in told


def test_a_patient_needs_a_name(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.columns\.patient"):
        data(folder, unit="patient", columns={"patient": "none"}).prepare()


def test_all_bad_bags_are_listed_and_can_be_left_out(folder: Path) -> None:
    bad = np.ones((3, 6))
    bad[1, 2] = np.inf
    bag(folder / "bags" / "s1.h5", bad)
    bag(folder / "bags" / "s4.h5", np.ones((0, 6)))
    bag(folder / "bags" / "s6.h5", np.ones((3, 5)))
    (folder / "bags" / "s8.h5").unlink()
    with pytest.raises(DataError) as caught:
        data(folder).prepare()
    told = str(caught.value)
    for words in (
        "row 3",
        "1 of 3 instances",
        "row 6",
        "empty bag",
        "row 8",
        "5 features, where most bags have 6",
        "s8.svs.h5",
    ):
        assert words in told
    left = data(folder, on_bad="skip")
    left.prepare()
    assert len(left.cases) == 36
    found = inspect_data(data(folder))
    assert {f.problem.kind for f in found.findings if f.problem.severity == "error"} == {"unreadable", "missing"}


def test_a_bad_slide_of_a_patient_leaves_the_others(folder: Path) -> None:
    bag(folder / "bags" / "s4.h5", np.ones((0, 6)))
    made = data(folder, unit="patient", on_bad="skip")
    made.prepare()
    assert len(made.cases) == 20
    assert made.lengths[2] == 5 % 7 + 1


def test_inspect_tells_sizes_and_odd_bags(folder: Path) -> None:
    bag(folder / "bags" / "s6.h5", np.ones((200, 6)))
    found = inspect_data(data(folder))
    assert found.images["instances"]["largest"] == 200
    assert found.images["instance"] == [6]
    assert [f.problem.kind for f in found.findings if f.rows == (6,)] == ["constant"]


def test_clams_table_names_patients_by_case_id(folder: Path) -> None:
    table = folder / "table.csv"
    table.write_text(table.read_text().replace("patient", "case_id", 1))
    made = data(folder)
    made.prepare()
    assert made.cases["patient"].nunique() == 20


CSV = "1,a,0.5,1,2\n1,a,0.25,3,4\n0,b,1,5,6\n"


@pytest.mark.parametrize("header", ["", "label,bag,f1,f2,f3\n"])
def test_csv_bags(tmp_path: Path, header: str) -> None:
    file = tmp_path / "b.csv"
    file.write_text(header + CSV)
    assert is_csv_bags(file)
    bags = read_csv_bags(file)
    assert (bags.names, bags.labels, bags.lengths.tolist()) == (["a", "b"], ["1", "0"], [2, 1])
    np.testing.assert_array_equal(bags.instances(0), [[0.5, 1, 2], [0.25, 3, 4]])
    assert bags.first == ([2, 4] if header else [1, 3])


def test_a_label_table_is_no_csv_of_bags(folder: Path) -> None:
    assert not is_csv_bags(folder / "table.csv")


def test_columns_beside_names_of_files_are_no_features(folder: Path) -> None:
    """A table of `label,slide,age` looks like a CSV of bags with one feature, the age."""
    rows = (folder / "table.csv").read_text().splitlines()[1:]
    lines = [
        "label,slide_id,age",
        *(f"{label},{name},{n}" for n, (name, label, _) in enumerate(r.split(",") for r in rows)),
    ]
    (folder / "ages.csv").write_text("\n".join(lines) + "\n")
    assert is_csv_bags(folder / "ages.csv")
    made = data(folder, table=str(folder / "ages.csv"))
    made.prepare()
    assert (made.spec.channels, int(made.lengths.max())) == (6, 7)
    beside = (folder / "ages.csv").rename(folder / "bags" / "ages.csv")
    made = data(folder, table=str(beside), root=None)
    made.prepare()
    assert made.spec.channels == 6


def test_a_csv_of_bags_is_read_for_prediction_where_training_had_files(folder: Path) -> None:
    made = data(folder)
    made.prepare()
    (folder / "new.csv").write_text("label,bag,f1,f2,f3,f4,f5,f6\n1,a,1,2,3,4,5,6\n1,a,6,5,4,3,2,1\n")
    inputs = BagData.for_inputs(made.cfg, made.spec, folder / "new.csv")
    assert inputs.cases["case"].tolist() == ["a"] and inputs.errors == {} and inputs.lengths.tolist() == [2]


def test_what_is_wrong_in_csv_bags_is_told_with_rows(tmp_path: Path) -> None:
    file = tmp_path / "b.csv"
    file.write_text(CSV + "1,b,1,1,1\n0,c,1,,1\n1,d,1,1,1\n")
    with pytest.raises(DataError) as caught:
        BagData({**CFG, "table": str(file)}, report=lambda text: None).prepare()
    told = str(caught.value)
    assert "b.csv row 4" in told and "row 3 of the same bag 'b'" in told
    assert "column 4 of row 5" in told


def test_musk1(test_data: Path) -> None:
    made = BagData({**CFG, "table": str(test_data / "mil" / "musk1.csv")}, report=lambda text: None)
    made.prepare()
    assert (len(made.cases), made.spec.channels, int(made.lengths.sum())) == (92, 166, 476)
    assert made.targets is not None and made.targets.sum() == 47


def test_tiles_of_one_place_are_found(folder: Path) -> None:
    with h5py.File(folder / "bags" / "s3.h5", "a") as h5:
        h5["coords"] = np.array([[0, 0], [0, 256], [0, 0], [256, 0]])
    found = [finding.problem for finding in inspect_data(data(folder)).findings]
    assert [problem.detail for problem in found if problem.kind == "repeated_tile"] == [
        "1 of 4 tiles lie where another one does: they count twice"
    ]
