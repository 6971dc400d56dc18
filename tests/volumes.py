"""Small volumes to test with: what they hold is known to the voxel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd

from tests.dicom_files import dataset


def save(
    path: Path,
    voxels: np.ndarray,
    spacing: tuple[float, ...] = (1.0, 1.0, 1.0),
    orientation: str = "RAS",
    **header: Any,
) -> Path:
    """`voxels` (right, front, head, ...) as NIfTI; what they show lies in one place however the file is oriented."""
    affine = np.diag([*spacing, 1.0])
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(orientation)
    )
    stored = nib.apply_orientation(voxels, turn)
    image = nib.Nifti1Image(stored, affine @ nib.orientations.inv_ornt_aff(turn, voxels.shape[:3]))
    for name, value in header.items():
        image.header[name] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return path


def save_series(folder: Path, voxels: np.ndarray, spacing: tuple[float, float, float], **elements: Any) -> Path:
    """`voxels` (slice, row, column) int16 as an axial CT series, its files in no order."""
    folder.mkdir(parents=True, exist_ok=True)
    for n, pixels in enumerate(voxels):
        ds = dataset(
            pixels + 1024,
            Modality="CT",
            SeriesInstanceUID="1.2.3",
            SeriesNumber=2,
            ImagePositionPatient=[-10.0, -20.0, 5.0 + n * spacing[0]],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
            PixelSpacing=[spacing[1], spacing[2]],
            RescaleSlope=1,
            RescaleIntercept=-1024,
        )
        ds.PatientID, ds.PatientName = "SECRET-7", "Doe^Jane"
        for name, value in elements.items():
            setattr(ds, name, value)
        ds.save_as(folder / f"{(n * 7) % 101:03d}.dcm", enforce_file_format=True)
    return folder


def nodules(folder: Path, count: int = 24, size: int = 12) -> Path:
    """A table of small volumes, a bright ball in the positive ones, with masks; two volumes of some patients."""
    rows, grid = [], np.indices((size,) * 3)
    for n in range(count):
        draw = np.random.default_rng(n)
        voxels = draw.normal(-800, 20, (size,) * 3)
        ball = ((grid - size // 2 - draw.integers(-1, 2, 3)[:, None, None, None]) ** 2).sum(0) < 7
        if n % 2:
            voxels[ball] = 50
        name = f"v{n:02d}.nii" + ".gz" * (n % 3 == 0)
        save(folder / "images" / name, voxels.astype(np.int16), orientation=("RAS", "LPS", "PSL")[n % 3])
        save(folder / "masks" / name, (ball & bool(n % 2)).astype(np.uint8), orientation=("RAS", "LPS", "PSL")[n % 3])
        rows.append(
            {"image": f"images/{name}", "mask": f"masks/{name}", "label": n % 2, "patient": f"p{n // 4}{n % 2}"}
        )
    table = folder / "table.csv"
    pd.DataFrame(rows).to_csv(table, index=False)
    return table
