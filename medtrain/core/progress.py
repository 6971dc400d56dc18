"""How those who wait hear of long work: a callback for counts, a line for whom we wait for."""

from __future__ import annotations

import sys
from collections.abc import Callable

Progress = Callable[[int, int], None]  # (done, total)


def to_stderr(text: str) -> None:
    """Print a line of news where it does not mix with results."""
    print(text, file=sys.stderr)
