"""Where caches and phantoms live; all of it can be deleted at any time and is made again."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from medtrain.core.errors import MedtrainError

FOLDERS = ("bags", "embedded", "images", "medmnist", "patients", "phantoms", "slides", "volumes")  # made in it
OF_THE_PLACE = (  # the disk is full, the folder is not ours, or it is gone
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EFBIG,
    errno.EACCES,
    errno.EROFS,
    errno.EPERM,
    errno.ENOTDIR,
    errno.ENOENT,
)


def cache_root(cache_dir: str | os.PathLike[str] | None = None) -> Path:
    """Choose `cache_dir` (key data.cache_dir), else MEDTRAIN_CACHE, else the user's cache folder; none is made."""
    if cache_dir:
        return Path(cache_dir).expanduser()
    if named := os.environ.get("MEDTRAIN_CACHE"):
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "medtrain"


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn what a full disk or a foreign folder raises into a MedtrainError that says which key moves the cache."""
    try:
        yield
    except OSError as error:
        if error.errno not in OF_THE_PLACE:
            raise
        raise MedtrainError(
            f"the cache folder {folder} cannot be written: {error.strerror}\n"
            "free some space, or set data.cache_dir or MEDTRAIN_CACHE to another folder"
        ) from error
