"""What a phantom slide shows: stained textures, and where on the glass they lie.

Pixels are amounts of haematoxylin and eosin; Beer and Lambert make colours of them (Ruifrok and Johnston, Analytical
and Quantitative Cytology and Histology 2001, have the absorptions). Tumour has large, unequal, dense nuclei. Lymphoid
aggregates, in sick and healthy alike, are as dark but of small even nuclei: how blue a tile is does not give it away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

Field = NDArray[Any]  # float32

HAEMATOXYLIN = np.array([0.65, 0.70, 0.29], np.float32)  # absorption of red, green, blue
EOSIN = np.array([0.07, 0.99, 0.11], np.float32)
BANK = 768  # pixels a side of a texture; it repeats without a seam
KINDS = ("stroma", "lymphoid", "tumour")


@dataclass(frozen=True)
class Nuclei:
    """Of one kind of tissue, at 0.5 um/px.

    Args:
        number: in a texture of `BANK` pixels a side.
        radius: in pixels, smallest and largest.
        longer: how much longer than wide, at most.
    """

    number: int
    radius: tuple[float, float]
    longer: float


NUCLEI = {
    "stroma": Nuclei(620, (2.5, 4.0), 2.6),
    "lymphoid": Nuclei(5200, (3.2, 4.0), 1.15),
    "tumour": Nuclei(1250, (6.0, 10.5), 1.6),
}


def draw_textures(draw: np.random.Generator) -> Mapping[str, Field]:
    """Draw {kind: (2, BANK, BANK)} amounts of haematoxylin and eosin."""
    return {kind: np.stack([_nuclei(draw, NUCLEI[kind]), _eosin(draw, kind)]) for kind in KINDS}


def _nuclei(draw: np.random.Generator, kind: Nuclei) -> Field:
    out = np.full((BANK, BANK), 0.06, np.float32)
    reach = int(kind.radius[1] * kind.longer) + 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
    for _ in range(kind.number):
        angle, long = draw.uniform(0, np.pi), draw.uniform(1, kind.longer)
        radius, dark = draw.uniform(*kind.radius), draw.uniform(0.55, 1.0)
        along = np.cos(angle) * columns + np.sin(angle) * rows
        across = np.cos(angle) * rows - np.sin(angle) * columns
        distance = np.hypot(along / long, across) / radius
        stamp = dark / (1 + np.exp(6 * (distance - 1))) * (0.75 + 0.25 * distance.clip(0, 1))
        offset = draw.integers(0, BANK, 2)
        where = np.ix_(np.arange(-reach, reach + 1) + offset[0], np.arange(-reach, reach + 1) + offset[1])
        wrapped = tuple(index % BANK for index in where)
        out[wrapped] = np.maximum(out[wrapped], stamp)
    return out


def _eosin(draw: np.random.Generator, kind: str) -> Field:
    """Draw fibres in stroma, little between lymphocytes, cytoplasm in tumour."""
    blur, level, depth = {"stroma": ((1.5, 9.0), 0.32, 0.12), "lymphoid": ((2, 2), 0.2, 0.04)}.get(
        kind, ((4, 4), 0.34, 0.07)
    )
    noise = gaussian_filter(draw.normal(size=(BANK, BANK)), blur, mode="wrap")
    return np.asarray((level + depth * noise / noise.std()).clip(0.02, None), np.float32)


@dataclass(frozen=True)
class Layout:
    """Where what lies on a slide, each (h, w) from 0 to 1, at a sixteenth of its size."""

    tissue: Field
    tumour: Field
    lymphoid: Field
    pen: Field


def draw_layout(draw: np.random.Generator, size: int, sick: bool, pen: bool) -> Layout:
    """Draw one to three pieces of tissue, with lymphoid aggregates and, if sick, one to three small tumours.

    Args:
        size: of the maps, pixels a side.
    """
    tissue = np.zeros((size, size), np.float32)
    pieces = int(draw.choice((1, 2, 3), p=(0.5, 0.3, 0.2)))
    for number in range(pieces):
        middle = ((number + 0.5) / pieces * 0.8 + 0.1, draw.uniform(0.4, 0.6))
        tissue = np.maximum(tissue, _blob(draw, size, middle, (0.4 / pieces, draw.uniform(0.3, 0.42)), 0.35))
    tissue *= 1 - _holes(draw, size)
    lymphoid, tumour = np.zeros_like(tissue), np.zeros_like(tissue)
    for _ in range(int(draw.integers(1, 4))):
        lymphoid = np.maximum(lymphoid, _blob(draw, size, _within(draw, tissue), draw.uniform(0.03, 0.08, 2), 0.3))
    if sick:
        for _ in range(int(draw.integers(1, 4))):
            tumour = np.maximum(tumour, _blob(draw, size, _within(draw, tissue), draw.uniform(0.06, 0.11, 2), 0.4))
    tumour *= tissue
    return Layout(tissue, tumour, lymphoid * tissue * (1 - tumour), _pen(draw, size) if pen else 0 * tissue)


def _within(draw: np.random.Generator, tissue: Field) -> tuple[float, float]:
    """Choose a place well inside the tissue, as shares of height and width."""
    deep = np.argwhere(gaussian_filter(tissue, 4) > 0.85)
    row, column = deep[draw.integers(len(deep))] if len(deep) else np.argwhere(tissue == tissue.max())[0]
    return (float(row) + 0.5) / len(tissue), (float(column) + 0.5) / len(tissue)


def _blob(draw: np.random.Generator, size: int, middle: tuple[float, float], radius: Any, rough: float) -> Field:
    rows, columns = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    noise = gaussian_filter(draw.normal(size=(size, size)), max(2.0, size * float(np.mean(radius)) / 3))
    distance = np.hypot((rows - middle[0]) / radius[0], (columns - middle[1]) / radius[1])
    return np.asarray(distance + rough * noise / noise.std() * 0.5 < 1, np.float32)


def _holes(draw: np.random.Generator, size: int) -> Field:
    """Draw vessels and fat."""
    noise = gaussian_filter(draw.normal(size=(size, size)), 1.8)
    return np.asarray(noise / noise.std() > 2.4, np.float32)


def _pen(draw: np.random.Generator, size: int) -> Field:
    """Draw a loop and a stroke, as people mark a finding."""
    rows, columns = (np.mgrid[:size, :size].astype(np.float32) + 0.5) / size
    middle, radius = draw.uniform(0.3, 0.7, 2), draw.uniform(0.15, 0.3)
    loop = np.abs(np.hypot(rows - middle[0], columns - middle[1]) - radius) < 0.012
    stroke = (np.abs(columns - draw.uniform(0.03, 0.08)) < 0.01) & (rows > 0.2) & (rows < 0.7)
    return np.asarray(loop | stroke, np.float32)


PENS = (np.array([1.9, 0.5, 1.1], np.float32), np.array([2.0, 1.1, 0.25], np.float32))  # green, blue


BAND = 128  # rows that are stained at a time: what fits a processor's cache


def stain(draw: np.random.Generator, layout: Layout, textures: Mapping[str, Field], size: int) -> NDArray[np.uint8]:
    """Draw the slide's pixels, (size, size, 3) RGB: its own strength of each stain, its own cut of each texture."""
    strength = np.array([1.5, 1.0]) * draw.uniform(0.85, 1.2, 2)
    colours = np.stack([HAEMATOXYLIN, EOSIN]) * strength[:, None] * draw.normal(1, 0.04, (2, 3))
    pen = PENS[int(draw.integers(len(PENS)))]
    cuts = {kind: _cut(draw, textures[kind], size) for kind in KINDS}
    scale = size // len(layout.tissue)
    out = np.empty((size, size, 3), np.uint8)
    for top in range(0, size, BAND):
        rows = slice(top, min(top + BAND, size))

        def large(share: Field, rows: slice = rows) -> Field:
            box = (0, rows.start / scale, size / scale, rows.stop / scale)
            picture = Image.fromarray(share).resize((size, rows.stop - rows.start), Image.Resampling.BILINEAR, box)
            return np.asarray(picture)

        repeated = np.arange(rows.start, rows.stop) % BANK
        amounts = cuts["stroma"][:, repeated]
        for kind, share in (("lymphoid", layout.lymphoid), ("tumour", layout.tumour)):
            if share[rows.start // scale : -(-rows.stop // scale) + 1].any():
                amounts += large(share) * (cuts[kind][:, repeated] - amounts)
        amounts *= large(layout.tissue)
        absorbed = np.moveaxis(amounts, 0, -1) @ colours.astype(np.float32)
        if layout.pen.any():
            absorbed += large(layout.pen)[..., None] * pen
        noise = draw.integers(-3, 4, (*absorbed.shape[:2], 1), np.int8)
        out[rows] = (247 * np.exp(-absorbed) + noise).clip(0, 255)
    return out


def _cut(draw: np.random.Generator, texture: Field, size: int) -> Field:
    """Take a texture from anywhere in it on, (2, BANK, size)."""
    moved = np.roll(texture, tuple(draw.integers(0, BANK, 2)), (1, 2))
    return np.tile(moved, (1, 1, -(-size // BANK)))[..., :size]
