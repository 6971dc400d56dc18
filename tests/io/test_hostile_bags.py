"""Bags that a stranger made: each is a bad row with its reason, and costs neither memory nor another file's content."""

from __future__ import annotations

import os
import resource
import socket
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from medtrain.io.bags import read_bag
from medtrain.io.store.features import pack_bags
from medtrain.io.trident import OWN, own_arrays, read_own

X = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
XY = np.arange(12).reshape(6, 2)
Make = Callable[[h5py.File, Path], None]


def self_link(h5: h5py.File, folder: Path) -> None:
    h5["features"] = h5py.SoftLink("/features")


def circle(h5: h5py.File, folder: Path) -> None:
    h5["features"], h5["b"] = h5py.SoftLink("/b"), h5py.SoftLink("/features")


def dangling(h5: h5py.File, folder: Path) -> None:
    h5["features"] = h5py.SoftLink("/nothing/there")


def external(h5: h5py.File, folder: Path) -> None:
    h5["features"] = h5py.ExternalLink(other(folder), "/features")


def through_an_external_group(h5: h5py.File, folder: Path) -> None:
    h5["g"] = h5py.ExternalLink(other(folder), "/")
    h5["features"] = h5py.SoftLink("/g/features")


def external_storage(h5: h5py.File, folder: Path) -> None:
    (folder / "secret").write_bytes(bytes(96))
    h5.create_dataset("features", (6, 4), "f4", external=[(str(folder / "secret"), 0, 96)])


def virtual(h5: h5py.File, folder: Path) -> None:
    layout = h5py.VirtualLayout((6, 4), "f4")
    layout[:] = h5py.VirtualSource(other(folder), "features", (6, 4))
    h5.create_virtual_dataset("features", layout)


def a_type(h5: h5py.File, folder: Path) -> None:
    h5["features"] = np.dtype("f4")


def never_written(h5: h5py.File, folder: Path) -> None:
    h5.create_dataset("features", (6, 4), "f4")


def partly_written(h5: h5py.File, folder: Path) -> None:
    h5.create_dataset("features", (6, 4), "f4", chunks=(2, 4), compression="gzip")[:4] = X[:4]


def coords_never_written(h5: h5py.File, folder: Path) -> None:
    h5["features"] = X
    h5.create_dataset("coords", (6, 2), "i8", chunks=(6, 2))


def huge(h5: h5py.File, folder: Path) -> None:
    h5.create_dataset("features", (10**9, 1024), "f4", chunks=(1024, 1024))


def huge_and_packed(h5: h5py.File, folder: Path) -> None:
    h5.create_dataset("features", (10**7, 64), "f4", chunks=(10**5, 64), compression="gzip")
    h5["features"][:100_000] = 0


def huge_coords(h5: h5py.File, folder: Path) -> None:
    h5["features"] = X
    h5.create_dataset("coords", (10**9, 2), "i8", chunks=(1024, 2))


def coords_elsewhere(h5: h5py.File, folder: Path) -> None:
    h5["features"], h5["coords"] = X, h5py.ExternalLink(other(folder), "/features")


def a_group(h5: h5py.File, folder: Path) -> None:
    h5.create_group("features")


def texts(h5: h5py.File, folder: Path) -> None:
    h5["features"] = np.array([[b"a"] * 4] * 6)


def objects(h5: h5py.File, folder: Path) -> None:
    h5.create_dataset("features", (6, 4), h5py.string_dtype())


def compound(h5: h5py.File, folder: Path) -> None:
    h5.create_dataset("features", (6, 4), [("a", "f4"), ("b", "f4")])


def empty_space(h5: h5py.File, folder: Path) -> None:
    h5["features"] = h5py.Empty("f4")


def scalar(h5: h5py.File, folder: Path) -> None:
    h5["features"] = 3.0


def complex_numbers(h5: h5py.File, folder: Path) -> None:
    h5["features"] = X.astype(np.complex64)


def words_for_numbers(h5: h5py.File, folder: Path) -> None:
    h5["features"], h5["coords"] = X, XY
    h5["coords"].attrs["patch_size_level0"] = "large"


def a_list_for_a_number(h5: h5py.File, folder: Path) -> None:
    h5["features"], h5["coords"] = X, XY
    h5["coords"].attrs["level0_magnification"] = h5py.Empty("f4")


def endless_size(h5: h5py.File, folder: Path) -> None:
    h5["features"], h5["coords"] = X, XY
    h5["coords"].attrs["level0_mpp"] = np.inf


MADE = [
    (self_link, "features is a link that leads nowhere"),
    (circle, "features is a link that leads nowhere"),
    (dangling, "features is a link that leads nowhere"),
    (external, "features is a link to another file"),
    (through_an_external_group, "features lies in another file"),
    (external_storage, "features lies in another file"),
    (virtual, "features lies in another file"),
    (a_type, "features is a type, not data"),
    (never_written, "features (6, 4): 1 of its 1 pieces were never written: cut off"),
    (partly_written, "features (6, 4): 1 of its 3 pieces were never written"),
    (coords_never_written, "coords (6, 2): 1 of its 1 pieces were never written"),
    (huge, "declares (1000000000, 1024), 4,096.0 GB"),
    (huge_and_packed, "declares (10000000, 64)"),
    (huge_coords, "coords declares"),
    (coords_elsewhere, "coords is a link to another file"),
    (a_group, "features is a group"),
    (texts, "numbers are wanted"),
    (objects, "numbers are wanted"),
    (compound, "numbers are wanted"),
    (empty_space, "numbers are wanted"),
    (scalar, "are wanted"),
    (complex_numbers, "numbers are wanted"),
    (words_for_numbers, "patch_size_level0 is no number"),
    (a_list_for_a_number, "level0_magnification is no number"),
    (endless_size, "level0_mpp is inf"),
]


def other(folder: Path) -> str:
    """Another file of this machine, with features of its own."""
    with h5py.File(folder / "other.hdf5", "w") as h5:
        h5["features"] = X
    return str(folder / "other.hdf5")


@pytest.fixture
def little_memory() -> Iterator[None]:
    """A process that may take 4 GB more at most: what is declared only must not be asked for."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (4 << 30), limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.parametrize(("make", "told"), MADE, ids=[make.__name__ for make, _ in MADE])
def test_hdf5(tmp_path: Path, make: Make, told: str, little_memory: None) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        make(h5, tmp_path)
    with pytest.raises(ValueError) as error:
        read_bag(tmp_path / "a.h5")
    assert told in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("make", "told"), MADE[:14], ids=[make.__name__ for make, _ in MADE[:14]])
def test_a_bag_that_says_it_is_medtrain_s_own(tmp_path: Path, make: Make, told: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        make(h5, tmp_path)
        h5.attrs[OWN] = "[" * 100_000
    assert read_own(tmp_path / "a.h5") is None
    with pytest.raises((ValueError, KeyError)):
        own_arrays(tmp_path / "a.h5")


def test_honest_bags_stay(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as h5:
        h5["where/x"] = X
        h5["features"] = h5py.SoftLink("/where/x")
        h5.create_dataset("coords", data=XY, chunks=(3, 2), compression="gzip")
    np.testing.assert_array_equal(read_bag(tmp_path / "a.h5").x, X)
    with h5py.File(tmp_path / "glass.h5", "w") as h5:  # empty glass packs well
        h5.create_dataset("features", (40, 3, 64, 64), "u1", data=np.full((40, 3, 64, 64), 240, np.uint8))
        h5["feats"] = np.zeros((20_000, 1024), np.float32)
    with pytest.raises(ValueError, match="are wanted"):
        read_bag(tmp_path / "glass.h5")


def view_of_nothing(file: Path) -> None:
    torch.save(torch.zeros(1).expand(10**9, 1024), file)


def sparse(file: Path) -> None:
    torch.save(torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (10**9, 1024)), file)


def with_a_gradient(file: Path) -> None:
    torch.save(torch.ones(6, 4, requires_grad=True), file)


def strange_coords(file: Path) -> None:
    torch.save({"features": torch.ones(6, 4), "coords": "all over the place"}, file)


def too_few_coords(file: Path) -> None:
    torch.save({"features": torch.ones(6, 4), "coords": torch.ones(2, 2)}, file)


def no_torch(file: Path) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a/data.pkl", b"cos\nsystem\n(S'touch ran'\ntR.")


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (view_of_nothing, "the tensor declares"),
        (sparse, "sparse"),
        (strange_coords, "cannot be read|could not convert"),
        (too_few_coords, "don't fit"),
        (no_torch, "is no .pt file"),
    ],
)
def test_tensors(tmp_path: Path, make: Callable[[Path], None], told: str, little_memory: None) -> None:
    make(tmp_path / "a.pt")
    with pytest.raises(ValueError, match=told):
        read_bag(tmp_path / "a.pt")
    assert not Path("ran").exists()


def test_a_tensor_that_was_trained_is_one(tmp_path: Path) -> None:
    with_a_gradient(tmp_path / "a.pt")
    assert read_bag(tmp_path / "a.pt").x.shape == (6, 4)


def test_what_is_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo(tmp_path / "pipe.h5")
    (tmp_path / "zero.h5").symlink_to("/dev/zero")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    (tmp_path / "circle.h5").symlink_to(tmp_path / "circle.h5")
    (tmp_path / "folder.h5").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.h5")
        names = ["pipe.h5", "zero.h5", "zero.pt", "circle.h5", "folder.h5", "socket.h5", "gone.h5"]
        for name in names:
            with pytest.raises(ValueError):
                read_bag(tmp_path / name)
        with h5py.File(tmp_path / "good.h5", "w") as h5:
            h5["features"] = X
        bags = pack_bags([str(tmp_path / name) for name in [*names, "good.h5"]], tmp_path / "cache")
    assert sorted(bags.problems) == list(range(7)) and bags.lengths.tolist() == [0] * 7 + [6]
