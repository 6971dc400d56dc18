"""'Did you mean': the nearest valid name, or all of them where none is near."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def suggest(word: str, options: Iterable[str], most: int = 15) -> str:
    """A half-sentence for an error: ``did you mean 'x'?`` or ``there are: a, b, c``."""
    names = sorted({str(option) for option in options})
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean '{near[0]}'?"
    if not names:
        return "there are none"
    more = f", ... ({len(names)} in all)" if len(names) > most else ""
    return f"there are: {', '.join(names[:most])}{more}"
