"""Are two sets of label maps the same? Voxel by voxel; those that differ are told with how nearly they tip."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from medtrain.export.parity import Limits, Parity, read_tables, texts
from medtrain.io.volume_source import read_volume

NEAR = 2e-3  # of a probability: ties are noted to this, which is what two may differ by in half precision
VOLUME = "volume_ml_"


def ties_of(label_map: Path) -> Path:
    """Name the file beside a label map that notes its nearly tied voxels."""
    return label_map.with_name(f"{label_map.name}.ties.npz")


def compare_masks(ours: Path, theirs: Path, limits: Limits) -> Parity:
    """Compare the tables of volumes, and the label map of each case that a row of theirs names.

    A label changes where two probabilities cross, each of which may be off by `Limits.probability`.
    """
    one, other, parity = read_tables(ours, theirs)
    if parity.faults:
        return parity
    for column in one.columns:
        if column != "mask" and not column.startswith(VOLUME):
            texts(parity, one, other, column)
    volumes = [column for column in one.columns if column.startswith(VOLUME)]
    for row in range(len(one)):
        cells = one.iloc[row], other.iloc[row]
        names = [Path(side["mask"]).name for side in cells]
        if names[0] != names[1]:
            parity.faults.append(f"{cells[0]['case']}: label map {names[1]!r}, not {names[0]!r}")
        elif names[0]:
            files = ours.parent / cells[0]["mask"], theirs.parent / cells[1]["mask"]
            _volumes(parity, *cells, volumes, _label_maps(parity, str(cells[0]["case"]), *files, limits))
    return parity


def _label_maps(parity: Parity, case: str, ours: Path, theirs: Path, limits: Limits) -> float:
    """Compare two label maps; returns by how many ml volumes may differ then."""
    one, other = (_image(file) for file in (ours, theirs))
    if one.shape != other.shape or not np.array_equal(one.affine, other.affine):
        parity.faults.append(f"{case}: a label map of {other.shape} voxels on another grid than {one.shape}")
        return 0.0
    label, their_label = (read_volume(file).x_CDHW[0] for file in (ours, theirs))
    place = np.flatnonzero(label != their_label)
    parity.voxels += label.size
    parity.voxels_apart += len(place)
    if len(place):
        near = _nearness(ours, place)
        text = (
            f"{case}: {len(place):,} of {label.size:,} voxels have another label, the farthest "
            + (f"{near:.2g}" if np.isfinite(near) else f"more than {NEAR:g}")
            + " from where it tips"
        )
        parity.changed.append(text)
        if near > 2 * limits.probability:
            parity.faults.append(text)
    return float(len(place) * abs(np.linalg.det(one.affine[:3, :3])) / 1000)


def _image(file: Path) -> Any:
    return nib.load(file)


def _nearness(file: Path, place: Any) -> float:
    """Find the largest margin of these voxels; infinite where one is no near tie."""
    with np.load(ties_of(file)) as noted:
        margin = dict(zip(noted["place"].tolist(), noted["margin"].tolist(), strict=True))
    return max(margin.get(number, np.inf) for number in place.tolist())


def _volumes(parity: Parity, one: pd.Series, other: pd.Series, columns: list[str], apart: float) -> None:
    """Compare volumes of a case, which differ by what its label maps do."""
    for column in columns:
        values = [float(side[column] or "nan") for side in (one, other)]
        if not abs(values[0] - values[1]) <= apart * 1.001 + 1e-9 * abs(values[0]):
            parity.faults.append(f"{one['case']}: {column} {other[column]}, not {one[column]}")
