"""Cells of a table as people and programs write them: which texts are one, and which say that nothing is known.

One rule for labels, patients, sites, folds, splits and groups, in every table.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence

UNKNOWN = frozenset(
    ("", "nan", "na", "n/a", "n.a.", "n.a", "#n/a", "#na", "<na>", "nat", "null", "nil", "none", "-", "--", "?", ".")
)
"""What pandas, R, SPSS, SAS, databases and people write where nothing is known, in lower case."""

ANSWERS = frozenset(("none", "nil"))
"""Words of `UNKNOWN` that answer a question too: no symptoms, never smoked. No rule can tell which."""

_INVISIBLE = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad\u200e\u200f"))
_WHOLE = re.compile(r"(-?\d+)\.0+")


def cleaned(text: str) -> str:
    """Write a text in its one form: composed Unicode (NFC), nothing invisible, single plain blanks within only."""
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_INVISIBLE)
    return " ".join(text.split())


def without_decimals(text: str) -> str:
    """Write 1.0 as 1: pandas and Excel write whole numbers so where a column has blanks."""
    text = cleaned(str(text))
    match = _WHOLE.fullmatch(text)
    return match[1] if match else text


def is_unknown(text: str) -> bool:
    """Tell whether a cell says that nothing is known: blank, or one of `UNKNOWN`, in any case."""
    return text.strip().lower() in UNKNOWN


def is_silent(text: str) -> bool:
    """Tell whether a cell of a column of categories says nothing: of `UNKNOWN` all but `ANSWERS`, which lose nothing as
    a category of their own, whereas beside blank cells they would be lost among these."""
    return is_unknown(text) and text.strip().lower() not in ANSWERS


def names(cells: Sequence[str], unknown: bool = True) -> list[str]:
    """Write each cell `without_decimals`; a column of a million has few different ones.

    Args:
        unknown: keep what says that nothing is known as it is written, else it becomes ''.
    """
    forms = {cell: without_decimals(cell) for cell in dict.fromkeys(cells)}
    if not unknown:
        forms = {cell: "" if is_unknown(text) else text for cell, text in forms.items()}
    return [forms[cell] for cell in cells]


def categories(cells: Sequence[str]) -> list[str]:
    """Write each cell of a column of categories as a name, '' where it `is_silent`."""
    return ["" if is_silent(text) else text for text in names(cells)]


def folded(text: str) -> str:
    """Write a text without case and blanks: two names that agree in this are probably one."""
    plain = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return "".join(plain.casefold().split())


def spellings(counts: Mapping[str, int], key: Callable[[str], str] = folded) -> list[list[str]]:
    """List the names that are written in several ways, the same by `key`; of each the usual way first."""
    groups: dict[str, list[str]] = {}
    for text in counts:
        if text:
            groups.setdefault(key(text), []).append(text)
    return [sorted(group, key=lambda name: (-counts[name], name)) for group in groups.values() if len(group) > 1]


def one_spelling(counts: Mapping[str, int], known: Sequence[str] = ()) -> dict[str, str]:
    """Give {spelling: the one that holds} of names written in several ways: that of `known`, else the usual.

    Args:
        counts: of each name.
        known: names that hold as they are written, such as those of a model's classes.
    """
    ours = {folded(name): name for name in known}
    to = {text: group[0] for group in spellings(counts) for text in group[1:]}
    to |= {text: ours[folded(text)] for text in counts if folded(text) in ours}
    return {text: name for text, name in to.items() if text != name and text not in known}


def apart(columns: list[str]) -> list[str]:
    """Number columns of one name as pandas does, which took blanks around names for a difference: label, label.1."""
    seen: dict[str, int] = {}
    for n, name in enumerate(columns):
        seen[name] = seen.get(name, -1) + 1
        if seen[name]:
            columns[n] = f"{name}.{seen[name]}"
    return columns
