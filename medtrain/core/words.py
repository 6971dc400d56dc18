"""Words for people: 'did you mean', and the overrides that differ from run to run."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


def nearest(word: str, options: Iterable[str]) -> str:
    """Write ``; did you mean 'x'?`` for the option most like `word`, whatever its case; '' where none is near."""
    by_lower = {str(option).lower(): str(option) for option in options}
    near = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=0.5)
    return f"; did you mean '{by_lower[near[0]]}'?" if near else ""


def suggest(word: str, options: Iterable[str], most: int = 15) -> str:
    """Write a half-sentence for an error: ``did you mean 'x'?`` or ``there are: a, b, c``."""
    names = sorted({str(option) for option in options})
    near = nearest(word, names)
    if near:
        return near.removeprefix("; ")
    if not names:
        return "there are none"
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return f"there are: {', '.join(names[:most])}{more}"


def first_few(items: Sequence[str], most: int = 5) -> str:
    """List the first of many."""
    return ", ".join(items[:most]) + f" and {len(items) - most} more" * (len(items) > most)


def overrides(words: Iterable[str]) -> dict[str, str]:
    """Split ``key=value`` words into {key: value}."""
    return dict(str(word).partition("=")[::2] for word in words)


def varying(runs: Sequence[dict[str, str]]) -> list[str]:
    """List the keys of `overrides` that are not the same in all runs."""
    keys = dict.fromkeys(key for run in runs for key in run)
    return [key for key in keys if len({run.get(key) for run in runs}) > 1]


def plain_text(text: str) -> str:
    """Write a text so that matplotlib shows it as it is: no mathematics from a $."""
    return text.replace("\\", "\\\\").replace("$", r"\$")
