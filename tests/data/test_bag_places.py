"""Where tiles lie, as networks get it: in sides of a tile, slides apart, NaN where nobody knows."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from medtrain.data.batches.bag_places import APART
from medtrain.data.batches.bags import BagData

PLACES = {
    "a": np.array([[1000, 500], [1256, 500], [1000, 756.0]]),  # px
    "b": np.array([[64, 64], [64, 192.0]]),
    "d": np.array([[5.0, 5.0]]),
    "e": np.array([[0, 0], [64, 0.0]]),
    "f": np.array([[0, 0], [64, 0.0]]),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Slides of four patients: c has no places, d a single tile, which says no size."""
    lines = ["slide,label,patient,split"]
    for number, name in enumerate("abcdef"):
        coords = PLACES.get(name)
        length = 4 if coords is None else len(coords)
        with h5py.File(tmp_path / f"{name}.h5", "w") as h5:
            h5["features"] = np.full((length, 8), number, np.float32) + np.arange(length)[:, None] / 10
            if coords is not None:
                h5["coords"] = coords
        patient, split = {"e": ("p2", "val"), "f": ("p3", "test")}.get(name, (f"p{number // 2}", "train"))
        lines.append(f"{name},{int(number > 1)},{patient},{split}")
    (tmp_path / "table.csv").write_text("\n".join(lines) + "\n")
    return tmp_path


def data(folder: Path, told: list[str], **more: object) -> BagData:
    cfg = {"name": "feature_bags", "table": str(folder / "table.csv"), "unit": "slide", "batch_size": 8} | more
    cfg |= {"instances": 1000, "cache_dir": str(folder / "cache"), "splits": None}
    built = BagData(cfg, report=told.append)
    built.prepare()
    return built


def batch(built: BagData, which: list[int]) -> dict:  # type: ignore[type-arg]
    rows = built.dataset(np.arange(len(built.slots)))
    return rows.__getitems__(which)


def test_in_sides_of_a_tile_from_the_first_one(folder: Path) -> None:
    told: list[str] = []
    built = data(folder, told)
    names = built.cases["case"].tolist()
    seen = batch(built, [names.index(name) for name in "abcd"])
    np.testing.assert_array_equal(seen["coords"][:3], [[0, 0], [1, 0], [0, 1]])
    np.testing.assert_array_equal(seen["coords"][3:5], [[0, 0], [0, 1]])
    assert np.isnan(seen["coords"][5:]).all() and len(seen["coords"]) == len(seen["x"]) == 10
    assert any("2 of 6 bags have no coordinates, or no size of tiles" in text for text in told), json.dumps(told)


def test_the_slides_of_a_patient_lie_apart(folder: Path) -> None:
    built = data(folder, [], unit="patient")
    seen = batch(built, [built.cases["patient"].tolist().index("p0")])
    np.testing.assert_array_equal(seen["coords"][3:], [[1 + APART, 0], [1 + APART, 1]])


def test_drawn_tiles_keep_their_places(folder: Path) -> None:
    built = data(folder, [], max_instances=2)
    case = built.cases["case"].tolist().index("a")
    rows = built.dataset(np.arange(len(built.slots)))
    for epoch in range(5):
        seen = rows.__getitems__([(case, 0, epoch)])
        number = np.rint((seen["x"][:, 0].numpy() - seen["x"][:, 0].numpy().round()) * 10).astype(int)
        np.testing.assert_array_equal(seen["coords"], np.array([[0, 0], [1, 0], [0, 1]])[number])


def test_without_any_there_are_none(tmp_path: Path) -> None:
    (tmp_path / "bags.csv").write_text("".join(f"{n % 2},b{n},{n},1\n" for n in range(20)))
    told: list[str] = []
    cfg = {"name": "feature_bags", "table": str(tmp_path / "bags.csv"), "unit": "slide", "batch_size": 8}
    built = BagData(cfg | {"instances": 100}, report=told.append)
    built.prepare()
    assert "coords" not in batch(built, [0]) and len(built.unplaced) == 20
    assert not any("coordinates" in text for text in told)
