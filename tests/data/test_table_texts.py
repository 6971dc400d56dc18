"""Text as people write it: names that are one, cells that say nothing, lists in a cell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.images import ImageData
from medtrain.data.rows.groups import group_columns
from medtrain.data.rows.people import kept_together
from medtrain.io.cells import UNKNOWN, cleaned, without_decimals
from medtrain.target import DataSpec
from tests.data.tables import config, read, write_images, write_table


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("1.0", "1"), ("001", "001"), ("1.50", "1.50"), ("-3.00", "-3"), ("1.2.0", "1.2.0"), ("\u00a0P1 ", "P1"),
        ("P\u202f 1", "P 1"), ("Mu\u0308ller", "M\u00fcller"), ("\ufeffP1\u200b", "P1"), ("P1", "P1"),
    ],
)  # fmt: skip
def test_one_form(written: str, name: str) -> None:
    assert without_decimals(written) == name == cleaned(name)


def patients(folder: Path, *names: str, **keys: Any) -> Any:
    write_images(folder, len(names))
    return read(
        folder, "path,label,patient\n" + "".join(f"{n}.png,{n % 2},{name}\n" for n, name in enumerate(names)), **keys
    )


def test_patients_of_one_name(images: Path) -> None:
    manifest = patients(images, "1", "1.0", "Mu\u0308ller", "M\u00fcller", " P 2", "P\u00a02")
    assert manifest.patient == ["1", "1", "M\u00fcller", "M\u00fcller", "P 2", "P 2"] and not manifest.warnings


def test_patients_who_may_be_one_are_told_and_stay_together(images: Path) -> None:
    names = [name for n in range(1, 16) for name in (f"p{n}", f"P{n:03d}")]
    manifest = patients(images, *names)
    (told,) = manifest.warnings
    assert told.kind == "spelling" and told.detail.startswith("15 patients may be written") and len(set(names)) == 30
    data = ImageData(config(table=str(images / "table.csv"), image_size=8), report=lambda text: None)
    data.prepare()
    number = data.cases["patient"].str.lower().str.lstrip("p0")
    assert (data.cases.groupby(number)["split"].nunique() == 1).all() and data.cases["patient"].nunique() == 30
    assert len(set(patients(images, "p1", "P1", merge_case=True).patient)) == 1


@pytest.mark.parametrize(
    "pair", [("1,000", "1000"), ("1'234'567", "1234567"), ("007", "7"), ("P-007", "p-7"), ("\uff11\uff12", "12")]
)
def test_numbers_of_patients_in_two_ways(pair: tuple[str, str], images: Path) -> None:
    (told,) = patients(images, *(f'"{name}"' for name in (*pair, "3,5", "35"))).warnings[:1]
    assert told.kind == "spelling" and "1 patients may be written in several ways" in told.detail
    assert kept_together(pair)[0] == kept_together(pair)[1] and len(set(kept_together(["3,5", "35"]))) == 2


def test_patients_that_a_spreadsheet_has_rounded(images: Path) -> None:
    (told,) = patients(images, "1.23457E+11", "1.23457E+11", "9E+15", "P1E+5", "1E5").warnings
    assert told.kind == "rounded_patient" and "2 patients" in told.detail and "'1.23457E+11' (2 rows)" in told.detail


def test_patients_who_may_be_one_in_two_given_splits(images: Path) -> None:
    lines = "".join(
        f"{n}.png,{n // 2 % 2},{'pP'[n % 2]}{n // 2},{'train' if n < 15 else 'val' if n < 24 else 'test'}\n"
        for n in range(30)
    )
    write_images(images, 30)
    told: list[str] = []
    table = write_table(images, "path,label,patient,split\n" + lines)
    ImageData(config(table=table, image_size=8), report=told.append).prepare()
    assert any("'p7' and 'P7'" in text and "if they are one, it is a leak" in text for text in told)


@pytest.mark.parametrize("word", sorted(UNKNOWN - {""}) + ["NaN", "N/A", "NULL", "None", " NA "])
def test_words_for_unknown(word: str, images: Path) -> None:
    write_images(images, 4)
    manifest = read(images, f"path,label,patient\n0.png,0,a\n1.png,1,b\n2.png,{word},c\n3.png,1,{word}\n")
    assert [(n, problem.kind) for n, problem in manifest.bad] == [(2, "missing_label"), (3, "missing_patient")]
    assert repr(word.strip()) in manifest.bad[0][1].detail and manifest.target.classes == ("0", "1")


def test_a_class_may_be_called_none(images: Path) -> None:
    text = "path,label\n0.png,none\n1.png,severe\n2.png,none\n"
    manifest = read(images, text, classes=["none", "severe"])
    assert manifest.targets.tolist() == [0, 1, 0] and not manifest.bad
    with pytest.raises(DataError, match=r"'none' \(2 rows\) counts as unknown: data\.classes"):
        read(images, text)
    spec = DataSpec.of("binary", ("none", "severe"), 1, (8, 8))
    assert read(images, text, spec).targets.tolist() == [0, 1, 0]


def test_unknown_flags_are_as_blank_ones(images: Path) -> None:
    text = "path,Mass,Edema\n0.png,nan,1\n1.png,1,N/A\n2.png,0,0\n"
    unknown = read(images, text, columns={"label": ["Mass", "Edema"]}).targets
    np.testing.assert_array_equal(unknown, [[np.nan, 1], [1, np.nan], [0, 0]])


CASES = "path,label\n0.png,Benign\n1.png,benign\n2.png,malignant\n3.png,benign\n"


def test_labels_that_differ_by_case(images: Path) -> None:
    write_images(images, 4)
    with pytest.raises(UsageError, match=r"'benign' \(2\) and 'Benign' \(1\)\ndata\.merge_case=true.*data\.classes=\["):
        read(images, CASES)
    kept = read(images, CASES, classes=["Benign", "benign", "malignant"])
    assert kept.target.kind == "multiclass" and kept.targets.tolist() == [0, 1, 2, 1]
    joined = read(images, CASES, merge_case=True, positive="malignant")
    assert joined.target.classes == ("benign", "malignant") and joined.targets.tolist() == [0, 0, 1, 0]
    assert [problem.detail for problem in joined.warnings if problem.kind == "merged_case"] == [
        "'Benign' (1) is taken for 'benign'"
    ]
    ours = read(images, CASES, merge_case=True, classes=["Benign", "malignant"])
    assert ours.targets.tolist() == [0, 0, 1, 0] and not ours.bad
    outside = read(images, CASES, classes=["Benign", "malignant"])
    assert [problem.kind for _, problem in outside.bad] == ["bad_label"] * 2
    assert "data.merge_case=true" in outside.bad[0][1].detail


def labels(folder: Path, written: str, **keys: Any) -> Any:
    names = written.split()
    write_images(folder, 8 * len(names))
    rows = "".join(f"{n}.png,{names[n % len(names)]},p{n}\n" for n in range(8 * len(names)))
    return read(folder, "path,label,patient\n" + rows, **keys)


@pytest.mark.parametrize(
    ("written", "groups"),
    [
        ("yes no Y N", ["'Y' (8) and 'yes' (8)", "'N' (8) and 'no' (8)"]),
        ("1.0 0 true", ["'1' (8) and 'true' (8)"]),
        ("pos neg positive", ["'pos' (8) and 'positive' (8)"]),
        ("+ neg pos", ["'+' (8) and 'pos' (8)"]),
        ("T F 1 0", ["'1' (8) and 'T' (8)", "'0' (8) and 'F' (8)"]),
        ("absent present negative", ["'absent' (8) and 'negative' (8)"]),
    ],
)
def test_one_answer_in_several_words(written: str, groups: list[str], images: Path) -> None:
    with pytest.raises(UsageError, match=r"give one answer in several words: .*\n\"data.label_map=\{") as refused:
        labels(images, written)
    assert all(group in str(refused.value) for group in groups)
    names = [without_decimals(name) for name in written.split()]
    assert labels(images, written, classes=names).target.classes == tuple(names)


def test_one_answer_is_joined_as_the_refusal_says(images: Path) -> None:
    both = labels(images, "yes no Y N", label_map={"Y": "yes", "N": "no"}, positive="yes")
    assert both.target.classes == ("no", "yes") and both.targets.mean() == 0.5


@pytest.mark.parametrize("written", ["yes no unsure", "T N M", "negative 1+ 2+ 3+", "benign malignant 1"])
def test_different_answers_are_classes(written: str, images: Path) -> None:
    assert len(labels(images, written).target.classes) == len(written.split())


def test_labels_that_differ_by_signs_are_told(images: Path) -> None:
    manifest = labels(images, "COVID-19 COVID19 covid_19x ER+ ER- 1-2")
    told = [problem.detail for problem in manifest.warnings if problem.kind == "spelling"]
    assert len(told) == 1 and told[0].startswith("'COVID-19' (8) and 'COVID19' (8) differ by signs alone")


@pytest.mark.parametrize("pair", ["Pleural Effusion,PleuralEffusion", "COVID,Covid", "Stra\u00dfe,STRASSE"])
def test_other_labels_that_are_probably_one(pair: str, images: Path) -> None:
    one, other = pair.split(",")
    with pytest.raises(UsageError, match=r"data\.merge_case=true"):
        read(images, f"path,label\n0.png,{one}\n1.png,{other}\n2.png,x\n")


@pytest.mark.parametrize(
    "cells",
    [
        ["Mass|Nodule", "Mass", "Nodule"],
        ["Mass;Nodule", "Mass", "Nodule"],
        ["Mass; Nodule", "Mass", "No Finding;Nodule"],
        ['"Mass,Nodule"', "Mass", "Nodule"],
        ["\"['Mass', 'Nodule']\"", "\"['Mass']\"", "\"['Nodule']\""],
        ['"[""Mass"",""Nodule""]"', '"[""Mass""]"', '"[""Nodule""]"'],
        ["\"['Mass' 'Nodule']\"", "['Mass']", "Nodule"],
        ['"[Mass, Nodule]"', "[Mass]", "[Nodule]"],
        ["\"{'Mass', 'Nodule'}\"", "{'Mass'}", "{'Nodule'}"],
        ["\"['Mass', ' Nodule', '']\"", "['Mass']", "['Nodule ']"],
    ],
)
def test_lists(cells: list[str], images: Path) -> None:
    manifest = read(images, "path,label\n" + "".join(f"{n}.png,{cell}\n" for n, cell in enumerate(cells)))
    assert manifest.target.kind == "multilabel" and manifest.target.classes == ("Mass", "Nodule") and not manifest.bad
    assert manifest.targets.tolist() == [[1, 1], [1, 0], [0, 1]]
    renamed = read(
        images, "path,label\n" + "".join(f"{n}.png,{c}\n" for n, c in enumerate(cells)), label_map={"Mass": "M"}
    )
    assert renamed.target.classes == ("M", "Nodule") and renamed.targets.tolist() == [[1, 1], [1, 0], [0, 1]]


def test_blank_lists(images: Path) -> None:
    text = "path,label\n0.png,A;B\n1.png,\n2.png,A\n3.png,[]\n"
    write_images(images, 4)
    assert [problem.kind for _, problem in read(images, text.replace("3.png,[]\n", "")).bad] == ["missing_label"]
    assert read(images, text.replace("3.png,[]\n", ""), blank="zeros").targets.tolist() == [[1, 1], [0, 0], [1, 0]]
    brackets = read(images, "path,label\n0.png,\"['A', 'B']\"\n1.png,[]\n2.png,\"['nan']\"\n3.png,['A']\n")
    assert brackets.targets.tolist()[1] == [0, 0] and [n for n, _ in brackets.bad] == [2]


def test_names_with_commas_are_names(images: Path) -> None:
    text = 'path,label\n0.png,"Carcinoma, NOS"\n1.png,"Adenoma, NOS"\n2.png,Lipoma\n'
    assert read(images, text).target.classes == ("Adenoma, NOS", "Carcinoma, NOS", "Lipoma")
    unsure = text.replace("Lipoma", "Adenoma")
    with pytest.raises(UsageError, match=r"may be lists: .*data\.classes"):
        read(images, unsure)
    whole = ["Adenoma", "Adenoma, NOS", "Carcinoma, NOS"]
    assert read(images, unsure, classes=whole).targets.tolist() == [2, 1, 0]
    parts = read(images, unsure, classes=["Adenoma", "Carcinoma", "NOS"])
    assert parts.targets.tolist() == [[0, 1, 1], [1, 0, 1], [1, 0, 0]]


def test_splits_by_other_names(images: Path) -> None:
    words = ["train", "Training", "validate", "valid", "dev", "validation", "testing", "TEST", "nan"]
    write_images(images, len(words))
    manifest = read(images, "path,label,split\n" + "".join(f"{n}.png,{n % 2},{w}\n" for n, w in enumerate(words)))
    assert manifest.split is not None and not manifest.bad
    assert manifest.split.tolist() == ["train"] * 2 + ["val"] * 4 + ["test"] * 2 + [""]


def test_sites_and_groups(images: Path) -> None:
    text = "path,label,site,sex\n0.png,0,North,F\n1.png,1,north,f\n2.png,1,South,N/A\n"
    with pytest.raises(UsageError, match=r"sites in 'site' differ.*\ndata\.merge_case"):
        read(images, text, split_by="site", fold=0)
    assert read(images, text, merge_case=True).site == ["North", "North", "South"]
    manifest = read(images, text)
    with pytest.raises(UsageError, match=r"eval\.groups: the groups in 'sex' differ"):
        group_columns(manifest, ["sex"])
    assert group_columns(manifest, ["sex"], merge_case=True)["sex"].tolist() == ["F", "F", "(blank)"]


def test_decimal_commas_and_other_characters_of_the_command_line_are_quoted_in_advice(images: Path) -> None:
    with pytest.raises(UsageError, match=r"data\.classes=\['0,0','1,0'\]"):
        read(images, 'path,label\n0.png,"0,0"\n1.png,"1,0"\n2.png,"0,0"\n')
    with pytest.raises(UsageError, match=r"data\.classes=\['BIRADS: 2',birads 3\]"):
        read(images, "path,label\n0.png,BIRADS: 2\n1.png,birads 3\n2.png,BIRADS: 2\n")
    with pytest.raises(UsageError, match=r"data\.classes=\['A \(mild\)','a \(mild\)',b\] keeps them apart"):
        read(images, "path,label\n0.png,A (mild)\n1.png,a (mild)\n2.png,b\n")
