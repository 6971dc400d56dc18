"""How large the tiles of bags are, from whoever knows it best; what had to be guessed is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from medtrain.io.bag_grid import tile_step
from medtrain.io.bags import STEPS, settled_tile
from medtrain.io.store.features import PackedBags

LOOKED_AT = 64  # bags of which the steps between tiles are compared with the size that they say
GAP = 0.05  # of a tile, by which tiles may lie apart: steps are rounded
MANY = 16  # tiles of which some touch, unless they are smaller than their steps
SMALLEST = 16  # pixels of level 0 a side: no tile is smaller


def place_tiles(
    bags: PackedBags, files: Sequence[str], edge: float | None, report: Callable[[str], None] = lambda text: None
) -> None:
    """Settle the tile size of bags: the one given, what a bag says, CLAM's file of patches, the step between tiles.

    Args:
        files: of the bags.
        edge: a tile's side in the unit of the bags' coordinates, which holds whatever they say; None to believe them.
        report: takes a line on what was guessed, what contradicts and what stays unknown.
    """
    guessed, unknown, others, apart = [], 0, [], []
    looked_at = set(range(0, len(bags), max(1, len(bags) // LOOKED_AT)))
    for bag in range(len(bags)):
        coords = None if bag in bags.problems else bags.coords(bag)
        if coords is None:
            continue
        about = bags.geometry(bag)
        recorded = about["tile"] if about.get("tile_from") != STEPS else None
        if settled := settled_tile(coords, about, Path(files[bag]), edge):
            bags.place(bag, settled)
            others += [recorded] if edge is not None and recorded not in (None, edge) else []
        elif about["tile"] is None:
            unknown += 1
        elif recorded is None:
            guessed.append(about["tile"])
        elif (
            bag in looked_at
            and len(coords) >= MANY
            and (step := tile_step(coords)) is not None
            and step > recorded * (1 + GAP)
        ):
            apart.append((recorded, step))
    if apart:
        tile, step = apart[0]
        report(
            f"{_of(len(apart), len(looked_at))} that were looked at say that their tiles are {tile:g} wide, and have "
            f"them {step:g} apart: no tile touches another; if they are larger, set data.tile_edge={step:g}"
        )
    if small := [size for size in guessed if size < SMALLEST]:
        report(
            f"{_of(len(small), len(bags))} have tiles {_sizes(small)} apart, which are no pixels of level 0: areas "
            "mean nothing, and explain finds no place on slides (numbers of a grid, or mm?)"
        )
    if others:
        report(f"data.tile_edge={edge:g} stands against what {_of(len(others), len(bags))} say: {_sizes(others)}")
    if guessed:
        report(
            f"{_of(len(guessed), len(bags))} don't say how large their tiles are: {_sizes(guessed)} is taken, the step "
            "between them; if they overlap, set data.tile_edge"
        )
    if unknown:
        report(
            f"{_of(unknown, len(bags))} don't say how large their tiles are, and no two tiles share a row: no heatmap "
            "and no regions; set data.tile_edge"
        )


def _of(some: int, all_: int) -> str:
    return f"{some:,} of {all_:,} bags"


def _sizes(sizes: Iterable[float]) -> str:
    common = Counter(sizes).most_common(4)
    return ", ".join(f"{size:g}" for size, _ in common[:3]) + (", ..." if len(common) > 3 else "")
