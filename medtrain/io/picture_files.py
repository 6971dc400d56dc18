"""Pictures in folders, found by walking: links are followed, hidden files are not pictures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from medtrain.io.image_form import is_picture


def files_below(root: Path) -> Iterator[Path]:
    """Yield the files below `root`, as paths that begin with `root`; hidden files and folders are left alone.

    Links to folders are followed, but not in a circle, and the paths are those before the links.
    """
    seen: set[str] = set()
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if (real := os.path.realpath(folder)) in seen:
            below.clear()
            continue
        seen.add(real)
        yield from (Path(folder) / name for name in sorted(files) if not name.startswith("."))


def pictures_below(root: Path) -> list[Path]:
    """List the pictures of `files_below`, sorted."""
    return sorted(file for file in files_below(root) if is_picture(file))


def as_named(folder: Path, name: str) -> Path:
    """Find a file by a name that may have been written on Windows: where there is none, backslashes are slashes."""
    path = folder / name
    if "\\" in name and not path.exists():
        return folder / name.replace("\\", "/")
    return path


class PictureFinder:
    """Finds pictures by names that may lie in another folder than most: that folder first, then anywhere below `root`.

    Args:
        root: of the data set.
        folder: where most pictures are.
    """

    def __init__(self, root: Path, folder: Path) -> None:
        self.root, self.folder = root, folder
        self._below: dict[str, list[Path]] | None = None

    def find(self, name: str) -> Path:
        """Find a file; where none is in the folder, the only one of that name (or stem) below the root."""
        path = as_named(self.folder, name)
        if path.is_file():
            return path
        if self._below is None:
            self._below = {}
            for file in pictures_below(self.root):
                for called in {file.name, file.stem}:
                    self._below.setdefault(called, []).append(file)
        tail = Path(name.replace("\\", "/"))
        above = tail.parts[:-1]
        fitting = [file for file in self._below.get(tail.name, []) if file.parts[-1 - len(above) : -1] == above]
        return fitting[0] if len(fitting) == 1 else path
