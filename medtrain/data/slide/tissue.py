"""Where on a slide there is tissue: glass, pen, black borders and crumbs left out.

Stained tissue is coloured and glass is not, so Otsu's threshold (IEEE Transactions on Systems, Man, and Cybernetics
1979) on saturation parts them; it is held within bounds, since a slide may be all glass or all tissue.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from medtrain.io.slide import Slide

COARSEST = 8.0  # um/px of the picture on which tissue is looked for
ACROSS = 16  # its pixels a side of a tile, where that is finer
BOUNDS = (0.05, 0.15)  # of Otsu's threshold, in saturation from 0 to 1: glass has below 0.04, pale tissue 0.08
BLACK = 0.2  # brightness below which nothing stained is
PEN_HUES = (70.0, 245.0)  # degrees, yellow-green to blue: no stain of H&E has them
PEN = 0.45  # saturation from which on such a hue is ink
RED_PEN = 0.8  # saturation of a red that no eosin has
CLOSING = 3  # pixels a side
CRUMB, HOLE = 1.0, 0.25  # share of a tile's area below which pieces are dust, and holes are filled

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Tissue:
    """What was found.

    Args:
        mask: (H, W), on the overview's pixels.
        picture: (H, W, 3) RGB, the overview.
        scale: pixels of level 0 a side of one of theirs.
        mm2: area of the tissue.
        pen: is there ink?
    """

    mask: Mask
    picture: NDArray[np.uint8]
    scale: float
    mm2: float
    pen: bool


def find_tissue(slide: Slide, tile_um: float, threshold: float | None = None) -> Tissue:
    """Look for tissue on a small picture of a slide.

    Args:
        slide: an open slide.
        tile_um: a tile's side, by which pieces and holes count as small.
        threshold: of saturation, 0 to 1; by default Otsu's.

    Raises:
        ValueError: the slide cannot be read.
    """
    picture, scale = slide.overview(min(COARSEST, tile_um / ACROSS))
    mpp = scale * slide.mpp
    ink = pen_mask(picture)
    mask = tissue_mask(picture, ink, (tile_um / mpp) ** 2, threshold)
    return Tissue(mask, picture, scale, float(mask.sum()) * (mpp / 1000) ** 2, bool(ink.any()))


def tissue_mask(picture: NDArray[np.uint8], ink: Mask, tile: float, threshold: float | None = None) -> Mask:
    """Mark what is coloured, not black, no ink; closed, without crumbs and small holes.

    Args:
        picture: (H, W, 3) RGB, 0 to 255.
        ink: where the pen was.
        tile: pixels that a tile has on this picture, by which pieces and holes are small.
    """
    saturation, brightness, _ = hsv(picture)
    smooth = ndimage.gaussian_filter(saturation, 1.0)
    candidates = (brightness >= BLACK) & ~ink
    if threshold is None:
        threshold = float(np.clip(otsu(smooth[candidates]), *BOUNDS)) if candidates.any() else BOUNDS[1]
    mask = (smooth > threshold) & candidates
    # Outside the picture counts as what lies at its border, or tissue that is cut there would be eaten away.
    square = np.ones((CLOSING, CLOSING), bool)
    mask = ndimage.binary_erosion(ndimage.binary_dilation(mask, square, CLOSING), square, CLOSING, border_value=1)
    mask &= candidates
    return ~_without_small(~_without_small(mask, tile * CRUMB), tile * HOLE)


def pen_mask(picture: NDArray[np.uint8]) -> Mask:
    """Mark green, blue or bright red ink with a rim of two pixels; a few such pixels by chance are none."""
    saturation, brightness, hue = hsv(picture)
    cold = (saturation > PEN) & (hue > PEN_HUES[0]) & (hue < PEN_HUES[1])
    red = (saturation > RED_PEN) & ((hue < 15) | (hue > 345)) & (brightness > 0.5)
    ink = _without_small((cold | red) & (brightness >= BLACK), 9)
    return np.asarray(ndimage.binary_dilation(ink, iterations=2)) if ink.any() else ink


def otsu(values: NDArray[np.floating]) -> float:
    """Find Otsu's threshold of values from 0 to 1: the cut that leaves most variance between the two sides."""
    counts, edges = np.histogram(values, 256, (0.0, 1.0))
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (sums / below - (sums[-1] - sums) / above) ** 2
    return float(edges[1:][int(np.nanargmax(np.where(np.isfinite(between), between, -1)))])


def hsv(picture: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Return saturation and brightness from 0 to 1, and the hue in degrees."""
    rgb = picture.astype(np.float32) / 255
    top, spread = rgb.max(-1), np.ptp(rgb, -1)
    safe = np.where(spread > 0, spread, 1)
    red, green, blue = (rgb[..., i] for i in range(3))
    hue = np.where(
        top == red,
        (green - blue) / safe % 6,
        np.where(top == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    return np.where(top > 0, spread / np.where(top > 0, top, 1), 0), top, hue * 60


def _without_small(mask: Mask, least: float) -> Mask:
    pieces, count = ndimage.label(mask)
    if not count:
        return mask
    large = np.bincount(pieces.ravel()) >= least
    large[0] = False
    return np.asarray(large[pieces])
