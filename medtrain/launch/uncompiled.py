"""What torch, torchvision and Lightning ask of torch's compiler where nothing is compiled; see `spared`.

Their names and arguments are the compiler's own. Once it is there for real, all of them do what it does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import FunctionType
from typing import Any

from medtrain.launch import spared

COMPILER = "torch._dynamo"


class _Compiled(type):
    def __instancecheck__(cls, thing: object) -> bool:
        return not spared.waits(COMPILER) and isinstance(thing, spared.whole(COMPILER).OptimizedModule)


class OptimizedModule(metaclass=_Compiled):
    """The class of what is compiled, which nothing is until the compiler is there."""


def disable(fn: Any = None, *args: Any, **more: Any) -> Any:
    """Keep a function from being compiled, once the compiler is there."""
    if not isinstance(fn, FunctionType):
        return spared.whole(COMPILER).disable(fn, *args, **more)
    kept_apart: Callable[..., Any] | None = None

    @functools.wraps(fn)
    def call(*given: Any, **named: Any) -> Any:
        nonlocal kept_apart
        if kept_apart is None and not spared.waits(COMPILER):
            kept_apart = spared.whole(COMPILER).disable(fn, *args, **more)
        return (kept_apart or fn)(*given, **named)

    return call


def graph_break(msg: str = "") -> None:
    """Do nothing: where nothing is compiled, nothing is broken off."""


def is_compile_supported(device_type: Any) -> Any:
    """Ask the compiler whether it knows a device."""
    return spared.whole(f"{COMPILER}.utils").is_compile_supported(device_type)


def FlopCounterMode(*args: Any, **more: Any) -> Any:
    """Count operations, those of the compiler's kernels too."""
    return spared.whole("torch.utils.flop_counter").FlopCounterMode(*args, **more)
