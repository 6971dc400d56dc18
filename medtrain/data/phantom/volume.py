"""Sections of chest CTs with one nodule each, drawn from a seed: a case for everything that volumes can be.

They are written as NIfTI in Hounsfield units, with several spacings and orientations and a mask of the nodule, and read
by the real readers. Malignant nodules tend to be larger, spiculated and uneven; each sign overlaps with the benign ones
(size alone has an AUROC of about 0.8), so a model can be good or bad at it, but not perfect. A section's extent is
drawn before its nodule, and tells nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.stats import norm

from medtrain.core.progress import Progress
from medtrain.core.streams import stream
from medtrain.data.phantom.made import by_patient
from medtrain.data.phantom.outcomes import Truth, write_tables
from medtrain.io.build_once import build_once
from medtrain.io.cache_root import cache_root

VERSION = 3  # raise it when the same parameters give other files
SICK = 0.45  # of the patients have malignant nodules
SIZE, SPIKES, TEXTURE = 1.3, 2.0, 2.0  # how far apart the classes are in each sign, in standard deviations
AIR, LUNG, SOFT, BONE = -1000, -850, 40, 450  # HU
ORIENTATIONS = ("LPS", "RAS", "LAS", "RPI", "PSL")
SITES = ("north", "south", "west")
GRADES = 5

Grid = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]  # mm from the middle: right, front, head
Field = NDArray[np.float32]


@dataclass(frozen=True)
class Nodule:
    """What a nodule looks like: radius in mm, and how spiculated and uneven it is, around 0 where it is benign."""

    malignant: bool
    radius: float
    spikes: float
    texture: float

    @property
    def suspicion(self) -> float:
        """Sum up how malignant it looks, 0 to 1: by size, spikes and texture alike, whatever it is."""
        size = np.log(self.radius / 5.5) / 0.28
        return float(norm.cdf((size - SIZE / 2 + self.spikes - SPIKES / 2 + self.texture - TEXTURE / 2) / 3))


def phantom_folder(cfg: Mapping[str, Any], progress: Progress | None = None) -> Path:
    """Find the folder of the phantom that `cfg` asks for (patients, phantom_seed), made if need be."""
    patients, seed = int(cfg["patients"]), int(cfg.get("phantom_seed") or 0)
    folder = cache_root(cfg.get("cache_dir")) / "phantoms" / f"volume_v{VERSION}_{patients}p_seed{seed}"
    build_once(folder, lambda place: make_phantom_volume(place, patients=patients, seed=seed, progress=progress))
    return folder


def make_phantom_volume(folder: Path, *, patients: int, seed: int, progress: Progress | None = None) -> None:
    """Write `images/*`, `masks/*` and `table.csv` (image, mask, label, patient, sex, site, diameter_mm).

    `outcomes.csv` has the diameter (value, mm), and what follows from how suspicious a nodule looks (`write_outcomes`).

    Args:
        patients: each with one or two sections.
        seed: the same seed gives the same files.
        progress: called with (done, total) patients.
    """
    for name in ("images", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    sections = by_patient(lambda number: _patient(folder, number, seed), patients, progress)
    write_tables(folder, sections, GRADES, seed)


def _patient(folder: Path, number: int, seed: int) -> tuple[list[dict[str, Any]], list[Truth]]:
    draw = stream(seed, "phantom_volume", number)
    sick, site, sex = draw.random() < SICK, SITES[int(draw.integers(len(SITES)))], "FM"[int(draw.integers(2))]
    rows, truths = [], []
    for section in range(1 + int(draw.random() < 0.2)):
        name = f"p{number:04d}_{section}.nii" + ".gz" * int(draw.random() < 0.67)
        hu, mask, spacing, nodule = draw_section(draw, sick)
        orientation = ORIENTATIONS[int(draw.integers(len(ORIENTATIONS)))]
        place = draw.uniform(-150, 150, 3)
        _save(hu, spacing, place, orientation, folder / "images" / name)
        _save(mask, spacing, place, orientation, folder / "masks" / name)
        truths.append(Truth(2 * nodule.radius, nodule.suspicion))
        rows.append(
            {
                "image": f"images/{name}",
                "mask": f"masks/{name}",
                "label": int(nodule.malignant),
                "patient": f"p{number:04d}",
                "sex": sex,
                "site": site,
                "diameter_mm": round(2 * nodule.radius, 1),
            }
        )
    return rows, truths


def draw_section(
    draw: np.random.Generator, malignant: bool
) -> tuple[NDArray[np.int16], NDArray[np.uint8], tuple[float, float, float], Nodule]:
    """Draw one section: Hounsfield units, the nodule's mask, both (right, front, head), mm a voxel, and the nodule."""
    within = draw.uniform(1.0, 1.9)
    spacing = (within, within, float(draw.choice((1.25, 2.0, 2.5, 3.0))))
    size = [round(draw.uniform(66, 84) / step) for step in spacing]
    axes = [((np.arange(n) - (n - 1) / 2) * step).astype(np.float32) for n, step in zip(size, spacing, strict=True)]
    grid: Grid = tuple(np.meshgrid(*axes, indexing="ij", sparse=True))  # type: ignore[assignment]
    nodule = _draw_nodule(draw, malignant)
    hu = LUNG + 60 * _noise(draw, size, 2.5)
    for _ in range(int(draw.integers(5, 10))):
        np.maximum(hu, _vessel(draw, grid), out=hu)
    wall = _wall(draw, grid)
    np.copyto(hu, wall, where=wall > AIR)
    mask = _put(hu, draw, axes, nodule)
    hu = gaussian_filter(hu, [0.8 / step for step in spacing])
    hu += float(draw.uniform(15, 45)) * draw.standard_normal(size, dtype=np.float32)
    return np.clip(np.rint(hu), -1024, 3071).astype(np.int16), mask, spacing, nodule


def _draw_nodule(draw: np.random.Generator, malignant: bool) -> Nodule:
    size, spikes, texture = draw.normal(0, 1, 3) + np.array([SIZE, SPIKES, TEXTURE]) * malignant
    return Nodule(malignant, float(np.clip(5.5 * np.exp(0.28 * size), 3, 14)), float(spikes), float(texture))


def _put(hu: Field, draw: np.random.Generator, axes: list[Field], nodule: Nodule) -> NDArray[np.uint8]:
    """Draw the nodule near the middle of a section; its mask."""
    mask = np.zeros(hu.shape, np.uint8)
    centre, reach = draw.uniform(-8, 8, 3).tolist(), 2.5 * nodule.radius
    part = tuple(
        slice(*np.searchsorted(axis, (middle - reach, middle + reach)))
        for axis, middle in zip(axes, centre, strict=True)
    )
    stretch = draw.uniform(0.85, 1.15, 3).tolist()
    x, y, z = np.meshgrid(
        *((axis[s] - middle) / by for axis, s, middle, by in zip(axes, part, centre, stretch, strict=True)),
        indexing="ij",
        sparse=True,
    )
    distance = np.sqrt(x * x + y * y + z * z) + np.float32(1e-3)
    height, edge = max(0.0, 0.18 + 0.17 * nodule.spikes), np.ones_like(distance)
    for way in draw.normal(0, 1, (16, 3)):
        to_right, to_front, to_head = (way / np.linalg.norm(way)).tolist()
        along = (x * to_right + y * to_front + z * to_head) / distance
        edge += height * float(draw.uniform(0.4, 1.3)) * np.exp((along - 1) * 28)
    shape = np.clip((nodule.radius * edge - distance) / 1.5 + 0.5, 0, 1)
    uneven = _noise(draw, list(distance.shape), 1.2) * max(0.0, 70 + 75 * nodule.texture)
    hu[part] += (float(draw.uniform(-40, 60)) + uneven - hu[part]) * shape
    mask[part] = shape > 0.5
    return mask


def _vessel(draw: np.random.Generator, grid: Grid) -> Field:
    """Draw a gently bent tube through the section."""
    x, y, z = grid
    way, across = draw.normal(0, 1, (2, 3))
    across = np.cross(way, across)
    third = np.cross(way, across)
    (a, b, c), (d, e, f), (g, h, i) = ((v / np.linalg.norm(v)).tolist() for v in (way, across, third))
    right, front = draw.uniform(-32, 32, 2).tolist()
    length, phase, bend, radius = (float(draw.uniform(*ends)) for ends in ((12, 25), (0, 6), (2, 7), (1.0, 2.6)))
    bent = x * d + y * e + z * f - right - bend * np.sin((x * a + y * b + z * c) / length + phase)
    apart = np.hypot(bent, x * g + y * h + z * i - front)
    return np.asarray(LUNG + (30 - LUNG) * np.clip(radius + 0.5 - apart, 0, 1))


def _wall(draw: np.random.Generator, grid: Grid) -> Field:
    """Draw the chest wall with its ribs on one side of the section, `AIR` where there is none."""
    x, y, z = grid
    turn, depth, first = (float(draw.uniform(*ends)) for ends in ((0, 2 * np.pi), (20, 30), (0, 24)))
    deep = x * float(np.cos(turn)) + y * float(np.sin(turn)) - depth + (x * x + y * y + z * z) / 400
    rib = ((deep - 7) / 4) ** 2 + (((z + first) % 24 - 12) / 5) ** 2 < 1
    return np.where(deep > 0, np.where(rib, np.float32(BONE), np.float32(SOFT)), np.float32(AIR))


def _noise(draw: np.random.Generator, size: list[int], width: float) -> Field:
    """Draw smooth noise of standard deviation 1."""
    rough = gaussian_filter(draw.standard_normal(size, dtype=np.float32), width)
    return np.asarray(rough / rough.std(), np.float32)


def _save(
    voxels: NDArray[Any], spacing: tuple[float, float, float], place: NDArray[np.float64], orientation: str, file: Path
) -> None:
    """Save a file whose axes run as `orientation` says; what it shows lies in the same place whatever that is."""
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = place
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(orientation)
    )
    stored = nib.apply_orientation(voxels, turn)
    image = nib.Nifti1Image(stored, affine @ nib.orientations.inv_ornt_aff(turn, voxels.shape))
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
