"""How large a bag's tiles are, where the bag itself doesn't say: from CLAM's file of patches, or from their steps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DIGITS = 2  # of a coordinate that count
DIVIDES = 0.01  # of a step: by so much a multiple of it may be off
FINEST = 8  # gaps of so many steps are looked through for the step that divides them
PATCHES = "patches"  # CLAM's folder of coordinates, beside its features or one or two folders above
LEVEL0 = ("level0_width", "level0_height")


def tile_step(coords_N2: NDArray[np.float64]) -> float | None:
    """Find the step of a bag's tiles: the commonest distance between neighbours in a row or a column.

    Each piece of tissue may have a grid of its own, so only tiles that share a row or a column are compared. Where
    tiles are sparse the commonest gap may be two steps or more: a shorter one that divides it is the step.

    Returns:
        None where no two tiles share a row or a column.
    """
    gaps = np.round(np.concatenate([_gaps(coords_N2, axis) for axis in (0, 1)]), DIGITS)
    gaps = gaps[gaps > 0]
    if not len(gaps):
        return None
    values, counts = np.unique(gaps, return_counts=True)
    commonest = float(values[counts.argmax()])
    ratio = commonest / values[(values <= commonest) & (values * FINEST >= commonest)]
    return commonest / float(np.rint(ratio[np.abs(ratio - np.rint(ratio)) <= DIVIDES]).max())


def _gaps(coords_N2: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    """List the distances along an axis between tiles that follow each other and share the other coordinate."""
    other = np.round(coords_N2[:, 1 - axis], DIGITS)
    order = np.lexsort((coords_N2[:, axis], other))
    along, across = coords_N2[order, axis], other[order]
    return np.asarray(np.diff(along)[np.diff(across) == 0])


def patch_files(bag: Path) -> Iterator[Path]:
    """Name the files where CLAM keeps the coordinates and tile size of a bag, if it does."""
    folders = dict.fromkeys((bag.parent, bag.parent.parent, bag.parent.parent.parent))
    return (folder / PATCHES / f"{bag.stem}.h5" for folder in folders)


def clam_size(attributes: Mapping[str, Any]) -> dict[str, float]:
    """Compute the (width, height) of level 0 from what CLAM says of the level that it cut, under TRIDENT's names."""
    try:
        level, scale = (np.ravel(attributes[key]).astype(float) for key in ("level_dim", "downsample"))
    except (KeyError, ValueError, TypeError):
        return {}
    if len(level) != 2 or not len(scale) or not np.isfinite([*level, *scale]).all():
        return {}
    return dict(zip(LEVEL0, np.rint(level * (scale if len(scale) == 2 else scale[0])).tolist(), strict=True))
