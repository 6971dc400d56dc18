"""Imports that a command waits for: without the garbage collector in their way, without what nobody asks for, and left.

Python's collector starts each time that some hundred objects more are there than before, and looks at all of them again
and again: a sixth of the time that torch, Lightning and the rest take to be imported (scripts/benchmarks/small_run.py).
Lightning names two classes of torchmetrics, whose own ``__init__`` imports hundreds of metrics and what these use.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Mapping
from typing import Any

SPARED = {  # {package: {name: a file that has it}}; torchmetrics' utilities are in a circle with its metric.py
    "torchmetrics": {"Metric": "utilities.checks", "MetricCollection": "collections", "__version__": "__about__"}
}
BEGINNING = 50_000  # objects more, of Python's 700, before the collector looks: what is refused by then can still go
_usual: tuple[int, int, int] | None = None


def begin() -> None:
    """Let the collector look seldom, in a process that is about to import what a verb needs."""
    global _usual
    if _usual is None:
        _usual = gc.get_threshold()
        gc.set_threshold(BEGINNING, *_usual[1:])
        for package, files in SPARED.items():
            spare(package, files)


def spare(package: str, files: Mapping[str, str]) -> None:
    """Let a package give some of its names without running its ``__init__``, which is run once more is asked for.

    Args:
        files: {name: a file of the package that has it}.
    """
    spec = importlib.util.find_spec(package) if package not in sys.modules else None
    if spec is None or spec.loader is None:
        return
    loader, module = spec.loader, importlib.util.module_from_spec(spec)

    def look_up(name: str) -> Any:
        if name in files:
            with contextlib.suppress(ImportError):  # of another version: files that can't be imported alone
                return getattr(importlib.import_module(f"{package}.{files[name]}"), name)
        elif name.startswith("__"):  # Python asks modules for such, whatever they are
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        del vars(module)["__getattr__"]
        loader.exec_module(module)
        return getattr(module, name)

    vars(module).update(__getattr__=look_up, _logger=logging.getLogger(package))  # files of torchmetrics import that
    sys.modules[package] = module


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
