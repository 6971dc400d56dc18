"""Tasks, a slice a task: what is trained, how it is judged, saved and explained. `task_of` finds one by its name."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from medtrain.core.errors import UsageError
from medtrain.core.words import suggest
from medtrain.task.base import Task


def task_of(name: str) -> type[Task]:
    """Find the task of a slice: the LightningModule that ``medtrain/task/NAME/module.py`` defines.

    Raises:
        UsageError: there is no such slice.
    """
    slices = [module.name for module in iter_modules(__path__) if module.ispkg]
    if name not in slices:
        raise UsageError(f"task.slice={name}: no such folder of medtrain/task; {suggest(name, slices)}")
    module = import_module(f"{__name__}.{name}.module")
    return next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    )
