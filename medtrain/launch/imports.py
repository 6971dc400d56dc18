"""Imports that a command waits for: without the garbage collector in their way, without what is `spared`, and left.

Python's collector starts each time that some hundred objects more are there than before, and looks at all of them again
and again: a sixth of the time that torch, Lightning and the rest take to be imported (scripts/benchmarks/small_run.py).
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
import threading

from medtrain.launch import spared

BEGINNING = 1_000_000  # objects more, of Python's 700, before the collector looks; a training imports half as many
_usual: tuple[int, int, int] | None = None


def begin() -> None:
    """Let the collector look seldom, in a process that is about to import what a verb needs."""
    global _usual
    if _usual is None:
        _usual = gc.get_threshold()
        gc.set_threshold(BEGINNING, *_usual[1:])
        spared.spare()


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


def leave(code: int) -> None:
    """End a process that has imported torch as Python does, but for taking its modules apart, object by object.

    Threads are waited for, what libraries want done at the end is done, and what was printed is written, in the order
    in which `multiprocessing` ends its processes. Comes back where there is nothing to spare, or where what was printed
    can't be written, which Python tells.
    """
    if "torch" not in sys.modules:
        return
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        return
    os._exit(code)
