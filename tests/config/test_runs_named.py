"""Folders, sweeps and patterns of runs, in the order in which they were given."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.config.runs import run_folders
from medtrain.core.errors import UsageError


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("b", "a, b", "sweep/10", "sweep/2", "sweep/9", "b/test_other"):
        Path(name).mkdir(parents=True)
        (Path(name) / "run.json").write_text("{}")
    (tmp_path / "sweep" / "notes").mkdir()
    (tmp_path / "empty").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("runs", "found"),
    [
        (["b", "a, b"], ["b", "a, b"]),
        ("a, b", ["a, b"]),
        ("sweep/10,b", ["sweep/10", "b"]),
        ("sweep", ["sweep/2", "sweep/9", "sweep/10"]),
        (["sweep/*"], ["sweep/2", "sweep/9", "sweep/10"]),
        (["sweep/2", "sweep", "./sweep/2/"], ["sweep/2", "sweep/9", "sweep/10"]),
        ("b/test_other", ["b/test_other"]),
    ],
)
def test_what_is_meant(here: Path, runs: str | list[str], found: list[str]) -> None:
    assert run_folders(runs) == [Path(name) for name in found]


@pytest.mark.parametrize("runs", ["nothing", "empty", "sweep/x*", ["b", "empty"]])
def test_nothing_there(here: Path, runs: str | list[str]) -> None:
    with pytest.raises(UsageError, match=r"no such run|neither a run nor a sweep"):
        run_folders(runs)
