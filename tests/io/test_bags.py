"""Bags of each tool read, found and packed: values against what was written."""

from __future__ import annotations

import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from medtrain.io.bags import find_bag, read_bag
from medtrain.io.store.features import FeatureCodec, PackedBags, pack_bags

N, D = 5, 3
FEATURES = np.random.default_rng(0).normal(size=(N, D)).astype(np.float32)
COORDS = np.array([[0, 0], [512, 0], [0, 512], [512, 512], [1024, 512]])


def trident(file: Path, features: np.ndarray = FEATURES) -> Path:
    """As TRIDENT writes them: attributes on coords."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(file, "w") as h5:
        h5["features"] = features
        h5["coords"] = COORDS
        h5["coords"].attrs.update(
            patch_size=256, patch_size_level0=512, level0_magnification=40, target_magnification=20, overlap=0,
            name="a", savetodir="x", level0_width=4000, level0_height=3000,
        )  # fmt: skip
    return file


def stamp(file: Path, **attributes: object) -> Path:
    with h5py.File(file, "w") as h5:
        h5["feats"], h5["coords"] = FEATURES, COORDS.astype(np.float32)
        h5.attrs.update(attributes)
    return file


@pytest.mark.parametrize("shape", [(N, D), (1, N, D)])
def test_trident(tmp_path: Path, shape: tuple[int, ...]) -> None:
    bag = read_bag(trident(tmp_path / "a.h5", FEATURES.astype(np.float16).reshape(shape)))
    np.testing.assert_array_equal(bag.x, FEATURES.astype(np.float16))
    np.testing.assert_array_equal(bag.coords, COORDS)
    assert bag.x.dtype == np.float16
    assert bag.geometry == {"unit": "px", "tile": 512.0, "width": 4000.0, "height": 3000.0, "mpp": 0.25}


def test_clam_patches_have_their_size_at_a_level(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["features"], h5["coords"] = FEATURES, COORDS
        h5["coords"].attrs.update(patch_size=256, patch_level=1, downsample=np.array([4.0, 4.0]))
    assert read_bag(tmp_path / "a.h5").geometry["tile"] == 1024


def test_clam_features_without_attributes_have_the_grids_step(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["features"], h5["coords"] = FEATURES, COORDS
    assert read_bag(tmp_path / "a.h5").geometry["tile"] == 512


def test_clam_tensors_take_coordinates_from_the_file_beside(tmp_path: Path) -> None:
    (tmp_path / "pt_files").mkdir()
    torch.save(torch.from_numpy(FEATURES), tmp_path / "pt_files" / "a.pt")
    alone = read_bag(tmp_path / "pt_files" / "a.pt")
    trident(tmp_path / "h5_files" / "a.h5")
    both = read_bag(tmp_path / "pt_files" / "a.pt")
    np.testing.assert_array_equal(alone.x, FEATURES)
    assert alone.coords is None
    np.testing.assert_array_equal(both.coords, COORDS)


@pytest.mark.parametrize("key", ["tile_size_um", "tile_size"])
def test_stamp_counts_in_micrometres(tmp_path: Path, key: str) -> None:
    bag = read_bag(stamp(tmp_path / "a.h5", unit="um", tile_size_px=224, **{key: 256.0}))
    assert bag.geometry == {"unit": "um", "tile": 256.0}
    np.testing.assert_array_equal(bag.coords, COORDS)


def test_old_stamp_counts_in_its_own_pixels(tmp_path: Path) -> None:
    bag = read_bag(stamp(tmp_path / "a.h5"))
    assert bag.coords is not None
    np.testing.assert_allclose(bag.coords, COORDS / 224 * 256)


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    torch.save({"features": Path("x")}, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=r"is no \.pt file of a tensor"):
        read_bag(tmp_path / "a.pt")


BAD = FEATURES.copy()
BAD[2, 1] = np.nan


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (FEATURES[:0], "empty"),
        (BAD, "1 of 5 instances hold NaN"),
        (FEATURES[0], "coords"),
        (FEATURES[:3], "coords"),
    ],
)
def test_bad_bags_say_why(tmp_path: Path, features: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_bag(trident(tmp_path / "a.h5", features))


@pytest.mark.parametrize(
    ("there", "name"),
    [
        ("a.h5", "a.h5"), ("a.h5", "a"), ("a.h5", "a.svs"), ("a.svs.h5", "a.svs"), ("h5_files/a.h5", "a"),
        ("pt_files/TCGA.x-1.pt", "TCGA.x-1.svs"),
    ],
)  # fmt: skip
def test_a_slide_finds_its_bag(tmp_path: Path, there: str, name: str) -> None:
    file = tmp_path / there
    file.parent.mkdir(exist_ok=True)
    file.touch()
    assert find_bag(tmp_path, name) == file


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    made = [trident(tmp_path / f"{n}.h5", FEATURES + n) for n in range(4)]
    (tmp_path / "3.h5").write_bytes((tmp_path / "0.h5").read_bytes())
    (tmp_path / "bad.h5").write_text("nothing")
    return [str(file) for file in [*made, tmp_path / "bad.h5", tmp_path / "gone.h5"]]


def equal(bags: PackedBags) -> None:
    for n, add in enumerate((0, 1, 2, 0)):
        np.testing.assert_array_equal(bags.instances(n), FEATURES + np.float32(add))
        np.testing.assert_array_equal(bags.coords(n), COORDS)


def test_packed_once_found_by_content_and_refused_with_a_reason(files: list[str], tmp_path: Path) -> None:
    bags = pack_bags(files, tmp_path / "cache")
    equal(bags)
    assert bags.lengths.tolist() == [5, 5, 5, 5, 0, 0]
    assert bags.content.tolist() == [0, 1, 2, 0, 4, 5]
    assert "cannot be read" in bags.problems[4] and "no such file" in bags.problems[5]
    again = pack_bags(files[:4], tmp_path / "cache")
    assert (bags.packed, again.packed) == (5, 0)
    equal(pickle.loads(pickle.dumps(again)))


def test_a_file_that_changed_is_read_again(files: list[str], tmp_path: Path) -> None:
    pack_bags(files, tmp_path / "cache")
    trident(Path(files[1]), FEATURES + 9)
    bags = pack_bags(files, tmp_path / "cache")
    assert bags.packed == 1
    np.testing.assert_array_equal(bags.instances(1), FEATURES + 9)


def test_a_killed_packing_goes_on(files: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureCodec, "commit_seconds", -1.0)

    def stop(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack_bags(files, tmp_path / "cache", stop)
    index = next((tmp_path / "cache").rglob("*.index"))
    with index.open("a") as torn:
        torn.write('{"path": "half a li')
    bags = pack_bags(files, tmp_path / "cache")
    equal(bags)
    assert bags.packed == 3
