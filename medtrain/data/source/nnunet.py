"""Volumes with masks as nnU-Net and the Medical Segmentation Decathlon keep them: imagesTr, labelsTr, dataset.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from medtrain.core.errors import DataError, Problem, UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.columns import IGNORED
from medtrain.data.rows.manifest import Manifest
from medtrain.data.rows.masks import mask_rows
from medtrain.data.source import ROOT, Source
from medtrain.io.nnunet import FOLDS, RawFolder, read_raw_folder
from medtrain.io.nnunet_json import FILE
from medtrain.io.table import Listing
from medtrain.io.volume_source import channels_of
from medtrain.target import DataSpec

OWN_COLUMNS = (
    "split",
    "fold",
)  # roles of which the folder may say something, and data.columns.ROLE=none passes it over


@Source(ROOT, batches="masks")
def nnunet(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a case below data.root; names, regions and what is ignored are those of dataset.json, unless set.

    Cases of imagesTs are tested where labelsTs has their masks; folds are nnU-Net's own where splits_final.json lies
    there. Arguments as of `medtrain.data.source.reader`.
    """
    if not cfg.get("root") or not isinstance(cfg["root"], str):
        raise UsageError("data.root is not set: give nnU-Net's raw folder, nnUNet_raw/DatasetNNN_NAME")
    root = Path(str(cfg["root"])).expanduser()
    if not root.is_dir():
        raise UsageError(f"data.root={root}: no such folder")
    named = {role: name for role, name in (cfg.get("columns") or {}).items() if role not in OWN_COLUMNS}
    if wrong := [role for role, name in named.items() if name not in (None, IGNORED)]:
        raise UsageError(
            f"data.columns.{wrong[0]}={named[wrong[0]]} is of tables, of which data=nnunet reads none "
            "(data.patient_pattern finds patients in the cases' names)"
        )
    folder = read_raw_folder(root)
    _refuse_other_channels(folder)
    manifest = mask_rows(listing_of(root, folder), _node(cfg, root, folder), spec)
    manifest.modality = folder.modality
    alone = "each case counts as a patient of its own (data.patient_pattern finds patients in the names of cases)"
    manifest.warnings = [replace(w, detail=alone) if w.kind == "no_patient" else w for w in manifest.warnings]
    manifest.warnings += folder.warnings
    manifest.warnings += [] if cfg.get("modality") else folder.scaled_otherwise()
    if folder.folds and cfg.get("fold") is not None and manifest.fold is not None:
        detail = f"folds are those of {FOLDS} (data.columns.fold=none makes others)"
        manifest.warnings.append(Problem("own_folds", FILE, detail, "warning"))
    for n, case in enumerate(manifest.case):
        if case in folder.faults:
            manifest.bad.append((n, Problem("missing", case, folder.faults[case])))
    manifest.bad.sort(key=lambda entry: entry[0])
    return manifest


def _refuse_other_channels(folder: RawFolder) -> None:
    """Refuse files that hold more or fewer channels than dataset.json names (DataError)."""
    named, cases = folder.described.channels, list(folder.cases.values())
    held = sum(channels_of([str(images[n]) for images, _, _ in cases]) for n in range(folder.files))
    if named and held != len(named):
        first = cases[0][0][0].name
        raise DataError(
            f"{FILE} names {len(named)} channels ({', '.join(named)}), but a case has {held}: {first}"
            + " and others" * (folder.files > 1)
        )


def listing_of(root: Path, folder: RawFolder) -> Listing:
    """List columns case, image (a column a file of a case), mask and, where they are known, split and fold."""
    cases = list(folder.cases)
    columns: dict[str, list[str]] = {"case": cases}
    for n in range(folder.files):
        columns[f"image_{n}"] = [_below(folder.cases[case][0][n], root) for case in cases]
    columns["mask"] = [_below(folder.cases[case][1], root) for case in cases]
    splits = [folder.cases[case][2] for case in cases]
    if "test" in splits:
        columns["split"] = splits
    if folder.folds:
        columns["fold"] = [str(folder.folds.get(case, "")) for case in cases]
    return Listing.of(root / FILE, columns, cases)


def _below(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _node(cfg: Mapping[str, Any], root: Path, folder: RawFolder) -> dict[str, Any]:
    """Put what dataset.json says into the data node where a key leaves it open."""
    described, images = folder.described, [f"image_{n}" for n in range(folder.files)]
    columns: dict[str, Any] = {"case": "case", "path": images, "mask": "mask", "patient": "none"}
    columns |= {role: (cfg.get("columns") or {}).get(role) for role in OWN_COLUMNS}
    named = cfg.get("classes") or cfg.get("label_map")
    own: dict[str, Any] = {"root": str(root), "columns": columns}
    if not named:
        own["label_map"] = described.labels
        own |= {} if cfg.get("regions") else {"regions": described.regions or None}
    if cfg.get("ignore_label") is None:
        own["ignore_label"] = described.ignore
    return {**cfg, **own}
