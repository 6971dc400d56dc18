"""Which tiles lie side by side: places rounded to whole tiles, and of each the others around it.

Written for arrays and tensors alike, so that a training on a GPU and an export without torch share it.
"""

from __future__ import annotations

from itertools import product
from typing import Any


def cells_around(coords_N2: Any, bag_N: Any, reach: int, module: Any) -> tuple[Any, Any]:
    """Number the cells in which tiles lie, (N,), and give for each of M cells those around it, (M, P), itself too.

    Tiles without a place are in cell M, and where there is no tile `around` says M; P is (2 reach + 1) squared. Cells
    of two bags are never neighbours.

    Args:
        coords_N2: x and y of each tile in sides of a tile, NaN where nobody knows.
        bag_N: int64, the number of the bag of each.
        reach: tiles to each side.
        module: numpy or torch, of which the arrays are.
    """
    known_N = module.isfinite(coords_N2).all(1)
    cell_N = module.zeros_like(bag_N)
    cells_K2 = module.asarray(module.floor(coords_N2[known_N] + 0.5), dtype=module.int64)
    steps = list(product(range(-reach, reach + 1), repeat=2))
    if not len(cells_K2):
        return cell_N, module.stack([cell_N[:0]] * len(steps), 1)
    low_2 = module.amin(cells_K2, 0) - reach  # a margin, so that no row's end touches the next one's start
    width, height = (module.amax(cells_K2, 0) - low_2 + reach + 1).tolist()
    place_K2 = cells_K2 - low_2
    key_K = (bag_N[known_N] * height + place_K2[:, 1]) * width + place_K2[:, 0]
    key_M, number_K = module.unique(key_K, return_inverse=True)
    last, around = len(key_M) - 1, []
    for down, right in steps:
        wanted_M = key_M + (down * width + right)
        place_M = module.clip(module.searchsorted(key_M, wanted_M), 0, last)
        around.append(module.where(key_M[place_M] == wanted_M, place_M, last + 1))
    cell_N[~known_N] = last + 1
    cell_N[known_N] = number_K
    return cell_N, module.stack(around, 1)
