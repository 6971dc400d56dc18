"""A folder that is built once, whole, and shared: by processes, ranks and jobs."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from medtrain.io.cache_root import writing_to


def build_once(folder: Path, build: Callable[[Path], None]) -> bool:
    """Make `folder` by `build(temporary folder)` unless it is there already; whoever comes second waits.

    Returns:
        Whether it was built now.

    Raises:
        MedtrainError: the disk is full or the place cannot be written; the message says where and which key moves it.
    """
    if folder.is_dir():
        return False
    with writing_to(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if folder.is_dir():
                return False
            temporary = folder.parent / f".{folder.name}.tmp"
            shutil.rmtree(temporary, ignore_errors=True)  # of a builder that died: we hold its lock
            temporary.mkdir()
            try:
                build(temporary)
                os.rename(temporary, folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
            return True
