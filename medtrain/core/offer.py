"""The public functions and classes of a room's files by name, so that nobody has to list them by hand."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

DEFINED = re.compile(r"^(?:(?:async )?def |class )?([a-zA-Z]\w*)\b(?=\s*[(:=\[])", re.MULTILINE)  # at the left margin


def offer(room: str) -> None:
    """Let a package, from its ``__init__.py``, have what its files define: each file is imported when it is asked for.

    Where a file bears the name of what it defines, as ``loss/focal.py`` does, the room's name means the latter.

    Args:
        room: the package, such as ``medtrain.loss``.
    """
    package = sys.modules[room]
    package.__class__ = _Room
    for name, value in list(vars(package).items()):
        setattr(package, name, value)  # files that were imported before


class _Room(ModuleType):
    """A package that looks a name up in its files."""

    def __getattr__(self, name: str) -> Any:
        """Import what defines the name.

        Raises:
            AttributeError: no file does.
            ImportError: two files do, so that it would mean either.
        """
        if not name.startswith("_"):
            files = [file for file, source in _sources(self).items() if name in DEFINED.findall(source)]
            offered = _offered(self, files)
            if name in offered:
                setattr(self, name, offered[name])
                return offered[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        """Set the name, but for a file that Python binds once it is imported: what it defines by that name counts."""
        if isinstance(value, ModuleType) and name in (defined := _defined(value)):
            value = defined[name]
        super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        """List all names, for which all files are imported (ImportError: see `__getattr__`)."""
        return sorted({*super().__dir__(), *_offered(self, _sources(self))})


def _sources(package: ModuleType) -> dict[str, str]:
    """Read the files of a package, without importing them: {name: text}."""
    files = sorted(Path(package.__path__[0]).glob("*.py"))
    return {file.stem: file.read_text(encoding="utf-8") for file in files if file.stem != "__init__"}


def _offered(package: ModuleType, files: Iterable[str]) -> dict[str, Any]:
    """Import files of a package; returns what they define by name (ImportError: two of them define the same)."""
    homes: dict[str, str] = {}
    offered: dict[str, Any] = {}
    for file in files:
        for name, thing in _defined(importlib.import_module(f"{package.__name__}.{file}")).items():
            if name in offered:
                raise ImportError(
                    f"{package.__name__}: {homes[name]}.py and {file}.py both define '{name}'; rename one, or call it "
                    f"_{name}"
                )
            homes[name], offered[name] = file, thing
    return offered


def _defined(module: ModuleType) -> dict[str, Any]:
    """List the public functions and classes of a file by name, without those that it imports."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    }
