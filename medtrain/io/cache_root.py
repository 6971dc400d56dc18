"""Where caches and phantoms live; all of it can be deleted at any time and is made again."""

from __future__ import annotations

import os
from pathlib import Path


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """`cache_dir` (the key data.cache_dir), else MEDTRAIN_CACHE, else the user's cache folder; not created here."""
    if cache_dir:
        return Path(cache_dir).expanduser()
    if named := os.environ.get("MEDTRAIN_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "medtrain"
