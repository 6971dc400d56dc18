"""What the one store promises of every kind of content; tests of each kind lie beside this one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medtrain.core.errors import MedtrainError
from medtrain.core.progress import to_stderr
from medtrain.io.bags import Bag, read_bag
from medtrain.io.stats import stat_files
from medtrain.io.store import features
from medtrain.io.store.features import FeatureCodec, PackedBags, pack_bags
from medtrain.io.store.files import digest
from medtrain.io.store.fill import Codec, Entries, keep
from medtrain.io.store.index import FACTS, Place
from medtrain.io.store.segment import Segment
from medtrain.io.store.voxels import VolumeForm, VoxelCodec, cache_volumes
from medtrain.io.trident import write_trident
from tests.volumes import save

N, D = 7, 5
HU = np.random.default_rng(0).integers(-1024, 3000, (9, 8, 7)).astype(np.int16)


class Texts(Codec):
    """Text files without the letter x, by their number of letters; what differs in case only is of one identity."""

    packages = ("medtrain",)

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, path: str, content: bytes, state: tuple[int, int]) -> str:
        text = Path(path).read_text()
        if "x" in text:
            raise ValueError("an x")
        return text

    def write(self, segment: Segment, read: str) -> Place:
        name, _ = segment.add_array(np.frombuffer(read.encode(), np.uint8))
        identity = f"t1:{digest(read.lower().encode()).hex()}"
        return segment.add_text(FACTS, {"file": name, "stop": 0, "letters": len(read)}, identity)


def of(paths: list[Path], folder: Path) -> Entries:
    return keep([str(path) for path in paths], stat_files(paths), Texts(folder / "texts"), None, 2, to_stderr)


@pytest.fixture
def texts(tmp_path: Path) -> list[Path]:
    files = [tmp_path / name for name in "abcd"]
    for file, text in zip(files, ("one", "One", "one", "x"), strict=True):
        file.write_text(text)
    return files


def test_a_content_has_one_place_one_reason_and_one_identity(texts: list[Path], tmp_path: Path) -> None:
    kept = of([*texts, tmp_path / "gone"], tmp_path)
    assert (kept.looked_at, kept.decoded) == (4, 3)
    assert kept.good.tolist() == [True] * 3 + [False] * 2
    assert kept.problems == {3: "an x", 4: "no such file"}
    moved = texts[0].rename(tmp_path / "moved")
    again = of([moved, texts[1]], tmp_path)
    assert (again.looked_at, again.decoded) == (1, 0)
    assert [record["identity"].tobytes() for record in again.records] == [digest(b"one")] * 2


def test_a_file_that_changes_while_it_is_read_is_refused_this_time(
    texts: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = Texts.read

    def slow(self: Texts, path: str, content: bytes, state: tuple[int, int]) -> str:
        text = read(self, path, content, state)
        Path(path).write_text("other word")
        return text

    monkeypatch.setattr(Texts, "read", slow)
    assert of(texts[:1], tmp_path).problems == {0: "changed while it was read"}
    monkeypatch.undo()
    kept = of(texts[:1], tmp_path)
    assert not kept.problems and kept.index.text(kept.records[0])["letters"] == 10


def test_a_newer_reader_looks_again_at_volumes_and_bags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bad.nii").write_text("nothing")
    (tmp_path / "bad.h5").write_text("nothing")

    def looked() -> tuple[int, int]:
        volumes = cache_volumes([tmp_path / "bad.nii"], VolumeForm(), tmp_path / "cache", workers=1)
        bags = pack_bags([str(tmp_path / "bad.h5")], tmp_path / "cache")
        assert list(volumes.problems) == list(bags.problems) == [0]
        return volumes.decoded, bags.packed

    assert (looked(), looked()) == ((1, 1), (0, 0))
    for codec in (VoxelCodec, FeatureCodec):
        monkeypatch.setattr(codec, "packages", ("numpy",))
    assert (looked(), looked()) == ((1, 1), (0, 0))


def test_a_lost_file_of_voxels_is_made_again(tmp_path: Path) -> None:
    files = [save(tmp_path / f"{n}.nii", HU + n) for n in range(2)]
    first = cache_volumes(files, VolumeForm(), tmp_path / "cache", workers=1)
    os.truncate(first[0].file, 100)
    again = cache_volumes(files, VolumeForm(), tmp_path / "cache", workers=1)
    assert again.decoded == 1 and np.array_equal(again[0].values()[0].T, HU)


def own_bag(file: Path, seed: int) -> Path:
    draw = np.random.default_rng(seed)
    attributes = {"name": file.stem, "patch_size": 256, "patch_size_level0": 512, "level0_width": 4000}
    x_ND, coords_N2 = draw.normal(size=(N, D)).astype(np.float16), draw.integers(0, 4000, (N, 2))
    write_trident(file, x_ND, coords_N2, attributes, "toy", {"how": "so"})
    return file


def same(bags: PackedBags, number: int, bag: Bag) -> bool:
    coords = bags.coords(number)
    assert coords is not None and bag.coords is not None and coords.dtype == bag.coords.dtype
    x_ND = bags.instances(number)
    equal = np.array_equal(x_ND, bag.x) and np.array_equal(coords, bag.coords)
    return equal and x_ND.dtype == bag.x.dtype and bags.geometry(number) == bag.geometry


def test_own_bags_are_not_kept_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "MOST_MAPS", 2)
    files = [str(own_bag(tmp_path / f"{n}.h5", n)) for n in range(5)]
    bags = pack_bags(files, tmp_path / "cache")
    assert all(same(bags, n, read_bag(Path(file))) for n, file in enumerate(files)) and bags.packed == 5
    assert sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*") if file.is_file()) < 5000
    assert pack_bags(files, tmp_path / "cache").packed == 0


def test_own_bags_that_change_are_seen(tmp_path: Path) -> None:
    files = [str(own_bag(tmp_path / "0.h5", 0)), shutil.copy(tmp_path / "0.h5", tmp_path / "1.h5")]
    bags = pack_bags(files, tmp_path / "cache")
    assert bags.content.tolist() == [0, 0]
    own_bag(tmp_path / "0.h5", 5)
    with pytest.raises(MedtrainError, match=r"0\.h5 was changed or removed during the run"):
        bags.instances(0)
    again = pack_bags(files, tmp_path / "cache")
    assert again.packed == 2 and again.content.tolist() == [0, 1]
    assert all(same(again, n, read_bag(Path(file))) for n, file in enumerate(files))
    Path(files[1]).unlink()
    moved: Any = shutil.move(files[0], tmp_path / "moved.h5")
    assert same(pack_bags([str(moved)], tmp_path / "cache"), 0, read_bag(moved))


def test_nobody_looks_at_what_is_known_to_be_no_bag(tmp_path: Path) -> None:
    files = [str(own_bag(tmp_path / f"{n}.h5", n)) for n in range(3)]
    bags = pack_bags(files, tmp_path / "cache", problems={1: "no tissue"})
    assert bags.problems == {1: "no tissue"} and bags.packed == 2 and bags.lengths.tolist() == [N, 0, N]
