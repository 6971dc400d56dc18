"""Write small MRI cases of a curved organ in two parts, in nnU-Net's raw folder, to time a segmentation on.

    python scripts/benchmarks/two_parts.py FOLDER --cases 260 --seed 0

Each case is about 35 x 50 x 35 voxels of 1 mm. Two curved parts of one grey abut (labels 1 and 2, head and tail), where
they part is blurred by an observer's doubt, and neighbours of the same grey touch them; noise, a bias field and grey
levels of any range lie over all. Made up: it tells how long training takes and whether it learns, not how good it is.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Grid = NDArray[np.float64]


def smooth(draw: np.random.Generator, shape: tuple[int, ...], mm: float) -> Grid:
    """Draw a smooth field of mean 0 and deviation 1."""
    field = gaussian_filter(draw.standard_normal(shape), mm, mode="reflect")
    return np.asarray((field - field.mean()) / field.std())


def organ(draw: np.random.Generator, shape: tuple[int, int, int]) -> tuple[Grid, Grid]:
    """Draw a bent tube: the distance of each voxel from its surface, mm, below 0 within; and where along it a voxel
    lies, -1 to 1."""
    axes = [np.arange(n) - (n - 1) / 2 + draw.uniform(-2, 2) for n in shape]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    along = np.linspace(-1, 1, 41)
    length, bend, lean = draw.uniform(15, 18), draw.uniform(4, 8), draw.uniform(-3, 3)
    head, tail = draw.uniform(5.5, 7.5), draw.uniform(2.5, 4)
    radius = (head + (tail - head) * (along + 1) / 2) * np.sqrt(np.clip(1 - np.abs(along) ** 6, 0.05, 1))
    best, place = np.full(shape, np.inf), np.zeros(shape)
    for t, r in zip(along, radius, strict=True):
        middle = (lean * t + 2 * t**2, length * t, bend * (t**2 - 0.4))
        distance = np.sqrt((x - middle[0]) ** 2 + (y - middle[1]) ** 2 + ((z - middle[2]) * 1.2) ** 2) - r
        nearer = distance < best
        best[nearer], place[nearer] = distance[nearer], t
    return best + 0.8 * smooth(draw, shape, 3), place


def make_case(seed: int, number: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Make an image and its labels."""
    draw = np.random.default_rng([seed, number])
    shape = (int(draw.integers(31, 40)), int(draw.integers(44, 57)), int(draw.integers(29, 42)))
    distance, place = organ(draw, shape)
    parted = draw.uniform(-0.25, -0.1) + 0.05 * smooth(draw, shape, 4)
    label = np.where(distance < 0, np.where(place < parted, 1, 2), 0).astype(np.uint8)
    tissue = smooth(draw, shape, 4)
    grey = np.select([tissue < -0.9, tissue < -0.1], [0.25, 0.58], 0.85)  # fluid, grey and white matter
    grey = np.where((distance < 1.5) & (tissue > -0.6), 0.85, grey)  # a thin sheet of white matter, with gaps
    grey = np.where(distance < 0.4 * smooth(draw, shape, 2), 0.56, grey)
    image = gaussian_filter(grey, 0.6) + 0.06 * draw.standard_normal(shape)
    image *= np.exp(0.15 * smooth(draw, shape, 15))
    return (image * 10 ** draw.uniform(1, 5)).astype(np.float32), label


def main() -> None:
    """Write the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cases", type=int, default=260)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    for name in ("imagesTr", "labelsTr"):
        (wanted.folder / name).mkdir(parents=True, exist_ok=True)
    for number in range(wanted.cases):
        image, label = make_case(wanted.seed, number)
        nib.save(nib.Nifti1Image(image, np.eye(4)), wanted.folder / "imagesTr" / f"parts_{number:03}_0000.nii.gz")
        nib.save(nib.Nifti1Image(label, np.eye(4)), wanted.folder / "labelsTr" / f"parts_{number:03}.nii.gz")
    described = {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "head": 1, "tail": 2},
        "numTraining": wanted.cases,
        "file_ending": ".nii.gz",
    }
    (wanted.folder / "dataset.json").write_text(json.dumps(described, indent=1))


if __name__ == "__main__":
    main()
