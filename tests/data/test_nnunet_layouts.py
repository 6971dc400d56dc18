"""Raw folders as people have them: the Decathlon's, lists of files, nnU-Net's folds, odd names, odd numbers."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.masks import MaskData
from medtrain.io.own_grid import write_on_own
from tests.data.test_nnunet import LABELS, opened, raw_folder


def described(root: Path, *without: str, **said: Any) -> None:
    file = root / "dataset.json"
    plain = {key: value for key, value in json.loads(file.read_text()).items() if key not in without}
    file.write_text(json.dumps(plain | said))


def renamed(root: Path, to: str, *folders: str) -> None:
    """Call the files of these folders `to`, with their number for {n}."""
    for folder in folders or ("imagesTr", "labelsTr", "imagesTs"):
        for file in sorted((root / folder).iterdir()):
            file.rename(file.with_name(to.format(n=int(file.name.split("_")[1].partition(".")[0]))))


def changed(file: Path, how: Any) -> None:
    image: Any = nib.load(file)
    nib.save(how(np.asarray(image.dataobj).copy(), image.affine.copy()), file)


def with_two_channels(file: Path) -> None:
    changed(file, lambda x, affine: nib.Nifti1Image(np.stack([x, -x], -1), affine))


def test_channels_along_a_fourth_axis_as_the_decathlon_has_them(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    renamed(root, "prostate_{n:02d}.nii.gz")
    training = [
        {"image": f"./imagesTr/{f.name}", "label": f"./labelsTr/{f.name}"} for f in (root / "labelsTr").iterdir()
    ]
    described(
        root, "channel_names", "file_ending", modality={"0": "T2", "1": "ADC"}, training=training,
        labels={"0": "background", "1": "PZ", "2": "TZ"}, test=["./imagesTs/prostate_14.nii.gz"], numTest=2,
    )  # fmt: skip
    with pytest.raises(DataError, match=r"names 2 channels \(T2, ADC\), but a case has 1: prostate_00.nii.gz$"):
        opened(root)
    for file in (root / "imagesTr").iterdir():
        with_two_channels(file)
    data = opened(root)
    assert data.spec.channels == 2 and data.spec.classes == ("PZ", "TZ") and len(data.cases) == 14
    assert next(iter(data.train_dataloader()))["x"].shape[1] == 2
    with_two_channels(root / "imagesTs" / "prostate_14.nii.gz")
    (root / "imagesTs" / "._prostate_14.nii.gz").write_bytes(b"of macOS")
    inputs = MaskData.for_inputs(data.cfg, data.spec, root / "imagesTs")
    assert inputs.cases["case"].tolist() == ["prostate_14.nii.gz", "prostate_15.nii.gz"]
    assert list(inputs.errors) == [1]  # a file of one channel; not the hidden one


@pytest.mark.parametrize("name", ["patient_{n:04d}.nii.gz", "1.2.840.{n:04d}.nii.gz", "{n:04d}.nii.gz"])
def test_names_that_end_in_four_digits_are_names(name: str, tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    renamed(root, name)
    data = opened(root)
    assert set(data.cases["case"]) == {name.format(n=n).removesuffix(".nii.gz") for n in range(14)}


def test_masks_are_called_as_the_list_says(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    renamed(root, "img_{n:04d}.nii.gz", "imagesTr")
    renamed(root, "label_{n:04d}.nii.gz", "labelsTr")
    pairs = [{"image": f"imagesTr/img_{n:04d}.nii.gz", "label": f"labelsTr/label_{n:04d}.nii.gz"} for n in range(14)]
    described(root, training=pairs)
    said: list[str] = []
    assert len(opened(root, said).cases) == 14 and not any("no image" in line for line in said)


def test_version_one_lists_names_without_channels(tmp_path: Path) -> None:
    root = raw_folder(tmp_path, channels=2)
    pairs = [{"image": f"./imagesTr/case_{n}.nii.gz", "label": f"./labelsTr/case_{n}.nii.gz"} for n in range(14)]
    described(root, "channel_names", modality=["T1", "T2"], training=pairs)
    data = opened(root)
    assert len(data.cases) == 14 and data.spec.channels == 2


def test_cases_listed_with_files_that_lie_anywhere(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    (root / "imagesTr").rename(tmp_path / "elsewhere")
    listed = {
        f"c{n}": {
            "images": [str(tmp_path / "elsewhere" / f"case_{n}_0000.nii.gz")],
            "label": f"labelsTr/case_{n}.nii.gz",
        }
        for n in range(12)
    }
    described(root, dataset=listed, numTraining=12)
    assert set(opened(root).cases["case"]) == set(listed)
    listed["c3"]["images"] *= 2
    described(root, dataset=listed)
    with pytest.raises(DataError, match="c3: has 2 images, of the 1 channels"):
        opened(root)
    described(root, dataset={"c1": {"images": []}})
    with pytest.raises(DataError, match="dataset is not {case"):
        opened(root)


def test_a_stray_file_costs_itself_alone(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    shutil.copy(root / "imagesTr" / "case_1_0000.nii.gz", root / "imagesTr" / "average.nii.gz")
    shutil.copy(root / "imagesTr" / "case_1_0000.nii.gz", root / "imagesTr" / "case_2.nii.gz")
    with pytest.raises(DataError) as caught:
        opened(root)
    assert "average" in str(caught.value) and "case_2: is there twice" in str(caught.value)
    assert {problem.where for problem in caught.value.problems} == {"average", "case_2"}


def test_folds_of_nnunet(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    names = [f"case_{n}" for n in range(14)]
    folds = [{"train": [c for c in names if c not in names[k::3]], "val": names[k::3]} for k in range(3)]
    (root / "splits_final.json").write_text(json.dumps(folds))
    said: list[str] = []
    data = opened(root, said, folds=3, fold=1)
    tested = data.cases.loc[data.cases["split"] == "test", "case"]
    assert sorted(tested) == sorted(folds[1]["val"]) and any(
        "folds are those of splits_final.json" in line for line in said
    )
    with pytest.raises(UsageError, match="data.folds=5, but the fold column has 3 parts"):
        opened(root, folds=5, fold=1)
    own = opened(root, folds=5, fold=1, columns={"split": None, "fold": "none"})
    assert own.cases.loc[own.cases["split"] == "test", "case"].tolist() != sorted(folds[1]["val"])
    quiet: list[str] = []
    opened(root, quiet)  # without a fold they are not looked at
    assert not any("splits_final" in line for line in quiet)
    folds[0]["val"] += names[1:2]
    (root / "splits_final.json").write_text(json.dumps(folds))
    opened(root, said, folds=3, fold=1)
    assert any("splits_final.json: not used: 0 cases validate in none of its folds, 1 in several" in x for x in said)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"channel_names": {"0": "CT", "1": "PET"}}, "nnU-Net scales CT in ways of their own"),
        ({"channel_names": {"0": "T1", "1": "noNorm"}}, "nnU-Net scales noNorm"),
        (
            {"labels": {"background": 0, "all": [1, 2], "right": 2}, "regions_class_order": [2, 1]},
            r"regions_class_order=[2, 1] is of nnU-Net's label maps",
        ),
    ],
)
def test_what_nnunet_would_do_otherwise_is_told(told: dict[str, Any], words: str, tmp_path: Path) -> None:
    root = raw_folder(tmp_path, channels=2, **told)
    said: list[str] = []
    opened(root, said)
    assert any(words in line for line in said)
    usual: list[str] = []
    described(root, channel_names=["T1", "T2"], labels=LABELS | {"ignore": 3}, regions_class_order=[1, 2])
    opened(root, usual)
    assert not any("nnU-Net" in line for line in usual)


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"file_ending": ".tif"}, r"file_ending is '.tif', which is not read as a volume \(.nii.*convert"),
        ({"file_ending": ".png", "overwrite_image_reader_writer": "NaturalImage2DIO"}, "not read as a volume"),
        ({"channel_names": "CT"}, "channel_names .* is 'CT', not"),
        ({"channel_names": {"first": "CT"}}, "not {"),
        ({"labels": {"background": 0, "a": 1.5}}, "label 'a' is 1.5, neither a number"),
        ({"labels": {"background": 0, "a": []}}, "label 'a' is .*, neither a number"),
    ],
)
def test_descriptions_that_cannot_be_are_refused(said: dict[str, Any], words: str, tmp_path: Path) -> None:
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": LABELS} | said))
    with pytest.raises(DataError, match=words):
        opened(tmp_path)


def test_what_is_of_tables_is_refused_and_folders_above_are_named(tmp_path: Path) -> None:
    root = raw_folder(tmp_path / "Dataset001_Balls", file_ending="nii.gz")
    with pytest.raises(UsageError, match=r"data\.columns\.patient=who is of tables"):
        opened(root, columns={"patient": "who"})
    with pytest.raises(DataError, match=r"dataset\.json: not there.*below it are Dataset001_Balls$"):
        opened(tmp_path)
    said: list[str] = []
    opened(root, said)
    (patients,) = [line for line in said if "patient" in line]
    assert "data.patient_pattern finds patients" in patients and "columns" not in patients
    data = opened(root, patient_pattern=r"case_(\d)")
    assert sorted(set(data.cases["patient"])) == list("0123456789")
    one = data.cases[data.cases["patient"] == "1"]
    assert len(one) == 5 and one["split"].nunique() == 1


def test_numbers_as_tools_write_them(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    masks, images = root / "labelsTr", root / "imagesTr"
    plain = opened(root)
    truth = {case: plain.own_truth(row) for row, case in enumerate(plain.cases["case"])}

    def scaled(x: Any, affine: Any) -> Any:
        image = nib.Nifti1Image((x * 100).astype(np.uint16), affine)
        image.header.set_slope_inter(0.01, 0)
        return image

    changed(masks / "case_1.nii.gz", lambda x, affine: nib.Nifti1Image(x * np.float32(1.0000001), affine))
    changed(masks / "case_2.nii.gz", scaled)
    changed(masks / "case_3.nii.gz", lambda x, affine: nib.Nifti1Image(x, affine + 1e-4 * np.eye(4, k=1)))
    changed(masks / "case_4.nii.gz", lambda x, affine: nib.Nifti1Image(x.astype(np.int64), affine, dtype="int64"))
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]]
    for file in (masks / "case_5.nii.gz", images / "case_5_0000.nii.gz"):
        changed(file, lambda x, affine: nib.Nifti1Image(x, turn @ affine))
    data = opened(root, cache_dir=str(tmp_path / "other"))
    for row, case in enumerate(data.cases["case"]):
        np.testing.assert_array_equal(data.own_truth(row), truth[case], err_msg=case)
    row = data.cases["case"].tolist().index("case_5")
    made = tmp_path / "made.nii.gz"
    write_on_own(data.own_truth(row).astype(np.uint16), data.own_case(row).images[0], data.image_file(row), made)
    one, other = (nib.load(file) for file in (made, masks / "case_5.nii.gz"))
    np.testing.assert_array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    np.testing.assert_array_equal(one.affine, other.affine)


def test_what_cannot_be_is_named_by_case(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)

    def moved(x: Any, affine: Any) -> Any:
        image = nib.Nifti1Image(x, affine)
        image.set_qform(affine, 1)
        image.set_sform(affine + 5 * np.eye(4, k=3), 1)
        return image

    def holed(x: Any, affine: Any) -> Any:
        x = x.astype(np.float32)
        x[3, 4, 5] = np.nan
        return nib.Nifti1Image(x, affine)

    changed(root / "labelsTr" / "case_1.nii.gz", moved)
    changed(root / "imagesTr" / "case_2_0000.nii.gz", holed)
    changed(root / "labelsTr" / "case_3.nii.gz", holed)
    for file in (root / "imagesTr" / "case_4_0000.nii.gz", root / "labelsTr" / "case_4.nii.gz"):
        changed(file, lambda x, affine: nib.Nifti1Image(x[:, :, 9:10], affine))
    with pytest.raises(DataError) as caught:
        opened(root)
    found = {problem.where.split()[0]: problem.detail for problem in caught.value.problems}
    expected = {
        "case_1": "their affines differ by up to 5 mm",
        "case_2": "1 of ",
        "case_3": "voxels are no labels",
        "case_4": "a picture, not a volume",
    }
    assert found.keys() == expected.keys()
    assert all(expected[case] in found[case] for case in expected), found
    assert len(opened(root, on_bad="skip").cases) == 10


def test_a_volume_thinner_than_a_patch_is_learned_from(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    for file in (root / "imagesTr" / "case_4_0000.nii.gz", root / "labelsTr" / "case_4.nii.gz"):
        changed(file, lambda x, affine: nib.Nifti1Image(x[:, 9:11], affine))
    data = opened(root)
    row = data.cases["case"].tolist().index("case_4")
    assert min(data.own_truth(row).shape) == 2 < min(data.spec.size)
    data.cases["split"] = ["train" if n == row else "val" for n in range(14)]
    batches = list(data.train_dataloader())
    assert batches and all((batch["mask"] >= 0).any() and (batch["mask"] == -1).any() for batch in batches)


def test_masks_of_nothing_and_twins(tmp_path: Path) -> None:
    root = raw_folder(tmp_path)
    shutil.copy(root / "imagesTr" / "case_1_0000.nii.gz", root / "imagesTr" / "case_2_0000.nii.gz")
    shutil.copy(root / "labelsTr" / "case_1.nii.gz", root / "labelsTr" / "case_2.nii.gz")
    changed(root / "labelsTr" / "case_2.nii.gz", lambda x, affine: nib.Nifti1Image(np.roll(x, 1, 0), affine))
    said: list[str] = []
    data = opened(root, said)
    assert any("case_1: the same content as case_2, but another mask" in line for line in said)
    assert data.cases.set_index("case").loc[["case_1", "case_2"], "split"].nunique() == 1
    for file in (root / "labelsTr").iterdir():
        changed(file, lambda x, affine: nib.Nifti1Image(x * 0, affine))
    with pytest.raises(
        DataError, match="no mask of the 10 training cases marks left or right: there is nothing to learn"
    ):
        opened(root, columns={"split": None, "fold": None})


def test_channels_of_inputs_are_put_together(tmp_path: Path) -> None:
    root = raw_folder(tmp_path, channels=2)
    data = opened(root)
    inputs = MaskData.for_inputs(data.cfg, data.spec, root / "imagesTs")
    assert inputs.cases["case"].tolist() == ["case_14.nii.gz", "case_15.nii.gz"] and not inputs.errors
    changed(root / "imagesTs" / "case_14_0001.nii.gz", lambda x, affine: nib.Nifti1Image(x + 1000, affine))
    (root / "imagesTs" / "case_15_0001.nii.gz").rename(root / "imagesTs" / "case_15_0002.nii.gz")
    shutil.copy(root / "imagesTs" / "case_15_0000.nii.gz", root / "imagesTs" / "alone.nii.gz")
    said: list[str] = []
    inputs = MaskData.for_inputs(data.cfg, data.spec, root / "imagesTs", report=said.append)
    assert inputs.cases["case"].tolist() == ["alone.nii.gz", "case_14.nii.gz", "case_15.nii.gz"]
    lacks = "lacks channel 0001, of the 2 that the network takes"
    assert inputs.errors == {0: lacks, 2: lacks} and inputs.readable.tolist() == [1]
    first, second = (image.values() for image in inputs.own_case(1).images)
    np.testing.assert_allclose(second, first + 1000, atol=0.5)
    assert any("5 files are 3 cases of 2 channels" in line for line in said)
    single = opened(raw_folder(tmp_path / "one"))
    names = MaskData.for_inputs(single.cfg, single.spec, tmp_path / "one" / "imagesTs").cases["case"]
    assert names.tolist() == ["case_14_0000.nii.gz", "case_15_0000.nii.gz"]
