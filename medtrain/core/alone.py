"""Time as it would pass without the machine's other programs: what a busy machine adds is measured and taken away.

Linux counts for each thread how long it was ready to run and had no core (``schedstat``), and for the machine how busy
its cores were (``/proc/stat``). Elsewhere time is what the clock says.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Span:
    """Seconds that passed, and those in which a thread of this process waited for a core."""

    passed: float
    waited: float


@dataclass
class Clock:
    """A stopwatch of laps that knows what others took; what reading it costs is in no lap.

    Args:
        laps: so far.
    """

    laps: list[Span] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._busy, self._own = _busy_seconds(), _own_seconds()
        self.start()

    def start(self) -> None:
        """Begin a lap."""
        self._waits = _waits()
        self._mark = time.perf_counter()

    def lap(self) -> Span:
        """End a lap, and begin the next."""
        passed, waits = time.perf_counter() - self._mark, _waits()
        # a team of threads ends with its last one: the longest wait is what the lap waited, at least
        waited = max((seconds - self._waits.get(thread, 0.0) for thread, seconds in waits.items()), default=0.0)
        span = Span(passed, min(max(0.0, waited), passed))
        self.laps.append(span)
        self.start()
        return span

    def alone(self, span: Span) -> float:
        """Give the seconds that a span would have taken without other programs."""
        return max(0.0, span.passed - self.share_of_others() * span.waited)

    def slowed(self) -> float:
        """Give by how many times others have slowed all laps: 1 on a machine of one's own."""
        alone = sum(map(self.alone, self.laps))
        return sum(span.passed for span in self.laps) / alone if alone else 1.0

    def share_of_others(self) -> float:
        """Give the share of other programs in what the cores did, but for one's own main thread: whom one waits for.

        Own workers and threads take cores from each other on a quiet machine, too; that stays.
        """
        busy = _busy_seconds() - self._busy
        own = _own_seconds() - self._own
        others = max(0.0, busy - own)
        helpers = max(0.0, own - sum(span.passed - span.waited for span in self.laps))
        return others / (others + helpers) if others else 0.0


def _waits() -> Mapping[str, float]:
    """Read how long each thread of this process has waited for a core, in seconds; {} where nobody counts."""
    waits = {}
    try:
        for thread in os.listdir(PROC / "self" / "task"):
            waits[thread] = int((PROC / "self" / "task" / thread / "schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return waits  # a thread that has ended since, or no such count
    return waits


def _busy_seconds() -> float:
    """Read how long the machine's cores have worked since its start; 0 where it doesn't say."""
    try:
        user, nice, system, _, _, hard, soft, steal = map(int, (PROC / "stat").read_text().split(None, 9)[1:9])
    except (OSError, ValueError):
        return 0.0
    return (user + nice + system + hard + soft + steal) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    """Read the processor time of this process and its workers, those that have ended too."""
    times = os.times()
    living = sum(_seconds_of(child.pid) for child in multiprocessing.active_children() if child.pid)
    return times.user + times.system + times.children_user + times.children_system + living


def _seconds_of(pid: int) -> float:
    try:
        fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system time
