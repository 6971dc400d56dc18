"""Names of classes that differ by case or blanks alone: refused, joined, or kept apart by data.classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.io.cells import is_unknown, one_spelling, spellings


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
        to = one_spelling(counts, named or ())
        merged = [
            Problem("merged_case", column, f"{text!r} ({counts[text]:,}) is taken for {way!r}", "warning")
            for text, way in sorted(to.items())
        ]
        return [list(dict.fromkeys(to.get(part, part) for part in parts)) for parts in cells], merged
    if named is None:
        refuse_two_ways(f"the labels in {column!r}", counts, "data.classes")
    return cells, []


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
    shown = "; ".join(" and ".join(f"{name!r} ({counts[name]:,})" for name in group) for group in groups[:3])
    more = f"; and {len(groups) - 3} more" if len(groups) > 3 else ""
    among = sorted(counts)
    apart = f", {key}=[{','.join(among[:8])}{',...' * (len(among) > 8)}] keeps them apart" if key else ""
    raise UsageError(f"{what} differ by case or blanks alone: {shown}{more}\ndata.merge_case=true joins them{apart}")
