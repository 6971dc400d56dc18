"""Volumes whose labels are masks: what a batch holds, what is planned, and bad input by row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.mask_told import coarser
from medtrain.data.batches.masks import MaskData
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget
from tests.segmentations import halved_balls, segmentation
from tests.volumes import save

LABELS = ("left", "right")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return halved_balls(tmp_path_factory.mktemp("balls"))


def opened(table: Path, said: list[str] | None = None, **keys: Any) -> MaskData:
    data = MaskData(segmentation(table, **keys), report=(said if said is not None else []).append)
    data.prepare()
    return data


def training(data: MaskData, epoch: int = 0) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    return list(loader)


def test_a_training_batch_holds_patches_and_their_labels(table: Path) -> None:
    data = opened(table, classes=list(LABELS))
    assert data.spec.target == MaskTarget(LABELS, LABELS)
    assert data.spec.spacing == (1.5, 1.0, 1.0) and data.plan is not None
    batches = training(data)
    assert len(batches) == len(data.rows("train")) * data.plan.visits // data.plan.batch_size
    first = batches[0]
    assert first["x"].shape == (2, 1, *data.spec.size) and first["x"].dtype == torch.float32
    assert first["mask"].shape == (2, *data.spec.size) and first["mask"].dtype == torch.int64
    seen = torch.cat([batch["mask"].flatten() for batch in batches]).unique().tolist()
    assert seen == [-1, 0, 1, 2]
    beyond = first["mask"] == -1
    assert beyond.any() and not first["x"][:, 0][beyond].any()
    marked = torch.cat([b["x"][:, 0][b["mask"] == 2] for b in batches]).mean()
    around = torch.cat([b["x"][:, 0][b["mask"] == 0] for b in batches]).mean()
    assert marked > around + 2
    pairs = {(int(c), int(d)) for b in batches for c, d in zip(b["case"], b["draw"], strict=True)}
    assert pairs == {(int(row), d) for row in data.rows("train") for d in range(data.plan.visits)}


def test_a_whole_case_is_standardised_by_itself_and_its_truth_is_the_files(table: Path) -> None:
    data = opened(table)
    for batch in data.eval_dataloader("test"):
        row = int(batch["case"][0])
        own = data.own_case(row)
        values = own.images[0].values()
        seen, standardised = data.seen(row, data.spec), (values - values.mean()) / values.std()
        assert seen.shape == own.images[0].shape
        np.testing.assert_allclose(seen[:, 2:9, :5, 3:20], standardised[:, 2:9, :5, 3:20], atol=2e-3)
        assert np.array_equal(data.seen_truth(row), data.own_truth(row))
        name = data.cases["path"].iloc[row]
        file = nib.as_closest_canonical(nib.load(Path(name).parent / f"mask_{Path(name).name}"))
        assert np.array_equal(np.asarray(file.dataobj).T, data.own_truth(row))


def test_patches_depend_on_seed_epoch_case_and_draw_only(table: Path) -> None:
    def by_visit(epoch: int, **keys: Any) -> dict[tuple[int, int], torch.Tensor]:
        batches = training(opened(table, **keys), epoch)
        return {(int(c), int(d)): x for b in batches for c, d, x in zip(b["case"], b["draw"], b["x"], strict=True)}

    one, same, other = by_visit(2), by_visit(2, batch_size=5), by_visit(3)
    assert one.keys() == same.keys() and all(torch.equal(one[key], same[key]) for key in one)
    assert sum(torch.equal(one[key], other[key]) for key in one) < len(one) / 2


def test_a_share_of_small_patches_lies_around_each_label_alike(table: Path) -> None:
    shares = {}
    for share in (0.0, 1.0):
        data = opened(table, patch_size=8, strides=[1, 2], foreground_share=share, patches_per_volume=8)
        masks = torch.cat([batch["mask"] for batch in training(data)])
        shares[share] = [float((masks == label).flatten(1).any(1).float().mean()) for label in (1, 2)]
        if share:  # a marked voxel lies in every patch
            assert bool((masks > 0).flatten(1).any(1).all())
    assert min(shares[1.0]) > 0.6 > 0.5 > max(shares[0.0]), shares


def test_working_spacing_is_another_and_the_truth_stays_the_files(table: Path) -> None:
    data = opened(table, spacing=2.0, patch_size=8, strides=[1, 2])
    row = int(data.rows("val")[0])
    own = data.own_case(row).images[0]
    expected = [round(n * mm / 2) for n, mm in zip(own.shape[1:], own.spacing, strict=True)]
    assert list(data.seen(row, data.spec).shape[1:]) == list(data.seen_truth(row).shape) == expected
    assert data.own_truth(row).shape == own.shape[1:]


def test_a_working_spacing_coarser_than_files_is_told(table: Path) -> None:
    told: list[str] = []
    data = MaskData(segmentation(table, spacing=2.0, patch_size=8, strides=[1, 2]), report=told.append)
    data.prepare()
    train = len(data.rows("train"))
    assert any(f"{train} of {train} training cases have finer voxels, down to 1.5 x 1 x 1 mm" in text for text in told)
    assert coarser(np.array([[1.0, 1.0, 1.0], [1.05, 1.0, 1.0]]), (1.05, 1.0, 1.0)) == []
    (one,) = coarser(np.array([[1.0, 0.5, 1.0], [2.0, 1.0, 1.0]]), (1.0, 1.0, 1.0))
    assert "1 of 2 training cases" in one.detail and one.severity == "warning"
    quiet: list[str] = []
    MaskData(segmentation(table), report=quiet.append).prepare()
    assert not any("finer voxels" in text for text in quiet)


def test_regions_that_do_not_nest_are_told(table: Path) -> None:
    told: list[str] = []
    data = MaskData(segmentation(table, regions={"left": [1], "right": [2]}), report=told.append)
    data.prepare()
    assert any("each voxel of a label map has the sum of 1 (left), 2 (right)" in text for text in told)
    nested = MaskData(segmentation(table, regions={"all": [1, 2], "right": [2]}), report=(quiet := []).append)
    nested.prepare()
    assert not any("label map" in text for text in quiet)
    with pytest.raises(UsageError, match="17 regions, of which one is not within the one before"):
        opened(table, regions={f"r{n}": [1 + n % 2] for n in range(17)})


def test_a_trained_spec_decides(table: Path) -> None:
    first = opened(table, classes=list(LABELS))
    spec = DataSpec.from_dict(first.spec.to_dict())
    assert spec == first.spec
    inputs = MaskData.for_inputs(segmentation(table), spec, table.parent / "0.nii.gz")
    (batch,) = list(inputs.predict_dataloader())
    assert batch["case"].tolist() == [0] and inputs.own_truth(0) is None and inputs.seen_truth(0) is None
    assert inputs.seen(0, spec).shape == (1, *inputs.own_case(0).shape)


def test_members_of_an_ensemble_see_cases_at_their_own_spacing_on_their_own_scale(table: Path) -> None:
    first = opened(table, classes=list(LABELS), modality="ct").spec
    scale = ((0.0, 90.0, 30.0, 15.0),)
    other = replace(first, spacing=(2.0, 2.0, 2.0), intensity=scale)
    both = replace(first, spacings=((1.5, 1.0, 1.0), (2.0, 2.0, 2.0)))
    assert DataSpec.from_dict(both.to_dict()) == both
    inputs = MaskData.for_inputs(segmentation(table, modality="ct"), both, table.parent / "0.nii.gz")
    own = inputs.own_case(0).images[0]
    whole = [inputs.seen(0, spec) for spec in (first, other)]
    assert whole[0].shape[1:] == own.shape[1:] != whole[1].shape[1:]
    z, y, x = whole[1].shape[1:]
    values = np.clip(whole[1].case.images[0].values(), 0, 90)
    np.testing.assert_allclose(whole[1][:, 0:z, 0:y, 0:x], (values - 30) / 15, atol=1e-4)
    low, high, mean, std = first.intensity[0]
    z, y, x = own.shape[1:]
    expected = (np.clip(own.values(), low, high) - mean) / std
    np.testing.assert_allclose(whole[0][:, 0:z, 0:y, 0:x], expected, atol=1e-4)


def test_regions_and_names_of_odd_numbers(tmp_path: Path) -> None:
    file = halved_balls(tmp_path, count=12)
    for mask in tmp_path.glob("mask_*"):
        image = nib.load(mask)
        values = np.asarray(image.dataobj)
        nib.save(nib.Nifti1Image(np.where(values == 2, 4, values).astype(np.uint8), image.affine), mask)
    data = opened(file)
    assert data.spec.classes == ("1", "4") and data.target.codes == (1, 4)
    assert int(data.own_truth(0).max()) == 2
    named = opened(file, label_map={1: "core", 4: "edge"}, regions={"whole": [1, 4], "edge": ["edge"]})
    assert named.target == MaskTarget(("whole", "edge"), ("core", "edge"), (1, 4), ((1, 2), (2,)))
    assert DataSpec.from_dict(named.spec.to_dict()) == named.spec
    unsure = opened(file, ignore_label=4)
    assert unsure.spec.classes == ("1",) and set(np.unique(unsure.own_truth(0))) == {-1, 0, 1}
    with pytest.raises(UsageError, match=r"regions.whole=\[1, 3\].* no label \[3\].*1 \(core\), 4 \(edge\)"):
        opened(file, label_map={1: "core", 4: "edge"}, regions={"whole": [1, 3]})


def test_bad_masks_are_named_by_row_and_nothing_else_is_lost(tmp_path: Path) -> None:
    file = halved_balls(tmp_path, count=20)

    def spoil(n: int, change: Any) -> None:
        image = nib.load(tmp_path / f"mask_{n}.nii.gz")
        voxels, affine = change(np.asarray(image.dataobj).copy(), image.affine.copy())
        nib.save(nib.Nifti1Image(voxels, affine), tmp_path / f"mask_{n}.nii.gz")

    spoil(1, lambda x, affine: (x[:-1], affine))
    spoil(2, lambda x, affine: (x, affine + np.diag([0, 0, 3.0], 1)))
    spoil(3, lambda x, affine: (np.where(x == 2, 7, x), affine))
    spoil(4, lambda x, affine: (x * np.float32(0.4), affine))
    rows = pd.read_csv(file)
    rows.loc[5, "mask"] = ""
    rows.loc[6, "mask"] = "nowhere.nii.gz"
    rows.to_csv(file, index=False)
    with pytest.raises(DataError) as caught:
        opened(file, classes=list(LABELS))
    found = {problem.where.split()[0] + problem.where.split()[-1]: problem.detail for problem in caught.value.problems}
    text = str(caught.value)
    assert len(caught.value.problems) == 6, found
    for piece in (
        "voxels, the image",
        "lies elsewhere",
        "7 (",
        "no labels, whole numbers",
        "no mask",
        "nowhere.nii.gz",
    ):
        assert piece in text, piece
    said: list[str] = []
    data = opened(file, said, classes=list(LABELS), on_bad="skip")
    assert len(data.cases) == 14 and any("left out 6 of 20" in line for line in said)


def test_classes_that_no_training_case_shows_and_empty_masks_are_told(tmp_path: Path) -> None:
    file = halved_balls(tmp_path, count=20)
    rows = pd.read_csv(file)
    rows["split"] = ["train"] * 14 + ["val"] * 3 + ["test"] * 3
    rows.to_csv(file, index=False)
    image = nib.load(tmp_path / "mask_18.nii.gz")
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine), tmp_path / "mask_18.nii.gz")
    said: list[str] = []
    data = opened(file, said, classes=["left", "right", "third"])
    assert {problem.kind for problem in data.problems} >= {"absent_class", "empty_mask"}
    assert any("shows 'third'" in line for line in said) and any("1 of 3 cases" in line for line in said)
    assert data.targets is not None and data.targets.sum(0).tolist() == [19, 19, 0]


@pytest.mark.parametrize(
    "keys", [{"stride": 8}, {"center": "mask"}, {"control": "noise"}, {"padding": "mirror"}, {"beyond": 0.5}]
)
def test_keys_that_would_do_nothing_are_refused(table: Path, keys: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=f"data.{next(iter(keys))}=.* does nothing where masks"):
        opened(table, **keys)


def test_a_table_without_masks_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "0.nii.gz", np.zeros((4, 4, 4), np.int16))
    (tmp_path / "table.csv").write_text("image\n0.nii.gz\n")
    with pytest.raises(UsageError, match=r"data\.columns\.mask"):
        opened(tmp_path / "table.csv")
