"""Folders of images with what else lies in them, and equal files in two classes."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import DataError
from medtrain.data.batches.images import ImageData
from tests.data.tables import opened, write_images
from tests.repository import data_option


def filled(root: Path, *folders: str, count: int = 12) -> Path:
    for n, name in enumerate(folders):
        (root / name).mkdir(parents=True)
        write_images(root / name, count, seed=n)
    return root


def prepared(root: Path, **keys: Any) -> tuple[ImageData, str]:
    told: list[str] = []
    node = data_option("image_folder") | {"root": str(root), "image_size": 8, "num_workers": 0} | keys
    data = opened("image_folder", node | {"cache_dir": str(root.parent / "cache")}, report=told.append)
    data.prepare()
    return data, "\n".join(told)


SPLITS = [f"{split}/{name}" for split in ("train", "val", "test") for name in "ab"]


@pytest.mark.parametrize("stranger", ["__MACOSX/a", "rejected/a", ".hidden/a", "@eaDir/a", "rejected"])
def test_a_folder_beside_splits_is_passed_over_and_told(stranger: str, tmp_path: Path) -> None:
    root = filled(tmp_path / "root", *SPLITS)
    filled(root, stranger, count=3)
    data, told = prepared(root, positive="b")
    assert (
        data.spec.classes == ("a", "b")
        and len(data.cases) == 72
        and set(data.cases["split"]) == {"train", "val", "test"}
    )
    assert f"{stranger.partition('/')[0]}/ (3)" in told


def test_what_systems_leave_among_classes(tmp_path: Path) -> None:
    root = filled(tmp_path / "root", "a", "b", "a/__MACOSX", "__MACOSX", count=20)
    (root / "a" / "notes.txt").write_text("x")
    (root / "a" / "mask.npy").write_bytes(b"x")
    data, told = prepared(root, positive="b")
    assert data.spec.classes == ("a", "b") and len(data.cases) == 40
    assert all(text in told for text in ("__MACOSX/ (20)", "a/__MACOSX/ (20)", ".txt (1)", ".npy (1)"))


def test_classes_without_pictures_are_told(tmp_path: Path) -> None:
    root = filled(tmp_path / "root", "a", "b", count=20)
    (root / "c").mkdir()
    (root / "d" / "more").mkdir(parents=True)
    (root / "d" / "more" / "notes.txt").write_text("x")
    data, told = prepared(root, positive="b")
    assert data.spec.classes == ("a", "b") and "2 folders hold no pictures: c, d" in told


def test_one_split_and_a_stranger_are_asked_about(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="are the folders of train classes of a split, and what is rejected"):
        prepared(filled(tmp_path / "root", "train/a", "train/b", "rejected"))
    data, _ = prepared(filled(tmp_path / "classes", "train", "plane", count=20), positive="plane")
    assert data.spec.classes == ("train", "plane")


@pytest.mark.parametrize("suffix", ["webp", "gif", "jp2", "WEBP", "jpe", "ppm"])
def test_other_suffixes_count(suffix: str, tmp_path: Path) -> None:
    root = filled(tmp_path / "root", "a", "b")
    for n in range(6):
        grey = np.full((12, 10), 40 * n, np.uint8)
        Image.fromarray(grey).save(root / "a" / f"more{n}.{suffix}", {"jpe": "JPEG", "jp2": "JPEG2000"}.get(suffix))
    data, told = prepared(root, positive="b")
    assert len(data.cases) == 30 and "passed over" not in told


def test_equal_files_in_two_classes_are_told(tmp_path: Path) -> None:
    root = filled(tmp_path / "root", "a", "b", count=20)
    shutil.copy(root / "a" / "0.png", root / "b" / "again.png")
    shutil.copy(root / "a" / "1.png", root / "a" / "copy.png")
    _, told = prepared(root, positive="b")
    assert "a/0.png: the same content as b/again.png, but another label" in told
    assert "a/1.png: the same content as a/copy.png" in told
