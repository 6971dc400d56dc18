"""Slides that are named beside bags: shown where they are the bags' own, by content where that can be known."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import h5py
import pytest

from medtrain.data.batches.bags import BagData
from medtrain.io.bags import read_bag
from tests.data.test_bag_data import CFG
from tests.data.test_ownership import embed
from tests.slide_files import slide_file


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two slides in folders of their own, and the bags that medtrain made of them."""
    slides = [tmp_path / "wsi" / name / f"{name}.tiff" for name in "ab"]
    for seed, slide in enumerate(slides):
        slide.parent.mkdir(parents=True)
        slide_file(slide, 768, seed)
    embed(tmp_path / "bags", *slides)
    (tmp_path / "table.csv").write_text("bag,slide,label\na,a/a.tiff,0\nb,b/b.tiff,1\n")
    return tmp_path


def opened(folder: Path, **more: Any) -> BagData:
    cfg = {**CFG, "table": str(folder / "table.csv"), "root": str(folder / "bags"), "cache_dir": str(folder / "cache")}
    data = BagData({**cfg, "slides": str(folder / "wsi"), **more}, report=lambda text: None)
    data.read(data.arrange(data.inputs(folder / "bags")) if "columns" not in more else _rows(data))
    return data


def _rows(data: BagData) -> Any:
    from medtrain.data.source import reader

    return data.arrange(reader("feature_bags")(data.cfg, None, None))


def anonymous(bag: Path) -> None:
    """Write a bag as somebody else's program would."""
    known = read_bag(bag)
    with h5py.File(bag, "w") as file:
        file["features"] = known.x
        file["coords"] = known.coords


@pytest.mark.parametrize("more", [{}, {"columns": {"slide": None}}])
def test_slides_of_bags_are_found_below_a_folder_or_by_a_column(folder: Path, more: Any) -> None:
    data = opened(folder, **more)
    assert [Path(data.slides(n)).name for n in (0, 1)] == ["a.tiff", "b.tiff"]
    assert data.told_slides() == []


def test_a_slide_of_another_content_is_not_shown(folder: Path) -> None:
    shutil.copy(folder / "wsi/a/a.tiff", folder / "wsi/b/b.tiff")
    data = opened(folder)
    assert data.slides(0) and data.slides(1) == ""
    (line,) = data.told_slides()
    assert line.startswith("1 bags (b.h5") and "by its content" in line


def test_whose_a_strangers_bag_is_is_told(folder: Path) -> None:
    for name in "ab":
        anonymous(folder / "bags" / f"{name}.h5")
    data = opened(folder)
    assert data.slides(0) and data.slides(1)
    (line,) = data.told_slides()
    assert line.startswith("2 bags") and "nothing in them says" in line


def test_a_slide_on_which_tiles_have_no_place_is_not_shown(folder: Path) -> None:
    with h5py.File(folder / "bags/a.h5") as file:
        x, coords = file["features"][()], file["coords"][()]
    with h5py.File(folder / "bags/a.h5", "w") as file:
        file["features"] = x
        file.create_dataset("coords", data=coords + 768).attrs["patch_size_level0"] = 128
    data = opened(folder)
    assert data.slides(0) == ""
    assert any("beyond the slide" in line for line in data.told_slides())


def test_of_slides_of_one_name_the_one_of_the_bags_content_is_taken(folder: Path) -> None:
    (folder / "wsi/0_other").mkdir()
    slide_file(folder / "wsi/0_other/a.tiff", 768, 7)
    data = opened(folder)
    assert Path(data.slides(0)).parent.name == "a"
    anonymous(folder / "bags/a.h5")
    data = opened(folder)
    assert data.slides(0) == "" and any("several slides" in line for line in data.told_slides())


def test_bags_without_slides_are_counted(folder: Path) -> None:
    shutil.rmtree(folder / "wsi/b")
    data = opened(folder)
    assert data.slides(0) and not data.slides(1)
    assert data.told_slides()[0].startswith("1 bags (b.h5, ...): no slide is there")
