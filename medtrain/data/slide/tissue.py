"""Where on a slide there is tissue: glass, ink, black borders and crumbs left out, and how much each of them took.

Stained tissue is coloured and glass is not, so Otsu's threshold (IEEE Transactions on Systems, Man, and Cybernetics
1979) on saturation parts them. Beside dark tissue one threshold leaves pale tissue with the glass, so what lies
below it is parted once more where it falls apart clearly. The threshold is held within bounds, since a slide may be all
glass or all tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import scipy
from numpy.typing import NDArray

from medtrain.data.slide.ink import Mask, pen_masks, without_small
from medtrain.data.slide.own_mask import BEYOND, OwnMask, draw
from medtrain.io.slide import LOST, Slide

COARSEST = 8.0  # um/px of the picture on which tissue is looked for
ACROSS = 16  # its pixels a side of a tile, where that is finer
BOUNDS = (0.05, 0.15)  # of Otsu's threshold, in saturation from 0 to 1: glass has below 0.04, pale tissue 0.08
CLEAR = 4.0  # standard deviations of the glass between its mean and that of pale tissue
SMALL = "pieces smaller than a tile"
UNREAD = "other pictures in the file"
OUTSIDE, GLASS = "tissue outside its mask", "glass within its mask"
GREY = 0.02  # saturation below which a slide has no colours: a fluorescence scan, or a scan in grey
GLASS_V = 200  # of 255, below which what has no colour is no glass
EDGE = 4  # pixels around dark tissue that are mixed with it
CLOSING = 3  # pixels a side
CRUMB, HOLE = 1.0, 0.25  # share of a tile's area below which pieces are dust, and holes are filled
NEEDLE = (2.0, 0.1)  # tiles of length from which on a thin piece is a needle, no dust; and its least area in tiles


@dataclass(frozen=True)
class Tissue:
    """What was found.

    Args:
        mask: (H, W), on the overview's pixels.
        picture: (H, W, 3) RGB, the overview.
        scale: pixels of level 0 a side of one of theirs.
        mm2: area of the tissue.
        pen: is there ink?
        removed: {what: share of the picture} of what is coloured or dark and was left out: ``red ink``, ..., ``black``,
            `SMALL`, `UNREAD`.
        doubts: {colour: share of the tissue} of what may be ink or stain.
        note: of a mask that somebody else has made: what counts as tissue in it.
    """

    mask: Mask
    picture: NDArray[np.uint8]
    scale: float
    mm2: float
    pen: bool
    removed: Mapping[str, float] = field(default_factory=dict)
    doubts: Mapping[str, float] = field(default_factory=dict)
    note: str = ""


def find_tissue(
    slide: Slide, tile_um: float, threshold: float | None = None, ink: str = "pure", own: OwnMask | None = None
) -> Tissue:
    """Look for tissue on a small picture of a slide, or take the mask that somebody has made of it.

    Args:
        slide: an open slide.
        tile_um: a tile's side, by which pieces and holes count as small.
        threshold: of saturation, 0 to 1; by default Otsu's.
        ink: as `pen_masks` takes it.
        own: that mask; None without one. What was found is compared with it, and the difference told.

    Raises:
        ValueError: the slide, or its mask, cannot be read.
    """
    picture, scale = slide.overview(min(COARSEST, tile_um / ACROSS))
    mpp = scale * slide.mpp
    colours = hsv(picture)
    inks, doubts = pen_masks(colours, ink)
    lost = (picture == LOST).all(-1)
    doubts = {colour: where & ~lost for colour, where in doubts.items()}
    if threshold is None:
        readable = ~np.any([*inks.values(), lost], axis=0)
        threshold = lowest_cut(smooth(colours[0]), readable)
    mask, removed = tissue_mask(colours[0], inks, (tile_um / mpp) ** 2, threshold)
    area = max(int(mask.sum()), 1)
    unsure = {colour: float((where & mask).sum()) / area for colour, where in doubts.items()}
    pen = any(bool(where.any()) for colour, where in inks.items() if colour != "black")
    note = ""
    if own is not None:
        drawn = draw(own, slide.sizes[0], mask.shape, scale)
        glass = float((drawn.mask & ~mask).sum()) / max(int(drawn.mask.sum()), 1)
        removed = {OUTSIDE: float((mask & ~drawn.mask).mean()), GLASS: glass, BEYOND: drawn.beyond}
        mask, unsure, note = drawn.mask, {}, drawn.note
    if unread := slide.unread:
        removed |= {UNREAD: unread}
    return Tissue(mask, picture, scale, float(mask.sum()) * (mpp / 1000) ** 2, pen, removed, unsure, note)


def tissue_mask(
    saturation: NDArray[np.float32], inks: Mapping[str, Mask], tile: float, threshold: float
) -> tuple[Mask, dict[str, float]]:
    """Mark what is coloured and no ink; closed, without crumbs and small holes.

    Args:
        saturation: (H, W), from 0 to 1.
        inks: {colour: where it was}.
        tile: pixels that a tile has on this picture, by which pieces and holes are small.
        threshold: of saturation.

    Returns:
        The mask, and {what: share of the picture} of what was left out.
    """
    candidates = ~np.any(list(inks.values()), axis=0)
    mask = (smooth(saturation) > threshold) & candidates
    # Outside the picture counts as what lies at its border, or tissue that is cut there would be eaten away.
    square = np.ones((CLOSING, CLOSING), bool)
    mask = scipy.ndimage.binary_erosion(
        scipy.ndimage.binary_dilation(mask, square, CLOSING), square, CLOSING, border_value=1
    )
    mask &= candidates
    length, least = NEEDLE
    long = without_small(mask, np.inf, length * tile**0.5) & without_small(mask, least * tile)
    pieces = without_small(mask, tile * CRUMB) | long
    removed = {
        colour if colour == "black" else f"{colour} ink": float(where.mean())
        for colour, where in inks.items()
        if where.any()
    }
    if (mask & ~pieces).any():
        removed[SMALL] = float((mask & ~pieces).mean())
    return ~without_small(~pieces, tile * HOLE), removed


def smooth(saturation: NDArray[np.float32]) -> NDArray[np.float32]:
    """Take out the noise of single pixels."""
    return np.asarray(scipy.ndimage.gaussian_filter(saturation, 1.0))


def lowest_cut(saturation: NDArray[np.floating], candidates: Mask) -> float:
    """Find the saturation from which on there is tissue, be it pale beside dark.

    Args:
        saturation: (H, W), from 0 to 1.
        candidates: (H, W), what may be tissue; the rest has no say.
    """
    if not candidates.any():
        return BOUNDS[1]
    cut = otsu(saturation[candidates])
    # the blurred edges of the dark are neither glass nor pale tissue
    rest = saturation[candidates & ~scipy.ndimage.binary_dilation(saturation >= cut, iterations=EDGE)]
    if len(rest) and cut > BOUNDS[0]:
        second = otsu(rest)
        glass, pale = rest[rest < second], rest[rest >= second]
        if len(glass) and len(pale) and pale.mean() - glass.mean() > CLEAR * max(float(glass.std()), 1e-3):
            cut = second
    return float(np.clip(cut, *BOUNDS))


def why_none(tissue: Tissue, least: float) -> str:
    """Say why a slide has no tile of tissue: what took the rest, and what keeps it.

    Args:
        least: share of a tile that had to be tissue.
    """
    if tissue.mask.any():
        return (
            f"{tissue.mm2:.3g} mm2 of tissue were found on it, but no tile of which {least:.0%} is tissue; "
            "data.min_tissue=0.05 asks for less"
        )
    removed = {what: share for what, share in tissue.removed.items() if what != UNREAD}
    parts = [f"{what} {share:.1%}" for what, share in sorted(removed.items(), key=lambda part: -part[1])]
    if hsv(tissue.picture)[0].max() < GREY and tissue.picture.min() < GLASS_V:
        return "no tissue was found on it: it has no colours, by which tissue is found; data.tissue names masks of it"
    if not parts or max(removed.values()) < 0.0005:
        return "no tissue was found on it (see its picture); data.tissue_threshold=0.03 is less strict"
    advice = "; data.ink=false keeps ink and black" if any(what != SMALL for what in removed) else ""
    return f"no tissue was found on it (see its picture): left out were, of the slide, {', '.join(parts)}{advice}"


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
