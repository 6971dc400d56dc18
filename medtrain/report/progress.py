"""A bar for long work outside training: reading files, building caches."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn


def bar(title: str, unit: str = "files") -> Callable[[int, int], None]:
    """Make a callback ``(done, total)`` that shows a bar with its speed, and one closing line where the work took long.

    Nothing is shown for work under a second; without a terminal only the closing line.
    """
    console = Console(file=sys.stderr)
    started = ended = time.monotonic()
    last = 0
    bars: list[Progress] = []

    def show(done: int, total: int) -> None:
        nonlocal started, ended, last
        if done < last:  # the next piece of work with the same bar
            started = ended
        seconds = time.monotonic() - started
        rate = done / max(seconds, 1e-9)
        if console.is_terminal and not bars and done < total and seconds > 1:
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            bars.append(Progress(*columns, console=console, transient=True))
            bars[0].start()
            bars[0].add_task(title, total=total)
        if bars:
            bars[0].update(bars[0].task_ids[0], completed=done, description=f"{title} {rate:,.0f} {unit}/s")
        last = done
        if done >= total:
            ended = time.monotonic()
            while bars:
                bars.pop().stop()
            if seconds > 1:
                console.print(f"{title}: {total:,} {unit} in {seconds:.0f} s ({rate:,.0f}/s)", highlight=False)

    return show
