"""Each picture is decoded once, whoever asks; unreadable ones are remembered."""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import MedtrainError
from medtrain.io import image_cache
from medtrain.io.cache_root import cache_root
from medtrain.io.image import ImageForm, read_fitted
from medtrain.io.image_cache import cache_images

FORM = ImageForm((8, 6))


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    draw = np.random.default_rng(0)
    files = [tmp_path / f"{n}.png" for n in range(7)]
    for n, file in enumerate(files):
        high, dtype = (4096, np.uint16) if n == 4 else (256, np.uint8)
        Image.fromarray(draw.integers(0, high, (20 + n, 16)).astype(dtype)).save(file)
    return files


def test_decoded_once(paths: list[Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    first = cache_images(paths[:4], FORM, tmp_path / "cache", lambda *at: seen.append(at))
    again = cache_images(paths[:4], FORM, tmp_path / "cache")
    assert (first.decoded, again.decoded, seen[-1]) == (4, 0, (4, 4))
    assert first.dtype == "uint8" and again.shape == (4, 1, 8, 6)
    for n in range(4):
        np.testing.assert_array_equal(again[[n]][0], read_fitted(paths[n], FORM))
    np.testing.assert_array_equal(again[[2, 0, 2]], np.stack([first[[n]][0] for n in (2, 0, 2)]))


@pytest.mark.parametrize("chunk", [2, 256])
def test_one_deep_file_makes_all_deep(
    paths: list[Path], tmp_path: Path, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_cache, "CHUNK", chunk)
    cache = cache_images(paths, FORM, tmp_path / "cache")
    assert cache.dtype == "uint16"
    for n in range(7):
        alone = read_fitted(paths[n], FORM).astype(int)
        np.testing.assert_array_equal(cache[[n]][0], alone if n == 4 else alone * 257)


def test_unreadable_files_are_remembered(paths: list[Path], tmp_path: Path) -> None:
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    paths[2].unlink()
    for decoded in (4, 0):
        cache = cache_images(paths[:4], FORM, tmp_path / "cache")
        assert cache.decoded == decoded and sorted(cache.problems) == [1, 2]
        assert "truncated" in cache.problems[1] and "no such file" in cache.problems[2]
        assert not cache[[1, 2]].any()


def test_changes_make_another_cache(paths: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "cache"
    cache_images(paths, FORM, root)
    assert cache_images(paths, ImageForm((8, 6), fit="crop"), root).decoded == 7
    os.utime(paths[0], (1, 1))
    assert cache_images(paths, FORM, root).decoded == 7


def test_starting_together(paths: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        caches = list(pool.map(lambda _: cache_images(paths, FORM, tmp_path / "cache"), range(4)))
    assert sorted(cache.decoded for cache in caches) == [0, 0, 0, 7]


def test_an_open_cache_pickles_without_its_handle(paths: list[Path], tmp_path: Path) -> None:
    cache = cache_images(paths, FORM, tmp_path / "cache")
    before = cache[[3]]
    text = pickle.dumps(cache)
    assert len(text) < 2000
    np.testing.assert_array_equal(pickle.loads(text)[[3]], before)


def test_what_died_half_way_is_cleared(paths: list[Path], tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_images(paths, FORM, tmp_path / "cache", stop)
    assert not [p for p in (tmp_path / "cache" / "images").iterdir() if p.is_dir()]
    assert cache_images(paths, FORM, tmp_path / "cache").decoded == 7


def test_no_files(tmp_path: Path) -> None:
    cache = cache_images([], FORM, tmp_path)
    assert len(cache) == 0 and cache[np.array([], int)].shape == (0, 1, 8, 6)


def test_a_folder_that_cannot_be_written(paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(image_cache, "_decode_all", full)
    with pytest.raises(MedtrainError, match=r"No space left.*\n.*data.cache_dir"):
        cache_images(paths, FORM, tmp_path / "cache")


def test_cache_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTRAIN_CACHE", "/a")
    assert (cache_root("/b"), cache_root()) == (Path("/b"), Path("/a"))
    monkeypatch.delenv("MEDTRAIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_root() == Path("/c/medtrain")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "medtrain"
