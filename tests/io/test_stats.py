"""Looking at many files at once gives what looking at each does."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from medtrain.io import stats
from medtrain.io.stats import MISSING, NO_FILE, absolute, stat_files


def test_states(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    os.utime(tmp_path / "a", ns=(1, 123456789))
    (tmp_path / "link").symlink_to(tmp_path / "a")
    states = stat_files([tmp_path / name for name in ("a", "link", "gone", "a/b")] + [tmp_path])
    np.testing.assert_array_equal(states[:2], [[5, 123456789]] * 2)
    assert states[2:, 0].tolist() == [MISSING, MISSING, NO_FILE]
    assert stat_files([]).shape == (0, 2)


def test_every_file_of_many_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stats, "CHUNK", 16)
    paths = [tmp_path / f"{n}" for n in range(50)]
    for n, path in enumerate(paths):
        path.write_bytes(b"x" * n)
    assert stat_files(paths)[:, 0].tolist() == list(range(50))
    assert absolute([path.name for path in paths], tmp_path) == [str(path) for path in paths]


def test_absolute_is_abspath() -> None:
    given = [
        "a",
        "a/b.png",
        "./a",
        "../a",
        "a//b",
        "a/../b",
        "a/./b",
        "/x/y",
        "/x/../y",
        "//x",
        "a/",
        "",
        ".a",
        "a..b/c",
    ]
    assert absolute(given, "r/s") == [os.path.abspath(os.path.join("r/s", path)) for path in given]
    assert absolute(given) == [os.path.abspath(path) for path in given]
