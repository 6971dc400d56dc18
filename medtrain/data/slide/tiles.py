"""Which tiles of a slide are worth reading: a grid at level 0, and on it the tiles that hold enough tissue."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from medtrain.data.slide.mask_files import Given
from medtrain.data.slide.own_mask import OwnMask
from medtrain.data.slide.tissue import Tissue, find_tissue
from medtrain.io.slide import AT_40X, Slide, View

BLOCK = 8  # tiles a side that are read one after the other: they share stored tiles


@dataclass(frozen=True)
class Tiling:
    """How slides are cut, from the keys of a data node.

    Args:
        mpp: wanted um/px.
        px: pixels a side.
        min_tissue: share of a tile that must be tissue.
        threshold: of saturation, from which on there is tissue; None finds one a slide.
        slide_mpp: um/px of level 0 of all slides, whatever they say.
        default_mpp: um/px of level 0 of slides that don't say.
        ink: what counts as ink, see `pen_masks`.
        rule: version of how tissue is found, raised when the same slide gives other tiles.
        mask: the tissue of a slide as somebody has marked it; None: it is found.
    """

    mpp: float = 0.5
    px: int = 256
    min_tissue: float = 0.25
    threshold: float | None = None
    slide_mpp: float | None = None
    default_mpp: float | None = None
    ink: str = "pure"
    rule: int = 2
    mask: OwnMask | None = None

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> Tiling:
        """Read data.mpp, or data.magnification where given, data.tile_px, min_tissue, tissue_threshold, ..."""
        magnification = cfg.get("magnification")
        return cls(
            mpp=AT_40X / float(magnification) if magnification else float(cfg["mpp"]),
            px=int(cfg["tile_px"]),
            min_tissue=float(cfg.get("min_tissue", cls.min_tissue)),
            threshold=cfg.get("tissue_threshold"),
            slide_mpp=cfg.get("slide_mpp"),
            default_mpp=cfg.get("default_mpp"),
            ink=_ink(cfg.get("ink", True)),
        )

    def of_slides(self, given: Given, count: int) -> list[Tiling]:
        """Give each of `count` slides its own way of cutting, by what is known of it."""
        sizes, masks = given.mpp or [None] * count, given.masks or [None] * count
        return [
            replace(self, slide_mpp=mpp or self.slide_mpp, mask=mask) for mpp, mask in zip(sizes, masks, strict=True)
        ]

    def record(self) -> dict[str, Any]:
        """Say how a slide is cut in plain values; of its mask, if it has one, what it says."""
        plain = asdict(replace(self, mask=None))
        del plain["mask"]
        return plain if self.mask is None else plain | {"mask": self.mask.content}

    def open(self, path: str) -> Slide:
        """Open the slide, its um/px known; ValueError with a short reason."""
        return Slide(path, self.slide_mpp, self.default_mpp)


def _ink(wanted: Any) -> str:
    """Turn data.ink, true, false or colours, into the word that `pen_masks` takes."""
    if isinstance(wanted, bool) or wanted is None:
        return "none" if wanted is False else "pure"
    return ",".join(sorted([wanted] if isinstance(wanted, str) else wanted)) or "pure"


@dataclass(frozen=True)
class Survey:
    """A slide before its tiles are read.

    Args:
        slide: pickles without handles.
        view: how tiles are cut from it.
        coords: (N, 2) x and y of the tiles that hold tissue, at level 0, row by row.
        tissue: the mask, and the picture that it was found on.
    """

    slide: Slide
    view: View
    coords: NDArray[np.int64]
    tissue: Tissue


def survey(path: str, tiling: Tiling) -> Survey:
    """Open a slide, find its tissue, lay the grid. Raises ValueError with a short reason."""
    slide = tiling.open(path)
    view = slide.view(tiling.mpp, tiling.px)
    tissue = find_tissue(slide, view.mpp * view.px, tiling.threshold, tiling.ink, tiling.mask)
    return Survey(slide, view, grid(slide.sizes[0], view, tissue, tiling.min_tissue), tissue)


def grid(size: tuple[int, int], view: View, tissue: Tissue, least: float) -> NDArray[np.int64]:
    """List upper left corners, (N, 2) x and y at level 0, of the tiles of which `least` or more is tissue.

    Tiles don't overlap and start at the slide's corner, so at a level read as it is they meet its stored tiles. The
    last row and column may reach beyond the slide, into white.

    Args:
        size: (width, height) of level 0.
    """
    across, down = (max(1, int(np.ceil(length / view.edge - 1e-6))) for length in size)
    column, row = np.meshgrid(np.arange(across), np.arange(down))
    corner = np.stack([column.ravel(), row.ravel()], 1) * view.edge
    corners_N2, edge = corner / tissue.scale, view.edge / tissue.scale
    enough = box_means(tissue.mask, corners_N2, edge) >= max(least, 1e-6)
    return np.rint(corner[enough | _of_needles(tissue.mask, corners_N2, edge, least)]).astype(np.int64)


def _of_needles(
    mask: NDArray[np.bool_], corners_N2: NDArray[np.floating], edge: float, least: float
) -> NDArray[np.bool_]:
    """Tell which squares hold enough of pieces that are thinner than a square, (N,).

    Enough is `least` of what such a piece fills of a square that it runs through.
    """
    enough = np.zeros(len(corners_N2), bool)
    pieces, count = scipy.ndimage.label(mask)
    places = scipy.ndimage.find_objects(pieces)
    depths = scipy.ndimage.maximum(
        scipy.ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1], pieces, range(1, count + 1)
    )
    for number, ((rows, columns), depth) in enumerate(zip(places, np.atleast_1d(depths), strict=True), start=1):
        width = 2 * float(depth) - 1
        if width >= edge:
            continue
        start, stop = np.array([columns.start, rows.start]), np.array([columns.stop, rows.stop])
        near = np.flatnonzero(((corners_N2 + edge > start) & (corners_N2 < stop)).all(1))
        share = box_means(pieces[rows, columns] == number, corners_N2[near] - start, edge)
        enough[near] |= share >= max(least * width / edge, 1e-6)
    return enough


def box_means(mask: NDArray[Any], corners_N2: NDArray[np.floating], edge: float) -> NDArray[np.float64]:
    """Compute the mean of a map within squares, (N,); what lies outside the map counts as 0.

    Args:
        mask: (H, W), bool or number.
        corners_N2: x and y of each square's upper left corner, in the map's pixels; fractions count.
        edge: of the squares.
    """
    sums = np.pad(np.asarray(mask, np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))

    def upto(points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Give the integral from (0, 0): linear between pixels, as the map is constant on them."""
        x, y = points[:, 0].clip(0, mask.shape[1]), points[:, 1].clip(0, mask.shape[0])
        left, top = np.minimum(x.astype(int), mask.shape[1] - 1), np.minimum(y.astype(int), mask.shape[0] - 1)
        a, b = x - left, y - top
        above = (1 - a) * sums[top, left] + a * sums[top, left + 1]
        below = (1 - a) * sums[top + 1, left] + a * sums[top + 1, left + 1]
        return (1 - b) * above + b * below

    one, right, down = np.array([edge, edge]), np.array([edge, 0]), np.array([0, edge])
    whole = upto(corners_N2 + one) - upto(corners_N2 + right) - upto(corners_N2 + down) + upto(corners_N2)
    return whole / edge**2


def reading_order(coords: NDArray[np.int64], edge: float) -> NDArray[np.int64]:
    """Give the order in which neighbours come together: block by block of `BLOCK` tiles a side."""
    column, row = np.rint(coords / edge).astype(np.int64).T
    return np.lexsort((column, row, column // BLOCK, row // BLOCK))
