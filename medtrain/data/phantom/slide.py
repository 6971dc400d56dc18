"""Slides drawn from a seed: pyramidal TIFF files that OpenSlide opens, with tumours whose place is known.

They are written as scanners write them (JPEG tiles, levels, um/px) and read by the real readers. Tumour is a small
share of the tiles of a sick patient's slides, so a slide's label says little of most of its tiles: the problem that
multiple-instance learning is for.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from medtrain.core.extras import extra
from medtrain.core.progress import Progress
from medtrain.core.streams import stream
from medtrain.data.phantom.histology import Field, Layout, draw_layout, draw_textures, stain
from medtrain.data.phantom.made import by_patient
from medtrain.data.phantom.outcomes import Truth, write_tables
from medtrain.io.build_once import build_once
from medtrain.io.cache_root import cache_root

VERSION = 2  # raise it when the same parameters give other files
SICK = 0.5  # of the patients
MARKED = 0.15  # of the slides: someone drew on the glass
MPP = 0.5
LEVELS = (1, 4, 16)
MASK = 16  # pixels of level 0 a pixel of a mask
SITES = ("north", "south")
MOST = 12.0  # % of the tissue that is tumour: the most severe
GRADES = 4


def phantom_slides(cfg: Mapping[str, Any], progress: Progress | None = None) -> Path:
    """Find the folder of the phantom that `cfg` asks for (patients, slide_px, phantom_seed), made if need be."""
    patients, size, seed = int(cfg["patients"]), int(cfg["slide_px"]), int(cfg.get("phantom_seed") or 0)
    folder = cache_root(cfg.get("cache_dir")) / "phantoms" / f"slide_v{VERSION}_{patients}p_{size}px_seed{seed}"
    build_once(folder, lambda place: make_phantom_slides(place, patients, size, seed, progress))
    return folder


def make_phantom_slides(
    folder: Path, patients: int, slide_px: int, seed: int, progress: Progress | None = None
) -> None:
    """Write `slides/*.tiff`, `masks/*.png`, `table.csv` (slide, label, patient, site, mask) and `blank.tiff`.

    `outcomes.csv` has the share of the tissue that is tumour (value, %), and what follows from it (`write_outcomes`).

    A mask is white where there is tumour, at a sixteenth of the slide's size. `blank.tiff`, empty glass, is in no
    table: it is there to be tried.

    Args:
        patients: each with one or two slides, all of them sick or none.
        slide_px: pixels a side of level 0.
        seed: the same seed gives the same files.
        progress: called with (done, total) patients.
    """
    for name in ("slides", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    textures = draw_textures(stream(seed, "phantom_slide", "textures"))
    slides = by_patient(lambda number: _patient(folder, number, slide_px, seed, textures), patients, progress)
    write_tables(folder, slides, GRADES, seed)
    nothing = np.zeros((slide_px // MASK,) * 2, np.float32)
    glass = stain(stream(seed, "blank"), Layout(nothing, nothing, nothing, nothing), textures, slide_px)
    write_slide(folder / "blank.tiff", glass)


def _patient(
    folder: Path, number: int, size: int, seed: int, textures: Mapping[str, Field]
) -> tuple[list[dict[str, str | int]], list[Truth]]:
    """Write one patient's slides; their rows of the table, and what was drawn."""
    draw = stream(seed, "phantom_slide", number)
    sick, site = bool(draw.random() < SICK), SITES[int(draw.integers(len(SITES)))]
    rows: list[dict[str, str | int]] = []
    truths = []
    for slide in range(int(draw.choice((1, 2), p=(0.7, 0.3)))):
        name = f"p{number:04d}_{slide}"
        layout = draw_layout(draw, size // MASK, sick, bool(draw.random() < MARKED))
        share = 100 * float(layout.tumour.sum() / layout.tissue.sum())
        truths.append(Truth(share, min(share / MOST, 1.0)))
        write_slide(folder / "slides" / f"{name}.tiff", stain(draw, layout, textures, size))
        Image.fromarray((layout.tumour * 255).astype(np.uint8)).save(folder / "masks" / f"{name}.png")
        rows.append(
            {
                "slide": f"slides/{name}.tiff",
                "label": int(sick),
                "patient": f"p{number:04d}",
                "site": site,
                "mask": f"masks/{name}.png",
            }
        )
    return rows, truths


def write_slide(path: Path, pixels: NDArray[np.uint8], mpp: float = MPP, tile: int = 256) -> None:
    """Write a pyramidal TIFF of JPEG tiles as OpenSlide reads it: a page a level, the reduced ones marked.

    Args:
        pixels: (H, W, 3) RGB of level 0.
        mpp: um/px of level 0.
        tile: pixels a side of the stored tiles; a multiple of 16.

    Raises:
        UsageError: tifffile or imagecodecs is not installed.
    """
    extra("imagecodecs", "writing slides")  # encodes the tiles
    tifffile: Any = extra("tifffile", "writing slides")
    whole = Image.fromarray(pixels)
    with tifffile.TiffWriter(path) as file:
        for times in LEVELS:
            file.write(
                np.asarray(whole if times == 1 else whole.reduce(times)),
                tile=(tile, tile),
                photometric="rgb",  # 'ycbcr' would say that the pixels given are
                compression="jpeg",
                compressionargs={"level": 88},
                subfiletype=int(times > 1),
                resolution=(1e4 / (mpp * times),) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
            )
