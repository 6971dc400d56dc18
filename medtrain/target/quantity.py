"""Labels that measure, date or identify cases instead of sorting them into classes: refused.

A network with a class for every age of a table trains without a word, and its metrics look like anyone's. What is a
class to people can't be read off a column, so the rule is a plain one, and data.classes has the last word.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from statistics import median

from medtrain.core.errors import UsageError
from medtrain.target.order import as_items

MOST_VALUES = 20  # different numbers that may still be names of classes
FEWEST_CASES = 5  # of the median number that is a class
SCALE = 5  # steps of a grade (0 to 4, 1 to 5), which small tables have with few cases a step
NUMBERS = 0.9  # of the labels: a column of ages with some 'unknown' is one of ages
FEWEST_NAMES = 10  # of different texts; of fewer, each may be a class with a case
SHOWN = 20  # names in the message

NUMBER = re.compile(
    r"(?P<compared>[<>≤≥~]=?\s*)?(?P<digits>[+-]?(\d{1,3}([,.']\d{3})+([.,]\d+)?|\d+([.,]\d+)?|[.,]\d+)(e[+-]?\d+)?)"
    r"(?P<unit>\s*[a-zµ%][a-z/%]*)?",
    re.IGNORECASE,
)
DATE = re.compile(
    r"(\d{4}([-/.])\d{1,2}\2\d{1,2}|\d{1,2}([-/.])\d{1,2}\3(\d{4}|\d{2}))([ T].*)?|\d{1,2}:\d{2}(:\d{2})?"
)
AGE_UNITS = frozenset("ymwd")  # of DICOM's age string, 034Y


def refuse_quantities(labels: Sequence[str], column: str, file: str) -> None:
    """Refuse labels that are no names of classes, where nothing says that they are.

    Numbers (whole ones are written without decimals; a comma may stand for the point, and all may have one unit) are
    quantities or identifiers if any is no whole number, if there are more than 20 different ones, or if the median one
    has fewer than 5 cases. The last doesn't hold of two values, nor of a scale without gaps that begins with 0 or 1 and
    has at most 5 steps: a small table of grades. Dates are no classes at all, and texts are identifiers where there are
    more than half as many as cases, and more than 10.

    Args:
        labels: of the cases; blank ones count nowhere.
        column, file: where they stand.

    Raises:
        UsageError: what they are, and what to do.
    """
    cases = Counter(label for label in labels if label)
    if not cases:
        return
    reason = _dates(cases) or _numbers(cases) or _identifiers(cases)
    if reason:
        names = sorted(cases, key=_order)
        shown = as_items(names if len(names) <= SHOWN else [*names[:3], "..."])
        raise UsageError(
            f"{file}: the labels in {column!r} are no classes: {reason}\n"
            f"if they are, say so with data.classes=[{shown}], all of them in order; to predict a number, "
            "data.target=value (data.target=ordinal: a grade); else name another column with data.columns.label"
        )


def _dates(cases: Counter[str]) -> str:
    shown = next(iter(cases))
    return f"these are dates or times, such as {shown!r}" if all(map(DATE.fullmatch, cases)) else ""


def _numbers(cases: Counter[str]) -> str:
    """Say why the numbers of the column are no names of classes; '' where it has none, or they may be."""
    matches = {text: match for text in cases if (match := NUMBER.fullmatch(text))}
    plain = {text: match for text, match in matches.items() if not match["compared"]}
    units = {(match["unit"] or "").strip().lower() for match in matches.values()}
    numbered = sum(cases[text] for text in matches)
    if not plain or numbered < NUMBERS * cases.total() or not (len(units) == 1 or units <= AGE_UNITS):
        return ""
    values = {text: _value(match["digits"]) for text, match in plain.items()}
    broken = next((text for text, value in values.items() if not value.is_integer()), None)
    rows = f"{len(matches):,} different numbers in {numbered:,} cases"
    if broken is not None:
        return f"{rows}, not all of them whole (such as {broken})"
    if len(matches) > MOST_VALUES:
        return f"{rows}, more than {MOST_VALUES}"
    middle = median(cases[text] for text in matches)
    if len(matches) > 2 and middle < FEWEST_CASES and not _is_scale(set(values.values())):
        return f"{rows}, the median one in {middle:g}, fewer than {FEWEST_CASES}"
    return ""


def _is_scale(values: set[float]) -> bool:
    low = min(values)
    return low in (0, 1) and len(values) <= SCALE and max(values) - low == len(values) - 1


def _identifiers(cases: Counter[str]) -> str:
    if len(cases) <= FEWEST_NAMES or 2 * len(cases) <= cases.total():
        return ""
    return f"{len(cases):,} different texts in {cases.total():,} cases, like names of the cases themselves"


def _value(digits: str) -> float:
    """Read a number whose last point or comma is the decimal one; of '1,234' too, a quantity either way."""
    mantissa, _, power = digits.lower().partition("e")
    mark = max(mantissa.rfind("."), mantissa.rfind(","))
    whole, part = (mantissa, "0") if mark < 0 else (mantissa[:mark], mantissa[mark + 1 :])
    return float(f"{re.sub(r'[.,]', '', whole).replace(chr(39), '') or 0}.{part}e{power or 0}")


def _order(text: str) -> tuple[float, str]:
    match = NUMBER.fullmatch(text)
    return (_value(match["digits"]) if match else float("inf"), text)
