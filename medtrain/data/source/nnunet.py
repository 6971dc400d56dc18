"""Volumes with masks as nnU-Net and the Medical Segmentation Decathlon keep them: imagesTr, labelsTr, dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from medtrain.core.errors import Problem, UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.masks import mask_rows
from medtrain.data.source import ROOT, Source
from medtrain.io.nnunet import RawFolder, read_raw_folder
from medtrain.io.table import Listing
from medtrain.target import DataSpec


@Source(ROOT, batches="masks")
def nnunet(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a case below data.root; names, regions and what is ignored are those of dataset.json, unless set.

    Cases of imagesTs are tested where labelsTs has their masks. Arguments as of `medtrain.data.source.reader`.
    """
    if not cfg.get("root") or not isinstance(cfg["root"], str):
        raise UsageError("data.root is not set: give nnU-Net's raw folder, nnUNet_raw/DatasetNNN_NAME")
    root = Path(str(cfg["root"])).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root={root}: no such folder")
    folder = read_raw_folder(root)
    manifest = mask_rows(listing_of(root, folder), _node(cfg, root, folder), spec)
    manifest.modality = folder.modality
    manifest.warnings += folder.warnings
    for n, case in enumerate(manifest.case):
        if case in folder.faults:
            manifest.bad.append((n, Problem("missing", case, folder.faults[case])))
    manifest.bad.sort(key=lambda entry: entry[0])
    return manifest


def listing_of(root: Path, folder: RawFolder) -> Listing:
    """List columns case, image (a column a channel), mask and, where there are test cases, split."""
    cases = list(folder.cases)
    columns: dict[str, list[str]] = {"case": cases}
    for n in range(len(folder.channels)):
        columns[f"image_{n}"] = [str(folder.cases[case][0][n].relative_to(root)) for case in cases]
    columns["mask"] = [str(folder.cases[case][1].relative_to(root)) for case in cases]
    splits = [folder.cases[case][2] for case in cases]
    if "test" in splits:
        columns["split"] = splits
    return Listing.of(root / "dataset.json", columns, cases)


def _node(cfg: Mapping[str, Any], root: Path, folder: RawFolder) -> dict[str, Any]:
    """Put what dataset.json says into the data node where a key leaves it open."""
    images = [f"image_{n}" for n in range(len(folder.channels))]
    split = (cfg.get("columns") or {}).get("split")
    columns = {"case": "case", "path": images, "mask": "mask", "patient": "none", "split": split}
    named = cfg.get("classes") or cfg.get("label_map")
    own: dict[str, Any] = {"root": str(root), "columns": columns}
    if not named:
        own["label_map"] = folder.labels
        own |= {} if cfg.get("regions") else {"regions": folder.regions or None}
    if cfg.get("ignore_label") is None:
        own["ignore_label"] = folder.ignore
    return {**cfg, **own}
