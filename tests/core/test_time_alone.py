"""Time without other programs: by hand-made counts of the kernel, and beside a program that takes the core."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from medtrain.core import alone
from medtrain.core.alone import Clock, Span

TICKS = os.sysconf("SC_CLK_TCK")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /proc, the clock at 0, and no processor time of one's own."""
    monkeypatch.setattr(alone, "PROC", tmp_path)
    monkeypatch.setattr(alone, "_own_seconds", lambda: 0.0)
    write(tmp_path, 0.0, {"1": 0.0})
    return tmp_path


def write(proc: Path, busy: float, waits: dict[str, float]) -> None:
    half = int(busy * TICKS / 2)
    (proc / "stat").write_text(f"cpu  {half} 0 {half} 999 999 0 0 0 0 0\ncpu0 1 1\n")
    for thread, seconds in waits.items():
        folder = proc / "self" / "task" / thread
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "schedstat").write_text(f"123 {int(seconds * 1e9)} 7\n")


def clock_at(seconds: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone.time, "perf_counter", lambda: seconds.pop(0))


def test_what_was_waited_for_others_is_taken_away(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock_at([0.0, 10.0, 10.0], monkeypatch)
    clock = Clock()
    write(proc, 20.0, {"1": 4.0, "2": 6.0})  # two threads: the lap waits for the slower one
    span = clock.lap()
    assert span == Span(10.0, 6.0)
    assert clock.alone(span) == pytest.approx(4.0) and clock.slowed() == pytest.approx(2.5)


def test_own_workers_are_no_others(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = iter([0.0, 18.0, 18.0])
    monkeypatch.setattr(alone, "_own_seconds", lambda: next(own))
    clock_at([0.0, 10.0, 10.0], monkeypatch)
    clock = Clock()
    write(proc, 18.0, {"1": 2.0})  # 18 s of cores: 8 of the main thread, 10 of its workers
    assert clock.alone(clock.lap()) == pytest.approx(10.0)


def test_where_nobody_counts_time_is_what_the_clock_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "PROC", tmp_path / "nothing")
    clock_at([0.0, 3.0, 3.0], monkeypatch)
    clock = Clock()
    assert clock.alone(clock.lap()) == 3.0 and clock.slowed() == 1.0


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="the kernel counts no waiting")
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no core can be chosen")
def test_beside_a_program_that_takes_the_core() -> None:
    """Two processes on one core: the clock sees twice the time, `alone` what was worked."""
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        pid = os.fork()
        if pid == 0:
            _spin(30.0)
        clock = Clock()
        worked, began = time.process_time(), time.perf_counter()
        while time.process_time() - worked < 0.3:
            pass
        span = clock.lap()
        assert span.passed > 0.4 and time.perf_counter() - began > 0.4
        assert clock.alone(span) == pytest.approx(0.3, abs=0.05)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.sched_setaffinity(0, before)


def _spin(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass
    os._exit(0)
