"""Imports without the garbage collector in their way: thousands of modules, and nothing of them is garbage.

Python's collector starts each time that some hundred objects more are there than before, and looks at all of them again
and again: a sixth of the time that torch, Lightning and the rest take to be imported (scripts/benchmarks/small_run.py).
"""

from __future__ import annotations

import gc

BEGINNING = 50_000  # objects more, of Python's 700, before the collector looks: what is refused by then can still go
_usual: tuple[int, int, int] | None = None


def begin() -> None:
    """Let the collector look seldom, in a process that is about to import what a verb needs."""
    global _usual
    if _usual is None:
        _usual = gc.get_threshold()
        gc.set_threshold(BEGINNING, *_usual[1:])


def begun() -> bool:
    """Tell whether this process began as the command and has only imported and checked so far."""
    return _usual is not None


def end() -> None:
    """Let it look as ever, but never again at what is there now: modules stay, and forks share their memory."""
    global _usual
    if _usual is not None:
        gc.set_threshold(*_usual)
        gc.freeze()
        _usual = None
