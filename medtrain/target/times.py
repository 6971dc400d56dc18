"""Times of follow-up and events as tables write them, and the horizons that are taken where nobody names any."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import DataError, Problem
from medtrain.io.cells import is_unknown, names
from medtrain.io.table import RawTable
from medtrain.target.numbers import numbers_of

YES = frozenset("1 true t yes y event dead deceased died death 1:deceased 1:recurred/progressed 1:recurred".split())
NO = frozenset("0 false f no n censored alive living 0:living 0:diseasefree 0:censored".split())
PLAIN = frozenset("0 1".split())
SHARES = (0.25, 0.5, 0.75)  # of the events, by the usual horizons
DIGITS = 2


def read_times(raw: RawTable, time: str, event: str) -> tuple[NDArray[Any], list[tuple[int, Problem]], list[Problem]]:
    """Read two columns of a table.

    Args:
        time: the column of times of follow-up, in one unit.
        event: the column that says whether the event was seen at the end of it: 0 or 1, or a word.

    Returns:
        float [N, 2] of time and event, rows with problems hold (1, 0); the problems by row; what was read how.

    Raises:
        DataError: no time is a number, or there is no event.
    """
    bad: dict[int, Problem] = {}
    notices: list[Problem] = []
    time_N = numbers_of(raw, time, bad, notices)
    texts = names(raw.column(event))
    event_N = np.array([_seen(text) for text in texts])
    for n, (known, text) in enumerate(zip(time_N.tolist(), texts, strict=True)):
        if n not in bad and (fault := _fault(known, text, float(event_N[n]), time, event)):
            bad[n] = Problem(fault[0], raw.where(int(raw.text.index[n])), fault[1])
    values = np.stack([time_N, event_N], axis=1)
    values[list(bad)] = (1.0, 0.0)
    if not values[:, 1].any():
        raise DataError(
            f"{raw.file.name}: no event in {event!r} ({', '.join(sorted(set(texts))[:4])}): nothing to learn",
            advice="1, true or yes stand for an event, 0, false or no for none",
        )
    words = Counter(text for n, text in enumerate(texts) if n not in bad and text not in PLAIN)
    for word, count in sorted(words.items()):
        meaning = "an event" if _seen(word) else "none (censored)"
        notices.append(
            Problem("event_word", raw.file.name, f"{word!r} in {event!r} ({count:,} rows) is read as {meaning}", "note")
        )
    return values, sorted(bad.items()), notices


def _seen(text: str) -> float:
    word = text.strip().lower()
    return 1.0 if word in YES else 0.0 if word in NO else math.nan


def _fault(known: float, text: str, seen: float, time: str, event: str) -> tuple[str, str] | None:
    """Say what is wrong with a row: the kind and the detail of a problem."""
    if math.isnan(known):
        return "missing_label", f"{time} is blank" + (", so nobody knows when the event was" if seen else "")
    if known <= 0:
        return "bad_label", f"{time} is {known:g}: a time of follow-up is above 0, in the unit of the others"
    if is_unknown(text) and math.isnan(seen):
        return (
            "missing_label",
            f"{event} is {text!r}: unknown whether the event was seen" if text else f"{event} is blank",
        )
    if math.isnan(seen):
        return "bad_label", f"{event} is {text!r}: neither an event (1, true, yes) nor none (0, false, no)"
    return None


def usual_horizons(values: NDArray[Any]) -> tuple[float, ...]:
    """Choose horizons: the times by which a quarter, half and three quarters of the events were seen, two digits each.

    They are those of the whole table, as all folds of a cross-validation must be judged at the same times.
    """
    time_N, event_N = values[:, 0], values[:, 1] > 0.5
    rough = np.quantile(time_N[event_N], SHARES)
    rounded = [float(f"{horizon:.{DIGITS}g}") for horizon in rough]
    return tuple(sorted({horizon for horizon in rounded if 0 < horizon < time_N.max()})) or (float(np.median(time_N)),)
