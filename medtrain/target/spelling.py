"""Names of classes that say the same: refused, joined, or kept apart by data.classes.

They differ by case or blanks alone, or are one answer in several words (yes and Y), or differ by signs alone
(COVID-19 and COVID 19), which is only told: grades and genes differ so too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.core.words import nearest
from medtrain.io.cells import folded, is_unknown, one_spelling, spellings
from medtrain.target.order import as_items, shown

ANSWERS = tuple(
    frozenset(family.split())
    for family in (
        "1 yes y true t positive pos + present",
        "0 no n false f negative neg absent",
    )
)
"""What people and programs write for one answer, in lower case; '-' says that nothing is known (`io.cells`)."""
_SIGNS = re.compile(r"(?<=[^\W_])[-_./]+(?=[^\W_])")  # between letters and digits: HER2+ and 1+ keep theirs


def one_way(
    cells: list[list[str]], codes: NDArray[Any], column: str, named: Sequence[str] | None, merge_case: bool
) -> tuple[list[list[str]], list[Problem]]:
    """Write names that differ by case or blanks alone in one way, where that is wanted; tell what signs alone part.

    Raises:
        UsageError: it is not, or one answer stands in several words, and data.classes doesn't name them.
    """
    sizes = np.bincount(codes, minlength=len(cells)).tolist()
    counts: Counter[str] = Counter()
    for parts, size in zip(cells, sizes, strict=True):
        counts.update({part: size for part in parts if not is_unknown(part)})
    if merge_case:
        to, merged = joined(counts, column, named or ())
        cells = [list(dict.fromkeys(to.get(part, part) for part in parts)) for parts in cells]
        counts = Counter({name: size for name, size in counts.items() if name not in to})
    else:
        merged = []
    if named is None:
        refuse_two_ways(f"the labels in {column!r}", counts, "data.classes")
        _refuse_two_words(column, counts)
        merged = [*merged, *_told_signs(column, counts)]
    return cells, merged


def _answer(name: str) -> str:
    """Give the first word of the answer that a name is; '' of other names."""
    plain = folded(name)
    return next((min(family) for family in ANSWERS if plain in family), "")


def _refuse_two_words(column: str, counts: Mapping[str, int]) -> None:
    """Refuse labels that are one answer in several words: yes and Y are no two classes.

    Raises:
        UsageError: there are such, with the keys that join them or keep them apart.
    """
    groups = spellings({name: size for name, size in counts.items() if _answer(name)}, _answer)
    if not groups:
        return
    listed = "; ".join(" and ".join(f"{name!r} ({counts[name]:,})" for name in group) for group in groups)
    to = ", ".join(f"{as_items([name])}: {as_items([group[0]])}" for group in groups for name in group[1:])
    among = as_items(sorted(counts)[:8]) + ",..." * (len(counts) > 8)
    raise UsageError(
        f"the labels in {column!r} give one answer in several words: {listed}\n"
        f'"data.label_map={{{to}}}" joins them, data.classes=[{among}] keeps them apart'
    )


def _told_signs(column: str, counts: Mapping[str, int]) -> list[Problem]:
    """Warn of labels with letters that differ by hyphens, underscores, points or strokes alone."""
    worded = {name: size for name, size in counts.items() if any(sign.isalpha() for sign in name)}
    notices = []
    for group in spellings(worded, lambda name: _SIGNS.sub("", folded(name))):
        if len({folded(name) for name in group}) > 1:
            shown = " and ".join(f"{name!r} ({counts[name]:,})" for name in group)
            joins = f'"data.label_map={{{as_items(group[1:2])}: {as_items(group[:1])}}}" joins them'
            detail = f"{shown} differ by signs alone, and are classes of their own; {joins}"
            notices.append(Problem("spelling", column, detail, "warning"))
    return notices


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
