"""What all tests share: one cache for the session, no settings of the person who runs them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

# workers share the cores, and waiting threads of OpenMP spin; read when torch is imported, here and in subprocesses
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long starts first, so that no worker waits for another in the end."""
    items.sort(key=lambda item: (item.name != "test_types", "integration" not in item.path.parts))


@pytest.fixture(scope="session")
def phantom_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """One cache folder for all workers of a session, so that phantoms are made once."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    cache = shared / "medtrain_cache"
    before = os.environ.get("MEDTRAIN_CACHE")
    os.environ["MEDTRAIN_CACHE"] = str(cache)
    yield cache
    os.environ.pop("MEDTRAIN_CACHE")
    if before is not None:
        os.environ["MEDTRAIN_CACHE"] = before


@pytest.fixture(autouse=True)
def own_settings(monkeypatch: pytest.MonkeyPatch, phantom_cache: Path) -> None:
    """Neither the person's config folder, what they trust, their key nor their logging servers count in tests."""
    for name in ("MEDTRAIN_TRUST", "MEDTRAIN_CONFIG_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEDTRAIN_HASH_KEY", "of the tests")
    monkeypatch.setenv("WANDB_MODE", "offline")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Real data, named by MEDTRAIN_TEST_DATA."""
    named = os.environ.get("MEDTRAIN_TEST_DATA")
    if not named:
        pytest.skip("MEDTRAIN_TEST_DATA is not set: no real data here")
    if not Path(named).is_dir():
        pytest.fail(f"MEDTRAIN_TEST_DATA={named}: no such folder")
    return Path(named).absolute()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 8 MB, which can be filled."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes root")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)
