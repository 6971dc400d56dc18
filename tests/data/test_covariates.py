"""Columns beside the image: how they are read, what is refused, and what training's split tells of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.core.covariates import Covariate, encoded, learned
from medtrain.core.errors import DataError, UsageError
from medtrain.data.base import Fixed
from medtrain.data.rows.covariate_cells import Columns, unlike_training
from medtrain.data.rows.covariates import read_columns, read_known
from medtrain.data.rows.manifest import Manifest, read_manifest
from medtrain.target import DataSpec
from tests.data.tables import config, opened, write_images

N = 24


def manifest_of(folder: Path, **columns: list[object]) -> Manifest:
    names = write_images(folder, N)
    patients = [f"p{n // 2}" for n in range(N)]
    table = pd.DataFrame({"path": names, "label": [n % 2 for n in range(N)], "patient": patients, **columns})
    table.to_csv(folder / "t.csv", index=False)
    return read_manifest(config(table=str(folder / "t.csv"), classes=["0", "1"]))


def read(folder: Path, cells: list[object], **cfg: object) -> Columns:
    return read_columns(manifest_of(folder, x=cells), {"covariates": ["x"], **cfg})


AGES: list[object] = [20 + (7 * n) % 31 + n / 10 for n in range(N)]


def test_numbers_and_categories_are_told_by_content(tmp_path: Path) -> None:
    ages: list[object] = [*AGES[:-3], "", "NA", "?"]
    sexes: list[object] = ["f", "m", "m"] * 7 + ["", "f", "unknown"]
    made = read_columns(manifest_of(tmp_path, age=ages, sex=sexes), {"covariates": ["sex", "age"]})
    assert dict(made.kinds) == {"sex": "category", "age": "number"}
    assert np.isnan(made.values["age"]).sum() == 3
    assert made.values["sex"].tolist()[-3:] == ["", "f", "unknown"]
    told = {notice.where: notice.detail for notice in made.notices if notice.kind == "missing_covariate"}
    assert told["age"].startswith("3 of 24 rows say nothing: blank (1)") and "'?' (1)" in told["age"]
    assert told["sex"].startswith("1 of 24 rows")


def test_numbers_with_some_faults_are_no_categories(tmp_path: Path) -> None:
    ages: list[object] = ["67y", *AGES[1:]]
    with pytest.raises(UsageError, match="23 numbers and 1 cells that are none, such as '67y' in t.csv row 2"):
        read(tmp_path, ages)
    made = read(tmp_path, ages, covariate_kinds={"x": "number"})
    assert [(row, problem.kind) for row, problem in made.bad] == [(0, "bad_covariate")]


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([f"id{n}" for n in range(N)], "like names of them"),
        ([f"MRN-{n // 2}" for n in range(N)], "like names of them"),  # one a patient
        (["ill" if n % 2 else "well" for n in range(N)], "says the same as the label"),
        ([3.5 - 2 * (n % 2) for n in range(N)], "says the same as the label"),
        ([f"p{n // 2}" for n in range(N)], "is the column of patients"),
        ([f"{n}.png" for n in range(N)], "is the column of cases"),
        (["", "NA"] * 12, "all cells of 'x' are blank"),
        (["M", "m", "f"] * 8, "differ by case or blanks alone"),
    ],
)
def test_what_names_cases_or_is_the_label_is_refused(tmp_path: Path, cells: list[object], said: str) -> None:
    with pytest.raises((UsageError, DataError), match=said):
        read(tmp_path, cells)


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([101 + n for n in range(N)], "like_names"),
        ([4210000 + 977 * n for n in range(N)], "like_names"),
        ([["a", "b", "c", "d"][n % 4] for n in range(N)], "decides_label"),
        ([*AGES[:-1], -999], "far_value"),
    ],
)
def test_what_looks_odd_is_told(tmp_path: Path, cells: list[object], kind: str) -> None:
    assert kind in [notice.kind for notice in read(tmp_path, cells).notices]


def test_ages_are_no_names(tmp_path: Path) -> None:
    assert not read(tmp_path, AGES).notices


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"covariates": ["age", "z"]}, "no column 'age'"),
        ({"covariates": ["x", "x"]}, "twice"),
        ({"covariates": ["x"], "covariate_kinds": {"y": "number"}}, "'y' is none of data.covariates"),
        ({"covariates": ["x"], "covariate_kinds": {"x": "numbers"}}, "did you mean 'number'"),
    ],
)
def test_keys_that_do_not_fit_are_refused(tmp_path: Path, cfg: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_columns(manifest_of(tmp_path, x=AGES), cfg)


AGE = learned("age", "number", np.array([40.0, 60.0, np.nan]))
SEX = learned("sex", "category", np.array(["m", "f", "", "m"], dtype=object))


def test_the_training_split_alone_tells_scale_and_vocabulary() -> None:
    assert Covariate("age", "number", 50.0, 10.0, 40.0, 60.0, missing=1) == AGE
    assert Covariate("sex", "category", categories=("f", "m"), missing=1) == SEX
    columns = torch.tensor([[60.0, 1.0], [float("nan"), 0.0], [45.0, float("nan")]])
    by_hand = [[1.0, 0, 0, 1, 0], [0, 1, 1, 0, 0], [-0.5, 0, 0, 0, 1]]
    assert encoded((AGE, SEX), columns).tolist() == by_hand
    assert SEX.coded(np.array(["m", "x", "f", ""], dtype=object)).tolist()[::2] == [1.0, 0.0]
    with pytest.raises(DataError, match="no case of the training split"):
        learned("age", "number", np.array([np.nan]))


def test_a_spec_keeps_them_and_old_specs_have_none() -> None:
    spec = DataSpec.of("binary", ("0", "1"), 1, (8, 8), covariates=(AGE, SEX))
    plain = spec.to_dict()
    assert DataSpec.from_dict(plain) == spec
    del plain["covariates"]
    assert DataSpec.from_dict(plain).covariates == ()


def test_a_trained_model_takes_what_a_table_lacks_as_missing(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, age=["47"] * 10 + ["old"] + ["400"] * 13)
    made = read_known(manifest, (AGE, SEX), merge_case=False, strict=False)
    assert made.lacking == ["sex"] and not made.bad
    assert set(made.values["sex"].tolist()) == {""} and np.isnan(made.values["age"]).sum() == 1
    assert {notice.kind for notice in made.notices} == {"no_covariate", "bad_covariate"}
    told = unlike_training((AGE, SEX), made, np.arange(N), "cases")
    assert [notice.detail for notice in told] == ["13 cases lie far outside training's 40 to 60: 400"]
    assert read_known(manifest, (AGE,), merge_case=False, strict=True).bad[0][0] == 10


def test_unseen_categories_are_told_and_unknown(tmp_path: Path) -> None:
    manifest = manifest_of(tmp_path, sex=["m", "F"] * 12)
    made = read_known(manifest, (SEX,), merge_case=False, strict=False)
    (told,) = unlike_training((SEX,), made, np.arange(N), "cases")
    assert "12 cases have values that training has not seen: 'F' (12)" in told.detail
    assert np.isnan(SEX.coded(made.values["sex"])).sum() == 12
    joined = read_known(manifest, (SEX,), merge_case=True, strict=False)
    assert not unlike_training((SEX,), joined, np.arange(N), "cases")


def prepared(folder: Path, **cfg: object) -> tuple[Any, list[str]]:
    sex, hue = ["f", "m", ""] * 8, ["a", "b", "b", "a"] * 6
    manifest_of(folder, age=AGES, sex=sex, hue=hue)
    told: list[str] = []
    node = config(table=str(folder / "t.csv"), image_size=12, **{"covariates": ["age", "sex"], **cfg})
    data = opened("image_table", node, report=told.append)
    data.prepare()
    return data, told


def test_batches_carry_what_the_training_split_has_scaled(tmp_path: Path) -> None:
    data, told = prepared(tmp_path)
    train = data.rows("train")
    ages = data.table["age"].to_numpy()
    assert data.spec.covariates[0].mean == pytest.approx(ages[train].mean())
    batch = next(iter(data.test_dataloader()))
    assert batch["columns"][:, 0].numpy() == pytest.approx(ages[batch["case"].numpy()].astype(np.float32))
    assert any("8 of 24 rows say nothing" in text for text in told)
    again = opened("image_table", data.cfg, fixed=Fixed(data.spec))
    again.prepare()
    assert again.spec.covariates == data.spec.covariates


def test_inputs_without_a_table_have_missing_columns(tmp_path: Path) -> None:
    data, _ = prepared(tmp_path)
    told: list[str] = []
    inputs = type(data).for_inputs(data.cfg, data.spec, tmp_path, report=told.append)
    assert np.isnan(inputs.columns).all() and inputs.columns.shape == (N, 2)
    assert any("no column 'age', 'sex'" in text for text in told)


@pytest.mark.parametrize("control", ["image", "covariates"])
def test_a_control_shuffles_one_half_within_the_splits(tmp_path: Path, control: str) -> None:
    plain, _ = prepared(tmp_path)
    data, told = prepared(tmp_path, control=control)
    assert any(text.startswith("CONTROL") for text in told)
    assert data.split_table().equals(plain.split_table())
    moved = data.slots if control == "image" else data.columns[:, 0]
    own = plain.slots if control == "image" else plain.columns[:, 0]
    assert not np.array_equal(moved, own)
    for split in ("train", "val", "test"):
        assert sorted(moved[data.rows(split)]) == sorted(own[data.rows(split)])
    stays, before = (data.columns, plain.columns) if control == "image" else (data.slots, plain.slots)
    assert np.array_equal(stays, before, equal_nan=control == "image")


@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"control": "noise"}, "data.control=noise is none of image, covariates"),
        ({"control": "covariates", "covariates": None}, "name some"),
    ],
)
def test_controls_that_are_none_are_refused(tmp_path: Path, cfg: dict[str, object], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        prepared(tmp_path, **cfg)


def test_other_columns_than_the_model_has_learned_are_refused(tmp_path: Path) -> None:
    data, _ = prepared(tmp_path)
    other = opened("image_table", {**data.cfg, "covariates": ["hue"]}, fixed=Fixed(data.spec))
    with pytest.raises(UsageError, match="the model has learned are age, sex"):
        other.prepare()


@pytest.mark.parametrize("word", ["none", "None", "nil"])
def test_a_word_that_may_be_an_answer_is_a_category_beside_blank_cells(tmp_path: Path, word: str) -> None:
    made = read(tmp_path, [word, "former", ""] * 8)
    assert made.values["x"].tolist() == [word, "former", ""] * 8
    told = {notice.kind: notice.detail for notice in made.notices}
    assert told["missing_covariate"].startswith("8 of 24 rows say nothing: blank (8)")
    assert f"'{word}' (8) is a category of its own" in told["answer_or_missing"]
    alone = read(tmp_path, [word, ""] * 12)  # symptoms: none, or nobody asked
    assert dict(alone.kinds) == {"x": "category"}


def test_among_numbers_such_a_word_is_a_missing_one(tmp_path: Path) -> None:
    made = read(tmp_path, ["none", *AGES[1:]])
    assert np.isnan(made.values["x"]).tolist() == [True] + [False] * (N - 1)
    assert "'none' (1)" in made.notices[0].detail


def test_each_column_is_told_in_a_line_of_its_own(tmp_path: Path) -> None:
    manifest_of(tmp_path, a=["f", "m", ""] * 8, b=["u", "", "v", "w"] * 6)
    told: list[str] = []
    node = config(table=str(tmp_path / "t.csv"), image_size=12, covariates=["a", "b"])
    opened("image_table", node, report=told.append).prepare()
    assert {text.split(":")[0] for text in told if "rows say nothing" in text} == {"a", "b"}
