"""Each picture is decoded once, whoever asks; unreadable ones are remembered."""

from __future__ import annotations

import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.reduction import ForkingPickler
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medtrain.core.errors import MedtrainError
from medtrain.io.cache_root import cache_root
from medtrain.io.image import read_fitted
from medtrain.io.image_form import ImageForm
from medtrain.io.store.pixels import PixelCodec, cache_images

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


def test_one_deep_file_makes_all_deep(paths: list[Path], tmp_path: Path) -> None:
    cache = cache_images(paths, FORM, tmp_path / "cache")
    assert cache.dtype == "uint16"
    for n in range(7):
        alone = read_fitted(paths[n], FORM).astype(int)
        np.testing.assert_array_equal(cache[[n]][0], alone if n == 4 else alone * 257)
    np.testing.assert_array_equal(cache[[5, 4, 5]], np.stack([cache[[n]][0] for n in (5, 4, 5)]))
    shallow = cache_images(paths[:4], FORM, tmp_path / "cache")
    assert (shallow.dtype, shallow.decoded) == ("uint8", 0)


def test_unreadable_files_are_remembered_and_missing_ones_are_not(paths: list[Path], tmp_path: Path) -> None:
    paths[1].write_bytes(paths[1].read_bytes()[:60])
    late = paths[2].read_bytes()
    paths[2].unlink()
    paths[3].unlink()
    paths[3].mkdir()
    for decoded in (2, 0):
        cache = cache_images(paths[:4], FORM, tmp_path / "cache")
        assert cache.decoded == decoded and sorted(cache.problems) == [1, 2, 3]
        assert "truncated" in cache.problems[1] and "no such file" in cache.problems[2]
        assert "a folder" in cache.problems[3] and not cache[[1, 2]].any()
    paths[2].write_bytes(late)
    cache = cache_images(paths[:4], FORM, tmp_path / "cache")
    assert cache.decoded == 1 and sorted(cache.problems) == [1, 3] and cache[[2]].any()


def test_other_readers_try_again_what_could_not_be_read(
    paths: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths[1].write_bytes(b"a format of the future")
    assert cache_images(paths, FORM, tmp_path / "cache").decoded == 7
    monkeypatch.setattr(PixelCodec, "packages", ("medtrain",))
    assert cache_images(paths, FORM, tmp_path / "cache").decoded == 1
    assert cache_images(paths, FORM, tmp_path / "cache").decoded == 0


def test_a_suffix_decides_nothing(paths: list[Path], tmp_path: Path) -> None:
    named = tmp_path / "picture.dcm"
    named.write_bytes(paths[0].read_bytes())
    cache = cache_images([paths[0], named], FORM, tmp_path / "cache")
    assert (cache.decoded, cache.problems) == (1, {})


def test_a_grown_table_decodes_only_what_is_new(paths: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "cache"
    assert cache_images(paths[:4], FORM, root).decoded == 4
    cache = cache_images([*reversed(paths), paths[0]], FORM, root)
    assert cache.decoded == 3
    for n in range(7):
        np.testing.assert_array_equal(
            cache[[6 - n]], cache_images([paths[n]], FORM, root)[[0]].astype(int) * 257 ** (n != 4)
        )
    assert cache_images(paths, ImageForm((8, 6), fit="crop"), root).decoded == 7


def test_a_moved_or_copied_file_is_not_decoded_again(paths: list[Path], tmp_path: Path) -> None:
    root = tmp_path / "cache"
    first = cache_images(paths[:2], FORM, root)
    moved = paths[0].rename(tmp_path / "moved.PNG")
    copied = Path(shutil.copy(paths[1], tmp_path / "copy.png"))
    cache = cache_images([moved, copied, paths[1]], FORM, root)
    assert cache.decoded == 0
    np.testing.assert_array_equal(cache[[0, 1, 2]], first[[0, 1, 1]])
    assert cache.content.tolist() == [0, 1, 1]


def test_changed_content_of_the_same_size_is_decoded_again(paths: list[Path], tmp_path: Path) -> None:
    draw = np.random.default_rng(1)
    for low in (0, 128):  # uncompressed: files of equal size
        Image.fromarray(draw.integers(low, 128 + low, (20, 16)).astype(np.uint8)).save(tmp_path / "x.bmp")
        os.utime(tmp_path / "x.bmp", (low, low))
        cache = cache_images([tmp_path / "x.bmp"], FORM, tmp_path / "cache")
        assert cache.decoded == 1
        np.testing.assert_array_equal(cache[[0]][0], read_fitted(tmp_path / "x.bmp", FORM))
    os.utime(tmp_path / "x.bmp", (5, 5))
    assert cache_images([tmp_path / "x.bmp"], FORM, tmp_path / "cache").decoded == 0  # only the time is other


def test_equal_files_are_decoded_once_and_labelled_alike(paths: list[Path], tmp_path: Path) -> None:
    copies = [Path(shutil.copy(paths[n % 3], tmp_path / f"copy{n}.png")) for n in range(30)]
    for name in ("empty", "blank"):
        (tmp_path / name).touch()
    cache = cache_images(
        [*copies, tmp_path / "empty", tmp_path / "blank", tmp_path / "gone"], FORM, tmp_path / "cache", workers=4
    )
    assert cache.decoded == 4 and cache.content.tolist() == [*[0, 1, 2] * 10, 30, 31, 32]
    assert "0 bytes" in cache.problems[30] and "0 bytes" in cache.problems[31]


def test_starting_together(paths: list[Path], tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        caches = list(pool.map(lambda _: cache_images(paths, FORM, tmp_path / "cache"), range(4)))
    assert sorted(cache.decoded for cache in caches) == [0, 0, 0, 7]


def test_an_open_cache_pickles_without_its_handle(paths: list[Path], tmp_path: Path) -> None:
    cache = cache_images(paths, FORM, tmp_path / "cache")
    before = cache[[3]]
    text = pickle.dumps(cache)
    assert len(text) < 4000
    np.testing.assert_array_equal(pickle.loads(text)[[3]], before)


def test_an_interrupted_build_keeps_what_is_done(paths: list[Path], tmp_path: Path) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache_images(paths, FORM, tmp_path / "cache", stop)
    assert 0 < cache_images(paths, FORM, tmp_path / "cache").decoded < 7


def test_no_files(tmp_path: Path) -> None:
    cache = cache_images([], FORM, tmp_path)
    assert len(cache) == 0 and cache[np.array([], int)].shape == (0, 1, 8, 6)


def test_an_emptied_cache_is_told(paths: list[Path], tmp_path: Path) -> None:
    cache = cache_images(paths, FORM, tmp_path / "cache")
    shutil.rmtree(tmp_path / "cache")
    with pytest.raises(MedtrainError, match="emptied during the run"):
        cache[[0]]
    assert cache_images(paths, FORM, tmp_path / "cache").decoded == 7


def test_a_spawned_worker_shares_the_tables(paths: list[Path], tmp_path: Path) -> None:
    cache = cache_images(paths * 3000, FORM, tmp_path / "cache")
    assert len(ForkingPickler.dumps(cache)) < 4000  # 21,000 entries stay where they are


def test_cache_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTRAIN_CACHE", "/a")
    assert (cache_root("/b"), cache_root()) == (Path("/b"), Path("/a"))
    monkeypatch.delenv("MEDTRAIN_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert cache_root() == Path("/c/medtrain")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_root() == Path.home() / ".cache" / "medtrain"
