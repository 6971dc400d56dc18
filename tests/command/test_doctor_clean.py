"""What `doctor cache.clean=true` takes away."""

from __future__ import annotations

from pathlib import Path

from medtrain.command.doctor import clean
from medtrain.io.cache_root import FOLDERS


def test_only_what_medtrain_made_goes(tmp_path: Path) -> None:
    for name in (*FOLDERS, "mine"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_bytes(b"12345")
    assert clean(tmp_path) == 5 * len(FOLDERS)
    assert [place.name for place in tmp_path.iterdir()] == ["mine"]
    assert clean(tmp_path / "nowhere") == 0
