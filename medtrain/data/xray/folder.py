"""Folders of images as a data module: one folder a class, with or without train, val and test above them."""

from __future__ import annotations

import os
from pathlib import Path

from medtrain.core.errors import DataError, UsageError
from medtrain.data.split import NAMES
from medtrain.data.table.manifest import Manifest, manifest_of
from medtrain.data.xray.module import ImageData
from medtrain.io.image import is_picture
from medtrain.io.table import Listing


class FolderData(ImageData):
    """`ImageData` from ``data.root``; the label of an image is its class's folder, at any depth below it.

    Splits are kept where every folder under the root is called train, val (valid, validation) or test. Cases are
    named by their paths below the root; data.filter can ask for ``path``, ``label`` and ``split``.
    """

    def manifest(self) -> Manifest:
        if not self.cfg.get("root"):
            raise UsageError("data.root is not set: give a folder with one folder of images a class")
        root = Path(str(self.cfg["root"])).expanduser()
        if not root.is_dir():
            raise UsageError(f"data.root={root}: no such folder")
        # roles are known here: a table's data.columns would have nothing to name
        return manifest_of(list_folder(root), {**self.cfg, "columns": {"patient": "none"}}, self.model_spec)


def list_folder(root: Path) -> Listing:
    """Columns path, label and, where the folders are so called, split; sorted by path.

    Raises:
        DataError: no images in folders, or some stand outside every class's folder.
    """
    paths = sorted(_images(root))
    tops = {path.split("/")[0] for path in paths if "/" in path}
    with_splits = bool(tops) and all(top.lower() in NAMES for top in tops)
    depth = 2 if with_splits else 1
    outside = [path for path in paths if path.count("/") < depth]
    if outside or not paths:
        what = f"{len(outside)} images in no class's folder, such as {outside[0]}" if outside else "no images"
        raise DataError(f"data.root={root} holds {what}; sort them as root/CLASS/image or root/train/CLASS/image")
    parts = [path.split("/") for path in paths]
    columns = {"path": paths, "label": [part[depth - 1] for part in parts]}
    if with_splits:
        columns["split"] = [part[0] for part in parts]
    return Listing.of(root, columns, paths)


def _images(root: Path) -> list[str]:
    """Pictures below `root`, as paths from it; hidden files and folders are left alone."""
    found: list[str] = []
    seen: set[str] = set()  # links to folders are followed, but not in a circle
    for folder, below, files in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if (real := os.path.realpath(folder)) in seen:
            below.clear()
            continue
        seen.add(real)
        at = Path(folder).relative_to(root)
        found += [(at / name).as_posix() for name in files if is_picture(Path(folder) / name)]
    return found
