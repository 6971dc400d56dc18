"""Problems of data in the terminal: how many of each kind, and the first of each in full."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from medtrain.core.errors import Problem

COLOURS = {"error": "red", "warning": "yellow", "note": "dim"}


def findings_table(problems: Sequence[Problem]) -> Table:
    """Make a table with a row a severity and kind, in the order of `problems`."""
    counts = Counter((problem.severity, problem.kind) for problem in problems)
    first: dict[tuple[str, str], Problem] = {}
    for problem in problems:
        first.setdefault((problem.severity, problem.kind), problem)
    table = Table(title="problems", title_justify="left")
    for name in ("severity", "kind"):
        table.add_column(name)
    table.add_column("count", justify="right")
    table.add_column("the first", overflow="fold")
    for (severity, kind), count in counts.items():
        example = Text(str(first[severity, kind]))
        table.add_row(Text(severity, COLOURS[severity]), kind, f"{count:,}", example)
    return table
