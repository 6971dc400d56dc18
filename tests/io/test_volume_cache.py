"""The volume cache: each content once, to the stated error, shared, and never torn."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from medtrain.io.store import voxels
from medtrain.io.store.voxels import VolumeCache, VolumeForm, cache_volumes
from tests.volumes import save, save_series

HU = np.random.default_rng(0).integers(-1024, 3000, (9, 8, 7)).astype(np.int16)


def cached(paths: list[Path], folder: Path, form: VolumeForm | None = None) -> VolumeCache:
    return cache_volumes(paths, form or VolumeForm(), folder, workers=1)


def test_whole_numbers_are_kept_to_the_unit_and_others_to_half_a_step(tmp_path: Path) -> None:
    floats = np.random.default_rng(1).normal(0, 3e-4, HU.shape).astype(np.float32)
    wide = (np.random.default_rng(2).integers(0, 65536, HU.shape)).astype(np.uint16)
    files = [save(tmp_path / f"{n}.nii", v) for n, v in enumerate((HU, floats, wide))]
    cache = cached(files, tmp_path / "cache")
    assert np.array_equal(cache[0].values()[0].T, HU)
    step = (floats.max() - floats.min()) / 65535
    assert np.abs(cache[1].values()[0].T - floats).max() <= step * 0.501
    assert np.array_equal(cache[2].values()[0].T, wide)
    assert all(stored.mapped().dtype == np.int16 for stored in cache.stored if stored)


def test_nothing_is_read_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, series = save(tmp_path / "a.nii", HU), save_series(tmp_path / "ct", HU, (1, 1, 1))
    copy = Path(shutil.copy(first, tmp_path / "b.nii"))
    cache = cached([first, copy, series], tmp_path / "cache")
    assert not cache.problems and cache.content.tolist() == [0, 0, 2]
    monkeypatch.setattr(voxels, "read_volume", None)  # whoever reads fails
    monkeypatch.setattr(voxels, "content_of", None)
    assert cached([first, copy, series], tmp_path / "cache").decoded == 0
    monkeypatch.undo()
    monkeypatch.setattr(voxels, "read_volume", None)
    assert not cached([Path(shutil.move(first, tmp_path / "c.nii"))], tmp_path / "cache").problems  # moved: not decoded
    monkeypatch.undo()
    save(tmp_path / "b.nii", HU + 1)
    assert np.array_equal(cached([copy], tmp_path / "cache")[0].values()[0].T, HU + 1)


def test_a_killed_fill_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [save(tmp_path / f"{n}.nii", HU + n) for n in range(4)]
    read, seen = voxels.read_volume, []

    def dies(path: str) -> object:
        seen.append(path)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return read(path)

    monkeypatch.setattr(voxels, "read_volume", dies)
    with pytest.raises(KeyboardInterrupt):
        cached(files, tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.tmp"))
    cached(files, tmp_path / "cache")
    assert len(seen) == 5  # two before, one that failed, two after


def test_bad_files_are_problems_and_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    holes = HU.astype(np.float32)
    holes[0, :2] = np.nan
    files = [save(tmp_path / "nan.nii", holes), tmp_path / "gone.nii", save(tmp_path / "good.nii", HU)]
    masks = [save(tmp_path / "m.nii", HU)]
    expected = {0: "14 of 504 voxels are NaN or infinite", 1: "no such file"}
    assert cached(files, tmp_path / "cache").problems == expected
    assert "no labels" in cached(masks, tmp_path / "cache", VolumeForm(mask=True)).problems[0]
    monkeypatch.setattr(voxels, "read_volume", None)
    assert cached(files, tmp_path / "cache").problems == expected
    monkeypatch.undo()
    monkeypatch.setattr(voxels, "MOST", 1, raising=False)
    too_many = cached(files[2:], tmp_path / "cache", VolumeForm((0.001, 0.001, 0.001))).problems
    assert "too many" in too_many[0]


def test_masks_know_what_they_mark(tmp_path: Path) -> None:
    mask = np.zeros((9, 8, 7), np.uint8)
    mask[2:5, 1:3, 6] = 2
    stored = cached([save(tmp_path / "m.nii.gz", mask)], tmp_path / "cache", VolumeForm(mask=True))[0]
    assert (stored.dtype, stored.marked, stored.box) == ("uint8", 6, ((6, 7), (1, 3), (2, 5)))


def test_the_foreground_is_the_body(tmp_path: Path) -> None:
    air = np.full((40, 40, 40), -1000, np.int16)
    air[10:30, 5:35, 8:] = np.random.default_rng(0).normal(50, 30, (20, 30, 32))
    stored = cached([save(tmp_path / "a.nii", air)], tmp_path / "cache")[0]
    assert stored.box == ((8, 40), (5, 35), (10, 30))
    assert stored.low[0] == pytest.approx(50 - 2.576 * 30, abs=6) and stored.high[0] == pytest.approx(127, abs=6)


def test_processes_fill_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voxels, "ALONE", 0)
    files = [save(tmp_path / f"{n}.nii.gz", HU + n) for n in range(5)]
    told: list[tuple[int, int]] = []
    cache = cache_volumes(files, VolumeForm(), tmp_path / "cache", lambda *at: told.append(at), workers=2)
    assert [cache[n].values()[0].T.min() for n in range(5)] == [HU.min() + n for n in range(5)]
    assert told == [(n, 5) for n in range(1, 6)]


@pytest.mark.skipif(not os.environ.get("MEDTRAIN_TEST_DATA"), reason="MEDTRAIN_TEST_DATA is not set")
def test_real_nodules(tmp_path: Path) -> None:
    folder = Path(os.environ["MEDTRAIN_TEST_DATA"]) / "lidc_nodules"
    files = sorted((folder / "images").iterdir())[::50]
    cache = cached(files, tmp_path, VolumeForm((1.0, 1.0, 1.0)))
    assert not cache.problems
    assert all(
        np.allclose(stored.spacing, 1) and -2048 <= stored.low[0] < stored.high[0] for stored in cache.stored if stored
    )
