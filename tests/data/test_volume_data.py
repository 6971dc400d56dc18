"""Volumes of a table: batches, labels of patches, bad input by row, and what must not tell anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch

from medtrain.core.errors import DataError, UsageError
from medtrain.data.batches.volume_files import read_cases
from medtrain.data.batches.volumes import VolumeData
from medtrain.io.store.voxels import VolumeForm
from medtrain.target import DataSpec
from tests.repository import data_option
from tests.volumes import nodules, save, save_series

DEFAULTS = data_option("volume_table")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nodules(tmp_path_factory.mktemp("nodules"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def volumes(table: Path, cache: Path, said: list[str] | None = None, **keys: Any) -> VolumeData:
    given = {"table": str(table), "cache_dir": str(cache), "patch_size": 8, "num_workers": 0, "window": [-1000, 200]}
    said = [] if said is None else said
    return VolumeData(DEFAULTS | given | keys, report=said.append)


def training(data: VolumeData, epoch: int = 0) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    loader.batch_sampler.sampler.set_epoch(epoch)  # type: ignore[union-attr]
    return list(loader)


def test_a_training_batch_holds_patches_of_its_cases(table: Path, cache: Path) -> None:
    data = volumes(table, cache, patches_per_volume=3)
    first = training(data)[0]
    assert first["x"].shape == (12, 1, 8, 8, 8) and first["x"].dtype == torch.float32
    assert first["x"].min() >= 0 and first["x"].max() <= 1
    assert first["y"].shape == (12, 1) and first["case"].tolist() == first["case"][::3].repeat_interleave(3).tolist()
    assert torch.equal(first["y"][:, 0], torch.from_numpy(data.targets[first["case"]]).float())  # type: ignore[index]
    assert first["draw"].tolist() == [0, 1, 2] * 4
    train = set(data.rows("train").tolist())
    assert {int(c) for batch in training(data) for c in batch["case"]} == train
    assert not train & set(data.rows("val").tolist()) & set(data.rows("test").tolist())
    assert data.spec == DataSpec.of("binary", ("0", "1"), 1, (8, 8, 8), None, (0.449,), (0.226,))


def test_patches_depend_on_seed_epoch_and_case_only(table: Path, cache: Path) -> None:
    def by_case(data: VolumeData, epoch: int) -> dict[int, torch.Tensor]:
        return {int(c): x for b in training(data, epoch) for c, x in zip(b["case"], b["x"], strict=True)}

    one = by_case(volumes(table, cache, patches_per_volume=1), 2)
    same = by_case(volumes(table, cache, patches_per_volume=1, batch_size=1), 2)
    other = by_case(volumes(table, cache, patches_per_volume=1), 3)
    assert all(torch.equal(one[case], same[case]) for case in one)
    assert sum(torch.equal(one[case], other[case]) for case in one) < len(one) / 2


def test_a_case_is_judged_by_all_of_its_patches(table: Path, cache: Path) -> None:
    data = volumes(table, cache, stride=4, batch_size=5)
    batches = list(data.eval_dataloader("test"))
    pairs = [(int(c), int(i)) for b in batches for c, i in zip(b["case"], b["instance"], strict=True)]
    assert pairs == [(int(row), n) for row in data.rows("test") for n in range(8)]
    x = torch.cat([batch["x"] for batch in batches])[:8, 0]
    whole = data.volumes[data.slots[data.rows("test")[0]]].images[0].values()[0]  # type: ignore[union-attr]
    expected = np.clip((whole + 1000) / 1200, 0, 1)
    assert np.allclose(x[0], expected[:8, :8, :8], atol=1e-5) and np.allclose(x[7], expected[4:, 4:, 4:], atol=1e-5)


def test_labels_from_the_mask_and_background_patches(table: Path, cache: Path) -> None:
    data = volumes(table, cache, patch_size=4, patch_label="mask", patches_per_volume=8, foreground_share=0.5)
    batches = [batch for epoch in range(3) for batch in training(data, epoch)]
    y = torch.cat([batch["y"] for batch in batches])[:, 0]
    bright = torch.cat([(batch["x"] > 0.5).flatten(1).any(1) for batch in batches]).float()
    assert torch.equal(y, bright)  # nothing but the ball is bright, and the mask marks the ball
    positive = torch.cat([torch.from_numpy(data.targets[batch["case"]]) for batch in batches]) == 1  # type: ignore[index]
    assert not y[~positive].any()
    assert 0.45 < y[positive].mean() < 0.75  # half of the patches of a positive case are drawn around the ball


def test_padding_and_the_controls(table: Path, cache: Path, tmp_path: Path) -> None:
    data = volumes(table, cache, patch_size=20, center="volume", padding="lowest")
    x = next(iter(data.eval_dataloader("test")))["x"]
    assert x.shape[0] == 4 and not x[:, :, :4].any() and x[:, :, 4:16, 4:16, 4:16].min() > 0
    mirrored = next(
        iter(volumes(table, cache, patch_size=20, center="volume", padding="mirror").eval_dataloader("test"))
    )
    assert torch.equal(mirrored["x"][:, :, 3], mirrored["x"][:, :, 4]) and mirrored["x"].min() > 0
    blank = volumes(table, cache, patch_size=20, center="volume", control="constant")
    x = next(iter(blank.eval_dataloader("test")))["x"]
    assert set(x.unique().tolist()) == {0.0, 0.5} and (x == x[:1]).all()
    noise = volumes(table, cache, patch_size=8, center="volume", control="noise")
    assert abs(float(next(iter(noise.eval_dataloader("test")))["x"].mean()) - 0.5) < 0.02


def test_fov_is_one_extent_for_all(table: Path, cache: Path) -> None:
    data = volumes(table, cache, spacing=[2, 1, 1], fov=[6, 8, 10])
    data.prepare()
    assert data.spec.size == (3, 8, 10) and data.spec.spacing == (2.0, 1.0, 1.0)
    with pytest.raises(UsageError, match="needs data.spacing"):
        volumes(table, cache, fov=10).prepare()
    with pytest.raises(UsageError, match="voxels are lost"):
        volumes(table, cache, stride=9).prepare()


def test_a_patch_around_the_mask(table: Path, cache: Path) -> None:
    marked = pd.read_csv(table).query("label == 1")
    marked.assign(label=np.arange(len(marked)) % 2).to_csv(table.parent / "marked.csv", index=False)
    data = volumes(table.parent / "marked.csv", cache, center="mask", patch_size=4)
    for split in ("train", "val", "test"):
        for batch in data.eval_dataloader(split):
            assert (batch["x"][:, :, 1:3, 1:3, 1:3] > 0.8).all() and not batch["instance"].any()
    with pytest.raises(DataError, match=r"12 unreadable(?s:.*)an empty mask; data.center=mask needs one"):
        volumes(table, cache, center="mask").prepare()


def test_several_columns_are_channels(table: Path, cache: Path) -> None:
    rows = pd.read_csv(table)
    rows["second"] = rows["image"]
    rows.to_csv(table.parent / "two.csv", index=False)
    columns = DEFAULTS["columns"] | {"path": ["image", "second"]}
    data = volumes(table.parent / "two.csv", cache, columns=columns)
    x = next(iter(data.eval_dataloader("val")))["x"]
    assert data.spec.channels == 2 and torch.equal(x[:, 0], x[:, 1])


def test_all_that_is_wrong_is_named_by_row_and_nothing_else_is_lost(table: Path, cache: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(table)
    folder = table.parent
    (folder / "images" / "cut.nii.gz").write_bytes((folder / "images" / "v00.nii.gz").read_bytes()[:900])
    voxels = np.zeros((12, 12, 12), np.int16)
    save(folder / "masks" / "small.nii", voxels[:6].astype(np.uint8))
    save(folder / "masks" / "apart.nii", voxels.astype(np.uint8), spacing=(1, 1, 2))
    save(folder / "images" / "tiny.nii", np.arange(8, dtype=np.int16).reshape(2, 2, 2))
    save_series(folder / "images" / "series", voxels, (1, 1, 1))
    rows.loc[0, "image"], rows.loc[1, "image"] = "images/cut.nii.gz", "images/gone.nii"
    rows.loc[2, "mask"], rows.loc[3, "mask"] = "masks/small.nii", "masks/apart.nii"
    rows.loc[[4, 5], "image"], rows.loc[[4, 5], "mask"] = ["images/tiny.nii", "images/series"], ""
    rows.to_csv(folder / "bad.csv", index=False)
    with pytest.raises(DataError) as found:
        volumes(folder / "bad.csv", cache).prepare()
    listed = {problem.where.split(" (")[0]: problem.detail for problem in found.value.problems}
    assert list(listed) == [f"bad.csv row {n}" for n in (3, 2, 4, 5)]
    assert "truncated or damaged" in listed["bad.csv row 2"] and "no such file" in listed["bad.csv row 3"]
    assert "its mask has 6 x 12 x 12 voxels, the image 12 x 12 x 12" in listed["bad.csv row 4"]
    assert "lies elsewhere" in listed["bad.csv row 5"]
    data = volumes(folder / "bad.csv", cache, on_bad="skip")
    data.prepare()
    assert len(data.cases) == len(rows) - 4
    assert sum(len(batch["x"]) for split in ("train", "val", "test") for batch in data.eval_dataloader(split)) > 0


@pytest.mark.parametrize(("change", "apart"), [
    (("spacing", 1.0002), None), (("spacing", 1.01), "0.624"), (("shift", 0.1), None), (("shift", 0.5), "0.5"),
    (("turn", 0.05), None), (("turn", 1.0), "0.889"),
])  # fmt: skip
@pytest.mark.parametrize("orientation", ["RAS", "PIL"])
def test_a_mask_lies_elsewhere_by_its_farthest_corner(
    tmp_path: Path, change: tuple[str, float], apart: str | None, orientation: str
) -> None:
    """Rounded headers move no voxel by a quarter of one; a spacing that is 1 % off does, over 36 voxels."""
    (what, by), affine = change, np.eye(4)
    c, s = np.cos(np.deg2rad(by)), np.sin(np.deg2rad(by))
    if what == "turn":
        affine[:2, :2] = [[c, -s], [s, c]]
    affine[:3] = affine[:3] * by if what == "spacing" else affine[:3]
    affine[0, 3] = by if what == "shift" else 0
    image, mask = np.random.default_rng(0).normal(size=(37, 37, 37)), np.zeros((37, 37, 37), np.uint8)
    mask[9:20, 9:20, 9:20] = 1
    turn = nib.orientations.ornt_transform(nib.io_orientation(np.eye(4)), nib.orientations.axcodes2ornt(orientation))
    nib.save(nib.Nifti1Image(image.astype(np.float32), np.eye(4)), tmp_path / "a.nii.gz")
    nib.save(nib.Nifti1Image(mask, affine).as_reoriented(turn), tmp_path / "m.nii.gz")
    paths, cfg = [str(tmp_path / name) for name in ("a.nii.gz", "m.nii.gz")], {"cache_dir": str(tmp_path)}
    cases = read_cases([paths[:1]], paths[1:], VolumeForm(), cfg, report=lambda text: None)
    assert (cases.cases[0] is None) == (apart is not None)
    if apart is not None and what == "spacing":  # at another spacing the two may come to other sizes
        coarse = read_cases([paths[:1]], paths[1:], VolumeForm((9.99, 9.99, 9.99)), cfg, report=lambda text: None)
        assert f"by up to {apart}" in coarse.problems[0]
        fine = read_cases([paths[:1]], paths[1:], VolumeForm((0.5, 0.5, 0.5)), cfg, report=lambda text: None)
        assert (
            "its voxels are 1.01 x 1.01 x 1.01 mm" in fine.problems[0]
            and "the image's 1 x 1 x 1 mm RAS" in fine.problems[0]
        )
    assert apart is None or f"lies elsewhere than the image: their affines differ by up to {apart}" in cases.problems[0]


def test_volumes_to_predict(table: Path, cache: Path, tmp_path: Path) -> None:
    spec = DataSpec.of("binary", ("0", "1"), 1, (8, 8, 8), None, (0.449,), (0.226,))
    folder = tmp_path / "new"
    save_series(folder / "ct", np.zeros((9, 9, 9), np.int16), (1, 1, 1))
    save(folder / "a" / "one.nii.gz", np.ones((4, 9, 9), np.int16))
    (folder / "bad.nii").write_text("no")
    cfg = DEFAULTS | {"cache_dir": str(cache), "batch_size": 4, "num_workers": 0}
    inputs = VolumeData.for_inputs(cfg, spec, folder)
    assert inputs.cases["case"].tolist() == ["a/one.nii.gz", "bad.nii", "ct"]
    assert list(inputs.errors) == [1] and inputs.cases["patient"][2].startswith("p")
    batches = list(inputs.predict_dataloader())
    assert sorted({int(case) for batch in batches for case in batch["case"]}) == [0, 2]
    assert all("y" not in batch and batch["x"].shape[1:] == (1, 8, 8, 8) for batch in batches)
    assert VolumeData.for_inputs(cfg, spec, folder / "ct").cases["case"].tolist() == ["ct"]
    listed = tmp_path / "list.csv"
    listed.write_text("image\nnew/ct\nnew/a/one.nii.gz\n")
    assert len(VolumeData.for_inputs(cfg, spec, listed).readable) == 2
    beside = folder / "ct" / "list.csv"  # in a folder that is a series itself, for which a blank path doesn't stand
    beside.write_text("image,patient\n,a\n../a/one.nii.gz,b\n")
    inputs = VolumeData.for_inputs(cfg, spec, beside)
    assert inputs.errors == {0: "the path is blank"} and inputs.readable.tolist() == [1]
