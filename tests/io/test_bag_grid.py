"""Tile sizes of bags that don't say them, against grids whose step is known."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from medtrain.data.batches.bag_tiles import place_tiles
from medtrain.io.bag_grid import tile_step
from medtrain.io.bags import read_bag
from medtrain.io.store.features import PackedBags, pack_bags


def grid(columns: int, rows: int, step: float, x: float = 0, y: float = 0) -> np.ndarray:
    return np.array([[x + step * i, y + step * j] for j in range(rows) for i in range(columns)], float)


@pytest.mark.parametrize("step", [224, 256, 512, 1024, 448.5])
@pytest.mark.parametrize("second", [(9040, 3312), (7, 3), (2500.0, 511)])
def test_pieces_of_tissue_have_grids_of_their_own(step: float, second: tuple[float, float]) -> None:
    coords = np.concatenate([grid(5, 5, step, 1984, 3264), grid(4, 6, step, *second)])
    assert tile_step(coords) == step


def test_sparse_tiles_still_tell_their_step() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        coords = grid(30, 30, 512, 37, 11)
        assert tile_step(coords[draw.random(900) < 0.15]) == 512
    assert tile_step(np.array([[0, 0], [1536, 0], [0, 512], [1024, 512], [2048, 512]], float)) == 512


def test_a_lone_tile_has_no_step() -> None:
    assert tile_step(np.array([[5.0, 5]])) is None
    assert tile_step(np.array([[0.0, 0], [700, 300]])) is None


def clam(folder: Path, coords: np.ndarray, patches: Path | None = None, **attributes: object) -> PackedBags:
    folder.mkdir(parents=True, exist_ok=True)
    with h5py.File(folder / "a.h5", "w") as h5:
        h5["features"], h5["coords"] = np.random.default_rng(0).normal(size=(len(coords), 4)).astype("f4"), coords
    if patches is not None:
        patches.mkdir(parents=True)
        with h5py.File(patches / "a.h5", "w") as h5:
            h5["coords"] = np.concatenate([coords, coords[:1] + 3])
            h5["coords"].attrs.update(attributes)
    return pack_bags([str(folder / "a.h5")], folder.parent / "cache")


@pytest.mark.parametrize("place", ["f/patches", "patches", "f/h5_files/patches"])
def test_clams_file_of_patches_knows_more_than_the_steps(tmp_path: Path, place: str) -> None:
    folder = tmp_path / "f/h5_files"
    size = {"patch_size": 256, "patch_level": 1, "downsample": np.array([4.0, 4.0]), "level_dim": np.array([1000, 900])}
    bags, lines = clam(folder, grid(4, 4, 512), tmp_path / place, **size), list[str]()
    place_tiles(bags, [str(folder / "a.h5")], None, lines.append)
    assert bags.geometry(0)["tile"] == 1024 and not lines
    assert (bags.geometry(0)["width"], bags.geometry(0)["height"]) == (4000, 3600)


def test_patches_of_another_slide_do_not_count(tmp_path: Path) -> None:
    bags = clam(tmp_path / "f", grid(4, 4, 512), tmp_path / "patches", patch_size=256, downsample=4.0)
    with h5py.File(tmp_path / "patches/a.h5", "r+") as h5:
        h5["coords"][...] += 1
    lines: list[str] = []
    place_tiles(bags, [str(tmp_path / "f/a.h5")], None, lines.append)
    assert bags.geometry(0)["tile"] == 512
    assert lines == [
        "1 of 1 bags don't say how large their tiles are: 512 is taken, the step between them; if they overlap, set "
        "data.tile_edge"
    ]


def test_a_given_edge_holds_and_a_contradiction_is_told(tmp_path: Path) -> None:
    bags, lines = clam(tmp_path / "f", grid(4, 4, 256)), list[str]()
    place_tiles(bags, [""], 512.0, lines.append)
    assert bags.geometry(0)["tile"] == 512 and not lines
    bags.place(0, {"tile": 1024.0, "tile_from": ""})
    place_tiles(bags, [""], 512.0, lines.append)
    assert lines == ["data.tile_edge=512 stands against what 1 of 1 bags say: 1024"]


def test_a_size_that_the_steps_contradict_is_told(tmp_path: Path) -> None:
    def lines_of(coords: np.ndarray, **attributes: object) -> list[str]:
        folder, lines = tmp_path / str(len(list(tmp_path.iterdir()))) / "f", list[str]()
        folder.mkdir(parents=True)
        with h5py.File(folder / "a.h5", "w") as h5:
            h5["features"], h5["coords"] = np.ones((len(coords), 4), "f4"), coords
            h5["coords"].attrs.update(attributes)
        place_tiles(pack_bags([str(folder / "a.h5")], folder / "c"), [str(folder / "a.h5")], None, lines.append)
        return lines

    (line,) = lines_of(grid(8, 8, 512), patch_size=256, patch_level=1)
    assert "1 of 1 bags that were looked at say that their tiles are 256 wide, and have them 512 apart" in line
    for tile, coords in (
        (512, grid(8, 8, 512)),
        (512, grid(8, 8, 256)),
        (511.7, grid(8, 8, 512)),
        (256, grid(3, 1, 512)),
    ):
        assert not lines_of(coords, patch_size_level0=tile)
    draw = np.random.default_rng(0)
    assert not lines_of(grid(30, 30, 512)[draw.random(900) < 0.1], patch_size_level0=512)
    first, second = lines_of(grid(8, 8, 1))
    assert "have tiles 1 apart, which are no pixels of level 0" in first and "1 is taken" in second


def test_coordinates_that_are_no_numbers_are_a_fault(tmp_path: Path) -> None:
    coords = grid(4, 4, 512)
    coords[3, 1] = np.nan
    bags = clam(tmp_path / "f", coords)
    assert bags.problems == {0: "coords of 1 of 16 instances are NaN or infinite"}


def test_bags_without_any_step_are_told(tmp_path: Path) -> None:
    bags, lines = clam(tmp_path / "f", np.array([[3.0, 4.0]])), list[str]()
    place_tiles(bags, [str(tmp_path / "f/a.h5")], None, lines.append)
    assert "no heatmap and no regions; set data.tile_edge" in lines[0]


def test_a_tile_of_no_size_is_no_tile(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["features"], h5["coords"] = np.ones((4, 2), "f4"), grid(2, 2, 512)
        h5["coords"].attrs["patch_size_level0"] = 0
    with pytest.raises(ValueError, match="its tiles are 0 px wide"):
        read_bag(tmp_path / "a.h5")


@pytest.mark.parametrize("shape", [(0, 8), (0,), (1, 0, 8), (5, 0)])
def test_empty_features_are_called_empty(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["features"] = np.zeros(shape, "f4")
    with pytest.raises(ValueError, match="an empty bag: it has no instances"):
        read_bag(tmp_path / "a.h5")


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_a_slides_own_vector_is_a_bag_of_one(tmp_path: Path, dtype: str) -> None:
    vector = np.arange(8).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["features"] = vector
    torch.save(torch.from_numpy(vector), tmp_path / "b.pt")
    for name in ("a.h5", "b.pt"):
        bag = read_bag(tmp_path / name)
        assert bag.x.shape == (1, 8) and bag.coords is None
        np.testing.assert_array_equal(bag.x[0], vector)
