"""Columns of numbers, as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from medtrain.core.errors import DataError, Problem
from medtrain.io.cells import cleaned, is_unknown
from medtrain.io.table import RawTable

Array = npt.NDArray[Any]

ODD = 10  # interquartile ranges from the median, beyond which a value is told
NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)


def numbers_of(raw: RawTable, column: str, bad: dict[int, Problem], notices: list[Problem]) -> Array:
    """Read one column, NaN where nothing is known.

    A cell that is no number goes into `bad`, by row; what is told goes into `notices`.

    Raises:
        DataError: no cell is a number, or commas may stand for a point or for thousands.
    """
    texts = [cleaned(text) for text in raw.column(column)]
    commas = decimal_commas(raw.file.name, column, texts)
    values, odd = parsed(texts)
    for n in odd:
        detail = f"{column} is {texts[n]!r}, no number (data.unit_name says the unit of all)"
        bad.setdefault(n, Problem("bad_label", raw.where(int(raw.text.index[n])), detail))
    known = values[np.isfinite(values)]
    if not len(known):
        raise DataError(f"{raw.file.name}: no cell of {column!r} is a number, and data.target=value needs some")
    notices += [*commas, *far_off(raw.file.name, column, known)]
    return values


def parsed(texts: Sequence[str]) -> tuple[Array, list[int]]:
    """Read cleaned cells as numbers, NaN where nothing is known; with the positions of what is no number."""
    values, odd = np.full(len(texts), np.nan), []
    for n, text in enumerate(texts):
        if is_unknown(text):
            continue
        number = float(text.replace(",", ".")) if NUMBER.fullmatch(text) else math.nan
        if math.isfinite(number):
            values[n] = number
        else:
            odd.append(n)
    return values, odd


def decimal_commas(file: str, column: str, texts: Sequence[str]) -> list[Problem]:
    """Tell that commas are read as decimal points, where there are any.

    Args:
        file: the name of the table.

    Raises:
        DataError: they may stand for thousands too.
    """
    with_comma = [text for text in texts if "," in text and NUMBER.fullmatch(text)]
    if not with_comma:
        return []
    point = with_comma[0].replace(",", ".")
    if all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text) for text in with_comma):
        raise DataError(
            f"{file}: {with_comma[0]!r} in {column!r} may be {with_comma[0].replace(',', '')} or {point}",
            advice="write decimals with a point, and thousands without a comma",
        )
    detail = f"commas in {column!r} are read as decimal points, {with_comma[0]!r} as {point}"
    return [Problem("decimal_comma", file, detail, "note")]


def far_off(file: str, column: str, known: Array) -> list[Problem]:
    """Tell of values so far from the others that they may stand for something else, such as -999 for unknown."""
    low, middle, high = np.quantile(known, (0.25, 0.5, 0.75))
    if not high > low:
        return []
    far = known[np.abs(known - middle) > ODD * (high - low)]
    if not len(far):
        return []
    shown = ", ".join(f"{value:g}" for value in np.unique(far)[:3]) + ", ..." * (len(np.unique(far)) > 3)
    detail = (
        f"{len(far):,} values of {column!r} lie more than {ODD} interquartile ranges from the median "
        f"{middle:g}: {shown}; where they stand for 'unknown', leave them out with data.filter"
    )
    return [Problem("far_value", file, detail, "warning")]


def as_written(values: npt.ArrayLike) -> Array:
    """Read numbers of single precision as the shortest ones that it writes so, which are what people wrote."""
    single = np.asarray(values, np.float32)
    return np.array([float(str(value)) for value in single.ravel()]).reshape(single.shape)
