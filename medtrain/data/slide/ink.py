"""Marker ink on a slide, as far as its colour tells it from a stain.

Markers are purer than what dyes leave in tissue: Masson's aniline blue, Alcian blue, fast and light green, picrosirius
and deep eosin have the hues of pens at less saturation or brightness. What has a pen's purity is ink; what could be
either stays tissue, and its share is told, unless the user names its colour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import scipy
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
Map = NDArray[np.float32]

COLOURS = ("red", "yellow", "green", "blue", "purple", "black")
RIM = 3  # pixels around pure ink in which a paler one of its hue is its edge
LEAST = 9  # pixels; fewer by chance are none
DARK, NEUTRAL = 0.2, 0.06  # brightness and chroma below which a pixel is black: the slide's border, or a marker

# (saturation, brightness, hue in degrees) to masks: what only ink is, and what either may be
PURE: Mapping[str, Callable[[Map, Map, Map], Mask]] = {
    "red": lambda s, v, h: (s > 0.88) & (v > 0.93) & ((h < 15) | (h > 345)),
    "green": lambda s, v, h: (s > 0.7) & (v > DARK) & (h > 70) & (h < 155),
    "blue": lambda s, v, h: (s > 0.8) & (v > 0.45) & (h > 200) & (h < 232),
    "black": lambda s, v, h: (v < DARK) & (s * v < NEUTRAL),
    "yellow": lambda s, v, h: np.zeros(s.shape, bool),  # orange G, saffron and picric acid are as pure
    "purple": lambda s, v, h: np.zeros(s.shape, bool),  # so are fuchsin and haematoxylin
}
EITHER: Mapping[str, Callable[[Map, Map, Map], Mask]] = {
    "red": lambda s, v, h: (s > 0.7) & (v > 0.3) & ((h < 15) | (h > 345)),
    "green": lambda s, v, h: (s > 0.45) & (v > DARK) & (h > 70) & (h < 180),
    "blue": lambda s, v, h: (s > 0.45) & (v > DARK) & (h >= 180) & (h < 245),
    "black": lambda s, v, h: (v < 0.45) & (s * v < 0.1),
    "yellow": lambda s, v, h: (s > 0.6) & (v > 0.6) & (h >= 15) & (h <= 70),
    "purple": lambda s, v, h: (s > 0.7) & (v > 0.45) & (h >= 245) & (h <= 345),
}


def pen_masks(hsv: tuple[Map, Map, Map], ink: str = "pure") -> tuple[dict[str, Mask], dict[str, Mask]]:
    """Mark ink by colour, with a rim of two pixels, and what may be ink or stain.

    Args:
        hsv: (H, W) saturation and brightness from 0 to 1, hue in degrees.
        ink: ``pure``: what only ink is; ``none``: nothing; or colours with commas between, of which what may be either
            is ink too.

    Returns:
        {colour: (H, W)} of ink; the same of what may be either and is no ink.
    """
    inks, doubts = {}, {}
    for colour in COLOURS:
        pure, either = PURE[colour](*hsv), EITHER[colour](*hsv)
        if ink == "none":
            chosen = np.zeros_like(pure)
        elif colour in ink.split(","):
            chosen = pure | either
        else:
            chosen = _large(pure)
            if colour != "black":  # the edge of a stroke is mixed with what lies beside it
                chosen |= scipy.ndimage.binary_dilation(chosen, iterations=RIM) & either
        if colour != "black":
            chosen = _large(chosen)
            chosen = scipy.ndimage.binary_dilation(chosen, iterations=2) if chosen.any() else chosen
        inks[colour], doubts[colour] = np.asarray(chosen), either & ~chosen
    return inks, doubts


def _large(mask: Mask) -> Mask:
    return without_small(mask, LEAST)


def without_small(mask: Mask, least: float, longest: float = np.inf) -> Mask:
    """Leave out connected pieces of fewer pixels than `least`, but for those that are `longest` pixels long."""
    pieces, count = scipy.ndimage.label(mask)
    if not count:
        return mask
    large = np.bincount(pieces.ravel()) >= least
    if np.isfinite(longest):
        for number, (rows, columns) in enumerate(scipy.ndimage.find_objects(pieces), start=1):
            large[number] |= max(rows.stop - rows.start, columns.stop - columns.start) >= longest
    large[0] = False
    return np.asarray(large[pieces])
