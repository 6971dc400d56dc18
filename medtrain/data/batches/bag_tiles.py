"""How large the tiles of bags are, from whoever knows it best; what had to be guessed is told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from medtrain.io.bags import STEPS, read_patches
from medtrain.io.store.features import PackedBags


def place_tiles(
    bags: PackedBags, files: Sequence[str], edge: float | None, report: Callable[[str], None] = lambda text: None
) -> None:
    """Settle the tile size of bags: the one given, what a bag says, CLAM's file of patches, the step between tiles.

    Args:
        files: of the bags.
        edge: a tile's side in the unit of the bags' coordinates, which holds whatever they say; None to believe them.
        report: takes a line on what was guessed, what contradicts and what stays unknown.
    """
    guessed, unknown, others = [], 0, []
    for bag in range(len(bags)):
        coords = None if bag in bags.problems else bags.coords(bag)
        if coords is None:
            continue
        about = bags.geometry(bag)
        recorded = about["tile"] if about.get("tile_from") != STEPS else None
        if edge is not None:
            bags.place(bag, {"tile": float(edge), "tile_from": "given"})
            others += [recorded] if recorded not in (None, edge) else []
        elif recorded is None and (known := read_patches(Path(files[bag]), coords)):
            bags.place(bag, known | {"tile_from": "patches"})
        elif about["tile"] is None:
            unknown += 1
        elif recorded is None:
            guessed.append(about["tile"])
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
