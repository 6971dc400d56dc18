"""Chest films drawn from a seed, so that everything can be tried, and tested, without anyone's data.

They are written as real files (8 and 16 bit PNG and a CSV) and read by the real readers. A patient's anatomy is drawn
once; films of it differ in pose, exposure and findings. Lesions overlap in contrast with vessels, breast shadows and
noise, and one report in thirty is wrong, so a model can be good or bad at it, but not perfect.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.ndimage import gaussian_filter

from medtrain.core.progress import Progress
from medtrain.core.streams import stream
from medtrain.data.phantom.anatomy import Anatomy, Picture, draw_anatomy, draw_chest, grid, soft_step
from medtrain.data.phantom.film import SITES, expose, halved, mark, save, scattered
from medtrain.data.phantom.made import by_patient
from medtrain.data.phantom.outcomes import Truth, write_tables
from medtrain.io.build_once import build_once
from medtrain.io.cache_root import cache_root

VERSION = 4  # raise it when the same parameters give other files
SICK = 0.45  # of the patients
WRONG = 0.033  # of the reports
SEEN = 0.1  # contrast from which on a shadow counts as one
MOST = 25.0  # % of the lungs in shadow: the most severe
GRADES = 4


@dataclass(frozen=True)
class ChestFinding:
    """What a film shows."""

    opacity: bool
    nodule: bool

    @property
    def name(self) -> str:
        return "opacity" if self.opacity else "nodule" if self.nodule else "normal"


def phantom_folder(cfg: Mapping[str, Any], progress: Progress | None = None) -> Path:
    """Find the folder of the phantom that `cfg` asks for (patients, image_size, phantom_seed), made if need be."""
    patients, size, seed = int(cfg["patients"]), int(cfg["image_size"]), int(cfg.get("phantom_seed") or 0)
    folder = cache_root(cfg.get("cache_dir")) / "phantoms" / f"xray_v{VERSION}_{patients}p_{size}px_seed{seed}"
    build_once(
        folder, lambda place: make_phantom_xray(place, patients=patients, image_size=size, seed=seed, progress=progress)
    )
    return folder


def make_phantom_xray(
    folder: Path, *, patients: int, image_size: int, seed: int, progress: Progress | None = None
) -> None:
    """Write `images/*.png` and `table.csv` (path, label, patient, sex, site, view, opacity, nodule, finding).

    `outcomes.csv` has the share of the lungs in shadow (value, %), and what follows from it (`write_outcomes`).

    Args:
        patients: each with one to four films.
        image_size: height of the smallest films in pixels; they differ in size and shape.
        seed: the same seed gives the same files.
        progress: called with (done, total) patients.
    """
    (folder / "images").mkdir(parents=True, exist_ok=True)
    films = by_patient(lambda number: _patient(folder, number, image_size, seed), patients, progress)
    write_tables(folder, films, GRADES, seed)


def _patient(folder: Path, number: int, image_size: int, seed: int) -> tuple[list[dict[str, str | int]], list[Truth]]:
    """Write one patient's films; their rows of the table, and what was drawn."""
    draw = stream(seed, "phantom_xray", number)
    anatomy = draw_anatomy(draw)
    sick = draw.random() < SICK
    site = SITES[int(draw.integers(len(SITES)))]
    rows: list[dict[str, str | int]] = []
    truths = []
    for film in range(int(draw.choice((1, 2, 3, 4), p=(0.2, 0.25, 0.3, 0.25)))):
        finding = _finding(draw, sick)
        view = "AP" if draw.random() < (0.4 if sick else 0.2) else "PA"
        name = f"images/p{number:04d}_{film}.png"
        picture, shadow = draw_film(draw, anatomy, finding, view, site, image_size)
        save(picture, folder / name, draw)
        truths.append(Truth(shadow, min(shadow / MOST, 1.0)))
        reported = finding if draw.random() >= WRONG else _wrong(finding, draw)
        rows.append(
            {
                "path": name,
                "label": int(reported.opacity or reported.nodule),
                "patient": f"p{number:04d}",
                "sex": "F" if anatomy.breast else "M",
                "site": site,
                "view": view,
                "opacity": int(reported.opacity),
                "nodule": int(reported.nodule),
                "finding": reported.name,
            }
        )
    return rows, truths


def _finding(draw: np.random.Generator, sick: bool) -> ChestFinding:
    if draw.random() >= (0.85 if sick else 0.06):
        return ChestFinding(False, False)
    kind = draw.choice(3, p=(0.5, 0.35, 0.15))
    return ChestFinding(kind != 1, kind != 0)


def _wrong(finding: ChestFinding, draw: np.random.Generator) -> ChestFinding:
    if finding.opacity or finding.nodule:
        return ChestFinding(False, False)
    opacity = bool(draw.random() < 0.6)
    return ChestFinding(opacity, not opacity)


def draw_film(
    draw: np.random.Generator, anatomy: Anatomy, finding: ChestFinding, view: str, site: str, image_size: int
) -> tuple[Picture, float]:
    """Draw one film, 0 (black) to 1, drawn at twice its size and averaged; and the % of the lungs in shadow."""
    height = round(image_size * draw.uniform(1.0, 1.4))
    width = round(height * draw.uniform(0.85, 1.05))
    x, y = grid(2 * height, 2 * width, draw)
    chest, lungs = draw_chest(anatomy, x, y, view == "AP")
    shadow = np.zeros_like(x)
    for drawn, shape in ((finding.opacity, _opacities), (finding.nodule, soft_nodules)):
        if drawn:
            part = shape(draw, x, y, lungs)
            chest, shadow = chest + part, shadow + part
    inside_lungs = lungs > 0.5
    share = 100 * float((shadow[inside_lungs] > SEEN).mean())
    return mark(draw, expose(draw, halved(scattered(chest)), site)), share


def inside(draw: np.random.Generator, x: Picture, y: Picture, lungs: Picture) -> tuple[float, float]:
    """Choose a point in a lung."""
    spots = np.flatnonzero(lungs.ravel() > 0.7)
    spot = int(spots[draw.integers(len(spots))])
    return float(x.ravel()[spot]), float(y.ravel()[spot])


def _opacities(draw: np.random.Generator, x: Picture, y: Picture, lungs: Picture) -> Picture:
    """Draw one to three soft, patchy consolidations, sometimes up to a lobe in extent."""
    out = np.zeros_like(x)
    for _ in range(int(draw.integers(1, 4))):
        cx, cy = inside(draw, x, y, lungs)
        a, b = draw.uniform(0.16, 0.36), draw.uniform(0.16, 0.34)
        patchy = gaussian_filter(draw.normal(size=x.shape), 0.04 * x.shape[0])
        shape = np.exp(-(((x - cx) / a) ** 2) - ((y - cy) / b) ** 2) * (1 + 0.5 * patchy / (patchy.std() + 1e-6))
        out = np.maximum(out, draw.uniform(0.2, 0.42) * np.clip(shape, 0, 1.2))
    return out * lungs


def soft_nodules(draw: np.random.Generator, x: Picture, y: Picture, lungs: Picture) -> Picture:
    """Draw one to three round nodules with a soft rim."""
    out = np.zeros_like(x)
    for _ in range(int(draw.integers(1, 4))):
        cx, cy = inside(draw, x, y, lungs)
        radius = draw.uniform(0.07, 0.13)
        distance = np.hypot(x - cx, y - cy) / radius
        out = np.maximum(out, draw.uniform(0.25, 0.45) * soft_step(distance - 1, 0.15))
    return out
