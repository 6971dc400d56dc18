"""Folders of images: one folder a class, with or without train, val and test above them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest, manifest_of
from medtrain.data.rows.passed_over import junk_folder, suffix_of, told_barren, told_passed
from medtrain.data.source import ROOT, Source
from medtrain.data.split import NAMES
from medtrain.io.image_form import is_picture
from medtrain.io.picture_files import files_below, pictures_below
from medtrain.io.table import Listing
from medtrain.target import DataSpec


@Source(ROOT, batches="images")
def image_folder(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """List a row an image below ``data.root``; its label is its class's folder, at any depth below it.

    Splits are kept where folders under the root are called train, val (valid, validation) and test. Cases are named by
    their paths below the root; data.filter can ask for ``path``, ``label`` and ``split``. Arguments as of
    `medtrain.data.source.reader`.
    """
    if not cfg.get("root") or not isinstance(cfg["root"], str):
        what = "names several folders" if cfg.get("root") else "is not set"
        raise UsageError(f"data.root {what}: give one folder, with one folder of images a class")
    root = Path(str(cfg["root"])).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root={root}: no such folder")
    # roles are known here: a table's data.columns would have nothing to name
    listing, warnings = list_folder(root)
    manifest = manifest_of(listing, {**cfg, "columns": {"patient": "none"}}, spec)
    manifest.warnings += warnings
    return manifest


def list_folder(root: Path) -> tuple[Listing, list[Problem]]:
    """List columns path, label and, where the folders are so called, split; sorted by path; and what was passed over.

    Where two of train, val and test are there, other folders beside them are passed over, as are those that systems
    leave behind (hidden ones, too), and files that are no pictures by their names.

    Raises:
        DataError: no images in folders, some stand outside every class's folder, or it can't be told whether a folder
            is a split or a class.
    """
    looked = _look(root)
    tops = {path.split("/")[0] for path in looked.paths if "/" in path}
    splits = {top for top in tops if top.lower() in NAMES}
    others = sorted(tops - splits)
    parted = len({NAMES[top.lower()] for top in splits}) > 1
    if splits and others and not parted and all(p.count("/") > 1 for p in looked.paths if p.split("/")[0] in splits):
        shown = ", ".join(others[:5])
        raise DataError(
            f"data.root={root}: are the folders of {min(splits)} classes of a split, and what is {shown}?",
            advice=f"move {shown} out of the folder, or add the other splits (val, test)",
        )
    with_splits = bool(splits) and (parted or not others)
    depth, paths = 2 if with_splits else 1, sorted(looked.paths)
    if with_splits and others:
        strange = Counter(path.split("/")[0] for path in paths if path.split("/")[0] in others)
        looked.passed.update({f"{name}/": n for name, n in strange.items()})
        paths = [path for path in paths if path.split("/")[0] not in others]
    outside = [path for path in paths if path.count("/") < depth]
    if outside or not paths:
        what = f"{len(outside)} images in no class's folder, such as {outside[0]}" if outside else "no images"
        raise DataError(
            f"data.root={root} holds {what}; sort them as root/CLASS/image or root/train/CLASS/image",
            looked.warnings(root),
        )
    parts = [path.split("/") for path in paths]
    columns = {"path": paths, "label": [part[depth - 1] for part in parts]}
    if with_splits:
        columns["split"] = [part[0] for part in parts]
    return Listing.of(root, columns, paths), looked.warnings(root)


@dataclass
class _Looked:
    """Pictures below a folder, as paths from it, and how many files of which folder/ or suffix were passed over."""

    paths: list[str] = field(default_factory=list)
    passed: Counter[str] = field(default_factory=Counter)

    def warnings(self, root: Path) -> list[Problem]:
        barren = told_barren(root, [root / path for path in self.paths], "pictures")
        return [*told_passed(self.passed, root.name, "classes' pictures"), *barren]


def _look(root: Path) -> _Looked:
    looked = _Looked()
    for file in files_below(root):
        path = file.relative_to(root)
        if not is_picture(file):
            looked.passed[suffix_of(path)] += 1
        elif junk := junk_folder(path):
            looked.passed[junk] += 1
        else:
            looked.paths.append(path.as_posix())
    for folder in (*root.glob(".*/"), *root.glob("*/.*/")):
        looked.passed[f"{folder.relative_to(root).as_posix()}/"] += len(pictures_below(folder))
    looked.passed = +looked.passed
    return looked
