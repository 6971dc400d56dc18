"""Bags belong to their slides: whatever the slides are called, and wherever they lie."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import h5py
import pytest
import torch

from medtrain.data.slide.bagged import Bagged
from medtrain.data.slide.embed import Embedder
from medtrain.data.slide.tiles import Tiling
from medtrain.encoder import Encoder
from medtrain.encoder.base import Preprocessing
from medtrain.io.bags import find_bag, read_bag
from tests.slide_files import slide_file


class MeanColour(Encoder):
    count = 0

    def __init__(self) -> None:
        super().__init__(torch.nn.AdaptiveAvgPool2d(1), Preprocessing(), "mean colour", False)
        self.count = 0

    def forward(self, tiles_BHWC: torch.Tensor) -> torch.Tensor:
        self.count += len(tiles_BHWC)
        return super().forward(tiles_BHWC)


def embed(folder: Path, *slides: Path, called: list[str] | None = None) -> tuple[list[Bagged], int, list[str]]:
    """What became of the slides, how many tiles were encoded for it, and what was told."""
    lines: list[str] = []
    encoder = MeanColour()
    made = Embedder(Tiling(px=64, mpp=1.0), encoder, folder, report=lines.append).ensure(list(map(str, slides)), called)
    return made, encoder.count, lines


@pytest.fixture
def studies(tmp_path: Path) -> tuple[Path, Path]:
    """Two slides of one name."""
    for name, seed in (("a", 0), ("b", 1)):
        (tmp_path / name).mkdir()
        slide_file(tmp_path / name / "s.tiff", 768, seed)
    return tmp_path / "a/s.tiff", tmp_path / "b/s.tiff"


def content(folder: Path, bagged: Bagged) -> bytes:
    return bytes(read_bag(folder / bagged.bag).x.tobytes())


def test_a_bag_serves_no_other_slide_of_its_name(studies: tuple[Path, Path], tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    (first,), _, _ = embed(bags, studies[0])
    before = content(bags, first)
    (second,), encoded, lines = embed(bags, studies[1])
    assert first.bag == "s.h5" and second.bag != "s.h5" and encoded == second.tiles
    assert content(bags, first) == before != content(bags, second)
    assert lines == ["s.tiff gets a bag of its own: s.h5 is another slide's of that name"]
    both, encoded, lines = embed(bags, *reversed(studies))
    assert [b.bag for b in both] == [second.bag, first.bag] and not encoded and not lines


def test_a_table_with_both_keeps_them_apart(studies: tuple[Path, Path], tmp_path: Path) -> None:
    made, _, _ = embed(tmp_path / "bags", *studies)
    assert len({b.bag for b in made}) == 2 and len({content(tmp_path / "bags", b) for b in made}) == 2


@pytest.mark.parametrize("name", ["zzz/s.tiff", "elsewhere/deep/s.tiff"])
def test_a_moved_or_copied_slide_finds_its_bag(studies: tuple[Path, Path], tmp_path: Path, name: str) -> None:
    embed(tmp_path / "bags", *studies)
    other = tmp_path / name
    other.parent.mkdir(parents=True)
    shutil.copy(studies[1], other)
    (served,), encoded, _ = embed(tmp_path / "bags", other)
    again, _, _ = embed(tmp_path / "bags", *studies)
    assert not encoded and served.bag == again[1].bag


def test_one_slide_named_twice_is_embedded_once(studies: tuple[Path, Path], tmp_path: Path) -> None:
    copy = tmp_path / "copy/s.tiff"
    copy.parent.mkdir()
    shutil.copy(studies[0], copy)
    made, encoded, _ = embed(tmp_path / "bags", studies[0], copy)
    assert made[0].bag == made[1].bag and encoded == made[0].tiles


def test_a_slide_that_is_gone_is_known_by_its_place_or_its_name_in_the_table(
    studies: tuple[Path, Path], tmp_path: Path
) -> None:
    made, _, _ = embed(tmp_path / "bags", *studies, called=["a/s.tiff", "b/s.tiff"])
    for slide in studies:
        slide.unlink()
    there, encoded, lines = embed(tmp_path / "bags", *studies)
    assert [b.bag for b in there] == [b.bag for b in made] and not encoded and not lines
    (moved,), _, lines = embed(tmp_path / "bags", tmp_path / "new/b/s.tiff", called=["b/s.tiff"])
    assert moved.bag == made[1].bag and "isn't there" in lines[0] and str(studies[1]) in lines[0]
    (stranger,), _, _ = embed(tmp_path / "bags", tmp_path / "zzz/s.tiff", called=["zzz/s.tiff"])
    assert "no such file" in stranger.error


def forget(bag: Path) -> None:
    """Take from a bag what versions before 0.3 did not record."""
    with h5py.File(bag, "r+") as file:
        own = json.loads(file.attrs["medtrain"])
        for key in ("path", "called", "content"):
            del own[key]
        file.attrs["medtrain"] = json.dumps(own)


def test_old_bags_serve_slides_of_their_content_alone(studies: tuple[Path, Path], tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    embed(bags, studies[0])
    forget(bags / "s.h5")
    (second,), encoded, _ = embed(bags, studies[1])
    assert second.bag != "s.h5" and encoded
    os.utime(studies[0], (1, 1))
    (first,), encoded, _ = embed(bags, studies[0])
    assert first.bag == "s.h5" and not encoded
    studies[0].unlink()
    (first,), _, lines = embed(bags, studies[0])
    assert first.bag == "s.h5" and "is taken for its bag" in lines[0]


def test_old_bags_of_which_any_could_be_meant_are_refused(studies: tuple[Path, Path], tmp_path: Path) -> None:
    bags = tmp_path / "bags"
    embed(bags, studies[0])
    embed(bags, studies[1])
    for bag in bags.glob("*.h5"):
        forget(bag)
    for slide in studies:
        slide.unlink()
    (first,), _, _ = embed(bags, studies[0])
    assert "which of s-" in first.error and "s.h5 is its bag, nothing says" in first.error


@pytest.mark.parametrize("name", ["S.2", "S.final", "S.svs.2", "S.2.svs", "S.10.tiff"])
def test_a_longer_name_does_not_find_a_shorter_ones_bag(tmp_path: Path, name: str) -> None:
    (tmp_path / "S.h5").touch()
    assert not find_bag(tmp_path, name).exists()


@pytest.mark.parametrize("name", ["S", "S.svs", "S.TIFF", "S.ome.tif", "S.png", "S.vsi"])
def test_a_slides_ending_may_be_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "S.h5").touch()
    assert find_bag(tmp_path, name) == tmp_path / "S.h5"
