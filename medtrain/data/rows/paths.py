"""Paths as tables write them: names without suffixes, other systems' separators, other forms of letters."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.io.image_form import SUFFIXES
from medtrain.io.stats import MISSING, NO_FILE, absolute, stat_files

FORMS: tuple[Literal["NFC", "NFD"], ...] = ("NFC", "NFD")
BLANK = "the path is blank"
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]|\\")


def table_root(cfg: Mapping[str, Any], usual: Path) -> Path:
    """Find data.root, below which a table's paths lie; `usual` where it is not set (UsageError: several folders)."""
    root = cfg.get("root")
    if isinstance(root, list | tuple):
        raise UsageError(f"data.root names {len(root)} folders, and a table's paths lie below one: name that one")
    return Path(str(root)).expanduser() if root else usual


def usual_form(root: Path, names: Sequence[str]) -> str | None:
    """Find '{}.dcm' or the like, where names lack the suffix that files have; None where they don't."""
    name = next((name for name in names if name), "")
    if not name or "\0" in name or os.path.exists(root / name):
        return None
    suffixes = (*SUFFIXES, ".nii.gz", ".nii")
    return next((f"{{}}{suffix}" for suffix in suffixes if os.path.isfile(root / f"{name}{suffix}")), None)


def written_paths(cells: Sequence[str], cfg: Mapping[str, Any], root: Path) -> tuple[list[str], str | None]:
    """Write out the names of a table as paths, by data.path_format or, without one, the suffix that files have.

    Returns:
        the paths as written, and the form that was found, None where none was needed.
    """
    form = cfg.get("path_format")
    guess = None if form else usual_form(root, cells)
    form = form or guess
    return [form.replace("{}", name) if form and name else name for name in cells], guess


def files_of(written: Sequence[str], root: Path) -> tuple[list[str], NDArray[np.int64]]:
    """Make paths absolute and look at their files; of missing ones, other forms of letters and of separators count.

    Returns:
        absolute paths, '' where nothing is written, and size and time of each (see `stat_files`).
    """
    path = [file if name else "" for name, file in zip(written, absolute(written, root), strict=True)]
    states = stat_files(path)
    for n in np.flatnonzero(states[:, 0] == MISSING).tolist():
        for other in _otherwise(path[n]):
            if other != path[n] and os.path.isfile(other):
                path[n], states[n] = other, stat_files([other])[0]
                break
    return path, states


def _otherwise(path: str) -> list[str]:
    forms = [unicodedata.normalize(form, path) for form in FORMS] if not path.isascii() else []
    return forms + [path.replace("\\", "/")] * ("\\" in path)


def without_path(written: Sequence[str], where: Sequence[str]) -> list[tuple[int, Problem]]:
    """Find positions where no path is written."""
    return [(n, Problem("missing", where[n], BLANK)) for n, name in enumerate(written) if not name]


def missing(
    written: Sequence[str], path: Sequence[str], states: NDArray[np.int64], where: Sequence[str], folders: bool
) -> list[tuple[int, Problem]]:
    """Find positions of files that are named, but not there.

    Args:
        folders: a path may name a folder, too.
    """
    gone = (states[:, 0] == MISSING) | ((states[:, 0] == NO_FILE) & (not folders))
    return [
        (n, Problem("missing", where[n], f"no such file: {path[n]}{_hint(written[n])}"))
        for n in np.flatnonzero(gone).tolist()
        if written[n]
    ]


def _hint(written: str) -> str:
    if not _WINDOWS.search(written):
        return ""
    return " (a Windows path: write / in place of \\, relative to data.root)"
