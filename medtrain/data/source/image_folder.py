"""Folders of images: one folder a class, with or without train, val and test above them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest, manifest_of
from medtrain.data.source import ROOT, Source
from medtrain.data.split import NAMES
from medtrain.io.picture_files import pictures_below
from medtrain.io.table import Listing
from medtrain.target import DataSpec


@Source(ROOT, batches="images")
def image_folder(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """List a row an image below ``data.root``; its label is its class's folder, at any depth below it.

    Splits are kept where every folder under the root is called train, val (valid, validation) or test. Cases are
    named by their paths below the root; data.filter can ask for ``path``, ``label`` and ``split``. Arguments as of
    `medtrain.data.source.reader`.
    """
    if not cfg.get("root"):
        raise UsageError("data.root is not set: give a folder with one folder of images a class")
    root = Path(str(cfg["root"])).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root={root}: no such folder")
    # roles are known here: a table's data.columns would have nothing to name
    return manifest_of(list_folder(root), {**cfg, "columns": {"patient": "none"}}, spec)


def list_folder(root: Path) -> Listing:
    """List columns path, label and, where the folders are so called, split; sorted by path.

    Raises:
        DataError: no images in folders, or some stand outside every class's folder.
    """
    paths = sorted(path.relative_to(root).as_posix() for path in pictures_below(root))
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
