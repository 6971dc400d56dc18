"""What do the crops of LIDC-IDRI's nodules hold? Scores of readers' outlines, to compare a model's with.

    python scripts/benchmarks/nodules.py --data DATA --folder SCORES
    medtrain compare RUN SCORES/volume.csv compare.baseline=SCORES/volume.csv

DATA holds `lidc_nodules`. SCORES gets, each of `case` and `score`: `diameter.csv`, `volume.csv` (of the mask that a
reader drew), and two that are learned out of fold (five folds of patients, extremely randomised trees) from size, shape
and density within that mask: `sections.csv` from the middle 2.5 x 20 x 20 mm, all that `medtrain plan` lets a network
see, and `crops.csv` from whole crops, whose ends tell where the nodule ends. Also prints their AUROC.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import ndimage
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold

Voxels = NDArray[Any]
SPACING = np.array([0.703, 0.703, 1.25])  # mm, to the right, the front and the head, as the plan has it
SEEN = (28, 28, 2)  # voxels of it
PERCENTILES = (1, 10, 25, 50, 75, 90, 99)


def read(file: Path) -> tuple[Voxels, NDArray[np.float64]]:
    """Read a volume, its axes to the right, the front and the head, and its spacing in mm."""
    image: Any = nib.as_closest_canonical(nib.load(file))
    return np.asanyarray(image.dataobj).astype(float), np.array(image.header.get_zooms()[:3], float)


def middle(volume: Voxels, spacing: NDArray[np.float64]) -> Voxels:
    """Resample a volume and cut out the middle that a network sees."""
    whole = ndimage.zoom(volume, spacing / SPACING, order=1)
    starts = [max(0, n // 2 - seen // 2) for n, seen in zip(whole.shape, SEEN, strict=True)]
    return whole[tuple(slice(start, start + seen) for start, seen in zip(starts, SEEN, strict=True))]


def features(hu: Voxels, mask: Voxels, spacing: NDArray[np.float64]) -> dict[str, float]:
    """Measure size, shape (mm) and density (HU) of what the mask marks, and the density around it."""
    edge = mask & ~ndimage.binary_erosion(mask, np.ones((3, 3, 1)))
    steep = ndimage.gaussian_gradient_magnitude(hu, 1.0)
    size = np.log(mask.sum() * spacing.prod())
    faces = [np.diff(np.pad(mask, 1), axis=n).sum() * spacing.prod() / step for n, step in enumerate(spacing)]
    surface = np.log(sum(faces))  # of size mm3 in mm2
    points = np.argwhere(mask) * spacing
    axes = np.linalg.eigvalsh(np.cov(points.T)) if len(points) > 3 else np.ones(3)
    found = {"size": size, "compact": 1.5 * surface - size, "fill": mask.mean()}
    found |= {"long": axes[1] / (axes[2] + 1e-6), "flat": axes[0] / (axes[2] + 1e-6)}
    found |= {f"within_{q}": value for q, value in zip(PERCENTILES, np.percentile(hu[mask], PERCENTILES), strict=True)}
    around = hu[~mask] if not mask.all() else hu
    found |= {f"around_{q}": value for q, value in zip((10, 50, 90), np.percentile(around, (10, 50, 90)), strict=True)}
    found |= {"sd": hu[mask].std(), "edge": hu[edge].mean(), "edge_sd": hu[edge].std()}
    found |= {"calcified": (hu[mask] > 200).mean(), "ground_glass": ((hu[mask] > -750) & (hu[mask] < -300)).mean()}
    return found | {"steep": steep[mask].mean(), "steep_edge": steep[edge].mean()}


def out_of_fold(table: pd.DataFrame, positive: Voxels, patient: Voxels, seed: int) -> Voxels:
    """Learn from four fifths of the patients, score the others."""
    score = np.zeros(len(table))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    for train, test in folds.split(table, positive, patient):
        trees = ExtraTreesClassifier(500, min_samples_leaf=3, max_features=0.3, random_state=0)
        score[test] = trees.fit(table.iloc[train], positive[train]).predict_proba(table.iloc[test])[:, 1]
    return score


def main(argv: Sequence[str] | None = None) -> None:
    """Write the scores and print their AUROC."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="public data sets")
    parser.add_argument("--folder", type=Path, required=True, help="of the scores")
    parser.add_argument("--seeds", type=int, default=3, help="partitions of the patients; the first one is written")
    given = parser.parse_args(argv)
    given.folder.mkdir(parents=True, exist_ok=True)
    home = given.data / "lidc_nodules"
    cases = pd.read_csv(home / "nodules.csv")
    positive, patient = (cases["label"] == "malignant").to_numpy(), cases["patient"].to_numpy()
    crops, sections, volumes = [], [], []
    for image, outline in zip(cases["image"], cases["mask"], strict=True):
        hu, spacing = read(home / image)
        mask = read(home / outline)[0] > 0
        volumes.append(mask.sum() * spacing.prod())
        ends = {f"extent_{n}": size for n, size in enumerate(hu.shape * spacing)}
        crops.append(features(hu, mask, spacing) | ends)
        sections.append(features(middle(hu, spacing), middle(mask.astype(float), spacing) > 0.5, SPACING))
    scores = {"diameter": [cases["diameter_mm"].to_numpy()], "volume": [np.array(volumes)]}
    for name, found in (("sections", sections), ("crops", crops)):
        table = pd.DataFrame(found)
        scores[name] = [out_of_fold(table, positive, patient, seed) for seed in range(given.seeds)]
    for name, several in scores.items():
        pd.DataFrame({"case": cases["image"], "score": several[0]}).to_csv(given.folder / f"{name}.csv", index=False)
        print(f"{name:9}", " ".join(f"{roc_auc_score(positive, score):.4f}" for score in several))


if __name__ == "__main__":
    main()
