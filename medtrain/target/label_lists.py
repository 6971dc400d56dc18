"""Labels that are lists of classes in one cell: ``A|B``, ``A;B``, ``A,B``, ``['a', 'b']``, ``["a","b"]``.

A bar or brackets can only mean a list. Semicolons and commas stand in names too (``Carcinoma, NOS``), so there the
column decides: where parts of what would be lists are cells of their own, they are lists; where none is, names. In
between nobody can say, and data.classes decides.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Sequence

from medtrain.core.errors import UsageError
from medtrain.io.cells import without_decimals
from medtrain.target.quantity import DATE, NUMBER

NO_CLASS = "no finding"
BRACKETS = "[]"
_LISTED = re.compile(r"[\[({].*[\])}]", re.DOTALL)
_LONGEST = 100_000  # characters that are read as a list of Python's
_LONE = 0.5  # share of the parts of comma lists that must stand alone somewhere


def separator_of(texts: Collection[str], column: str, classes: Sequence[str] | None = None) -> str | None:
    """Find what separates the labels of a column's cells; None where they are single names.

    Args:
        texts: the different cells.
        classes: names that are known (data.classes, or a model's): cells that are such names are no lists.

    Raises:
        UsageError: it can't be told names from lists.
    """
    known = set(classes or ())
    others = {text for text in texts if text and text not in known}
    if any(_is_bracketed(text) for text in others):
        return BRACKETS
    if any("|" in text for text in others):
        return "|"
    for separator in (";", ","):
        joint = {text for text in others if separator in text and not (NUMBER.fullmatch(text) or DATE.fullmatch(text))}
        if joint and _are_lists(joint, others | known, separator, column, bool(known)):
            return separator
    return None


def parts_of(text: str, separator: str | None) -> list[str]:
    """Split a cell into its labels, `without_decimals` and without blank ones."""
    if separator is None:
        return [text] if text else []
    if separator == BRACKETS:
        return _bracketed(text)
    return [name for part in text.split(separator) if (name := without_decimals(part.strip().strip("'\"")))]


def _is_bracketed(text: str) -> bool:
    return text[:1] in "[({" and _LISTED.fullmatch(text) is not None and text[:1] + text[-1:] in ("[]", "()", "{}")


def _bracketed(text: str) -> list[str]:
    """Read ``['a', 'b']`` as Python or JSON write it, numpy's without commas and names without quotes too."""
    if not _is_bracketed(text):
        return [text] if text else []
    values: list[object] | None = None
    if len(text) <= _LONGEST and not re.search(r"['\"]\s+['\"]", text):  # Python would join 'a' 'b' to 'ab'
        try:
            read = ast.literal_eval(text)
            values = list(read) if isinstance(read, list | tuple | set) else None
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError):
            values = None
    if values is None:
        inner = text[1:-1]
        values = [a or b for a, b in re.findall(r"'([^']*)'|\"([^\"]*)\"", inner)] or list(inner.split(","))
    return [name for value in values if (name := without_decimals(str(value)))]


def _are_lists(joint: set[str], texts: set[str], separator: str, column: str, named: bool) -> bool:
    """Tell lists from names in which the separator stands (`named`: the classes are known)."""
    parts = {part for text in joint for part in parts_of(text, separator)} - {NO_CLASS}
    lone = parts & texts
    if not lone or named or separator == ";" or len(lone) > _LONE * len(parts):
        return bool(lone)
    shown, one = sorted(joint)[0], sorted(lone)[0]
    raise UsageError(
        f"the labels in {column!r} may be lists: {shown!r} holds {one!r}, but most of such parts never stand alone; "
        f"say which with data.classes=[...]: the parts, {','.join(sorted(parts)[:4])}, ..., or whole texts, "
        f"each in quotes"
    )
