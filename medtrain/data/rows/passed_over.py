"""Files of a folder that are no cases: told by their number and suffix, for training and prediction of all kinds."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from medtrain.core.errors import Problem
from medtrain.io.picture_files import files_below

JUNK = frozenset(("__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found", "__pycache__"))
"""Folders that systems leave behind, in lower case."""
PARTS = (".raw", ".zraw", ".img")  # of a volume whose header is a file of its own


def junk_folder(path: Path) -> str:
    """Find the first folder of a path that a system left behind (`JUNK`), written with a slash; '' if none."""
    junk = next((n for n, part in enumerate(path.parts[:-1]) if part.lower() in JUNK), None)
    return "" if junk is None else f"{Path(*path.parts[: junk + 1]).as_posix()}/"


def suffix_of(path: Path) -> str:
    return path.suffix.lower() or "without a suffix"


def passed_by(root: Path, cases: Sequence[Path]) -> Counter[str]:
    """Count the files below a folder that are no part of a case, by suffix or left-behind folder; not hidden ones.

    Args:
        cases: files, or folders whose files are one case.
    """
    whole, passed = {*cases, *(case.with_suffix("") for case in cases)}, Counter[str]()
    for file in files_below(root):
        is_part = file in whole or not whole.isdisjoint(file.parents) or file.suffix.lower() in PARTS
        if not is_part:
            passed[junk_folder(file.relative_to(root)) or suffix_of(file)] += 1
    return passed


def told_passed(passed: Counter[str], place: str, what: str) -> list[Problem]:
    """Warn of the files that were passed over.

    Args:
        passed: {folder/ or suffix: number}.
        place: the folder's name.
        what: the files are not.
    """
    if not passed:
        return []
    shown = ", ".join(f"{name} ({n:,})" for name, n in passed.most_common(10)) + ", ..." * (len(passed) > 10)
    detail = f"passed over {passed.total():,} files of folders or names that are no {what}: {shown}"
    return [Problem("passed_over", place, detail, "warning")]


def told_barren(root: Path, cases: Sequence[Path], what: str) -> list[Problem]:
    """Warn of folders that hold no case, such as a class's whose files were not copied; of nested ones the uppermost.

    Args:
        root: the folder.
        cases: files below it, or folders whose files are one case.
        what: cases are.
    """
    whole = {*cases, *(case.with_suffix("") for case in cases)}
    above = {folder for case in cases for folder in case.parents}
    barren: list[str] = []
    for folder, below, _ in os.walk(root, followlinks=True):
        inner = [Path(folder) / name for name in sorted(below) if name[0] != "." and name.lower() not in JUNK]
        below[:] = [path.name for path in inner if path in above and path not in whole]
        barren += [
            path.relative_to(root).as_posix()
            for path in inner
            if path not in above and path not in whole and not path.is_symlink()
        ]
    if not barren:
        return []
    shown = ", ".join(barren[:10]) + ", ..." * (len(barren) > 10)
    detail = f"{len(barren):,} folders hold no {what}: {shown}"
    return [Problem("no_cases", root.absolute().name, detail, "warning")]
