"""A working folder in which a stranger's files lie."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a config folder that merely lies in it."""
    monkeypatch.chdir(tmp_path)
    for name in ("MEDTRAIN_CONFIG_DIR", "MEDTRAIN_TRUST"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "evil").mkdir()
    (tmp_path / "evil" / "__init__.py").write_text("open('ran', 'w')")
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "medtrain_configs").mkdir()
    return tmp_path
