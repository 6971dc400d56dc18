"""Small volumes with masks of two labels to test with: a ball, one half of it label 1, the other 2."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tests.repository import data_option
from tests.volumes import save

PLANNED = (
    *("spacing", "patch_size", "batch_size", "patches_per_volume", "foreground_share"),
    *("regions", "ignore_label", "modality", "strides"),
)
ORIENTATIONS = ("RAS", "LPS", "PSL")


def ball(size: tuple[int, ...], centre: np.ndarray, radius: float) -> np.ndarray:
    """A mask: 1 to the left of the ball's centre, 2 to the right, 0 elsewhere."""
    grid = np.indices(size)
    inside = ((grid - centre[:, None, None, None]) ** 2).sum(0) < radius**2
    return (inside * (1 + (grid[0] > centre[0]))).astype(np.uint8)


def halved_balls(folder: Path, count: int = 20, **written: Any) -> Path:
    """A table (image, mask, patient) of balls that are brighter than what is around them.

    Args:
        written: of each, as of `tests.volumes.save`.
    """
    draw, rows = np.random.default_rng(5), []
    for n in range(count):
        size = tuple(draw.integers(20, 27, 3).tolist())
        mask = ball(size, np.array(size) / 2 + draw.uniform(-3, 3, 3), draw.uniform(4, 6))
        voxels = (100 * mask + draw.normal(40, 12, size)).astype(np.int16)
        how = {"spacing": (1.0, 1.0, 1.5), "orientation": ORIENTATIONS[n % 3]} | written
        save(folder / f"{n}.nii.gz", voxels, **how)
        save(folder / f"mask_{n}.nii.gz", mask, **how)
        rows.append((f"{n}.nii.gz", f"mask_{n}.nii.gz", f"p{n}"))
    file = folder / "table.csv"
    pd.DataFrame(rows, columns=["image", "mask", "patient"]).to_csv(file, index=False)
    return file


def segmentation(table: Path, **keys: Any) -> dict[str, Any]:
    """The data node of a segmentation as its task leaves it: all is planned."""
    node = data_option("volume_table") | dict.fromkeys(PLANNED) | {"label_from": "mask", "memory_gb": 8.0}
    return node | {"table": str(table), "cache_dir": str(table.parent / "cache"), "num_workers": 0} | keys
