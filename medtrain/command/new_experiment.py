"""An experiment file that a command writes for a person: where it lies, and how it is trained with."""

from __future__ import annotations

import re
from pathlib import Path

from medtrain.core.errors import UsageError

HOME = Path("medtrain_configs") / "experiment"  # where experiment=NAME finds it, in this folder


def place_of(output: str | None, source: str) -> Path:
    """Name the file that is to be written: the one that is asked for, or one of the source's name.

    Raises:
        UsageError: it exists already.
    """
    stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(source).stem).strip("_").lower() or "mine"
    place = Path(output or HOME / f"{stem}.yaml")
    if place.exists():
        raise UsageError(f"output={place} exists already; remove it, or give another output=FILE.yaml")
    return place


def is_at_home(place: Path) -> bool:
    """Tell whether ``experiment=NAME`` finds the file from this folder."""
    return place.parent.absolute() == HOME.absolute()
