"""Calls of what a configuration names in other packages: what they raise is told as a fault of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from medtrain.core.errors import MedtrainError, UsageError


def call_named(called: Callable[..., Any], *args: Any, **more: Any) -> Any:
    """Call a class or function that a `_target_` names; errors of medtrain's own code pass as they are.

    Raises:
        UsageError: foreign code raised anything.
    """
    try:
        return called(*args, **more)
    except MedtrainError:
        raise
    except Exception as error:
        module = getattr(called, "__module__", None) or ""
        if module.partition(".")[0] == "medtrain":
            raise
        first = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"_target_={module}.{getattr(called, '__qualname__', called)} cannot be built: "
            f"{type(error).__name__}: {first[:300]}"
        ) from error
