"""Names of classes that differ by case or blanks alone: refused, joined, or kept apart by data.classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.core.words import nearest
from medtrain.io.cells import folded, is_unknown, one_spelling, spellings
from medtrain.target.order import as_items, shown


def one_way(
    cells: list[list[str]], codes: NDArray[Any], column: str, named: Sequence[str] | None, merge_case: bool
) -> tuple[list[list[str]], list[Problem]]:
    """Write names that differ by case or blanks alone in one way, where that is wanted.

    Raises:
        UsageError: it is not, and data.classes doesn't name them.
    """
    sizes = np.bincount(codes, minlength=len(cells)).tolist()
    counts: Counter[str] = Counter()
    for parts, size in zip(cells, sizes, strict=True):
        counts.update({part: size for part in parts if not is_unknown(part)})
    if merge_case:
        to, merged = joined(counts, column, named or ())
        return [list(dict.fromkeys(to.get(part, part) for part in parts)) for parts in cells], merged
    if named is None:
        refuse_two_ways(f"the labels in {column!r}", counts, "data.classes")
    return cells, []


def joined(counts: Mapping[str, int], place: str, named: Sequence[str]) -> tuple[dict[str, str], list[Problem]]:
    """Give {name: the name that it is taken for} of names that differ by case or blanks alone, and a warning of each.

    Args:
        counts: of each name.
        place: where they stand, for the warnings.
        named: names that hold as they are written.
    """
    to = one_spelling(counts, named)
    detail = "{!r} ({:,}) is taken for {!r}"
    return to, [
        Problem("merged_case", place, detail.format(text, counts[text], way), "warning")
        for text, way in sorted(to.items())
    ]


def outside(name: str, classes: Sequence[str]) -> str:
    """Say that a name is none of the classes, which is most like it, and what joins names that differ by case alone."""
    joins = "; data.merge_case=true joins them" if folded(name) in map(folded, classes) else ""
    return f"{name!r} is none of the classes {shown(classes)}{nearest(name, classes)}{joins}"


def refuse_two_ways(what: str, counts: Mapping[str, int], key: str = "") -> None:
    """Refuse names that differ by case or blanks alone.

    Args:
        what: they are, at the beginning of the message.
        counts: of each name.
        key: a list of names that keeps them apart.

    Raises:
        UsageError: there are such, with the keys that decide.
    """
    groups = spellings(counts)
    if not groups:
        return
    listed = "; ".join(" and ".join(f"{name!r} ({counts[name]:,})" for name in group) for group in groups[:3])
    more = f"; and {len(groups) - 3} more" if len(groups) > 3 else ""
    among = sorted(counts)
    apart = f", {key}=[{as_items(among[:8])}{',...' * (len(among) > 8)}] keeps them apart" if key else ""
    raise UsageError(f"{what} differ by case or blanks alone: {listed}{more}\ndata.merge_case=true joins them{apart}")
