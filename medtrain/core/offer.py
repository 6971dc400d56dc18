"""The public functions and classes of a room's files by name, so that nobody has to list them by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import Any


def offer(room: str) -> dict[str, Any]:
    """Import all files of a room and return {name: function or class} of what they define, for its ``__init__.py``.

    Where a file bears the name of what it defines, as ``loss/focal.py`` does, the room's name means the latter.

    Args:
        room: the package, such as ``medtrain.loss``.

    Raises:
        ImportError: two files define the same public name, so that it would mean either.
    """
    package = importlib.import_module(room)
    files: dict[str, str] = {}
    offered: dict[str, Any] = {}
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"{room}.{info.name}")
        for name, thing in vars(module).items():
            if name.startswith("_") or not (inspect.isfunction(thing) or inspect.isclass(thing)):
                continue
            if thing.__module__ != module.__name__:
                continue  # imported there
            if name in offered:
                raise ImportError(
                    f"{room}: {files[name]}.py and {info.name}.py both define '{name}'; rename one, or call it _{name}"
                )
            files[name], offered[name] = info.name, thing
    return offered
