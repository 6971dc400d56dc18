"""Networks of one family: the same arguments, written once, for all its members."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

Builder = TypeVar("Builder", bound=Callable[..., Any])


def member(build: Builder, name: str, title: str) -> Builder:
    """Name the builder of one member of a family, as if it had been written by itself.

    Args:
        build: the builder; in its docstring ``{title}`` stands for the member.
        name: under which the file and configurations have it: ``resnet18``.
        title: as people write it: ``ResNet-18``.
    """
    build.__name__ = build.__qualname__ = name
    build.__doc__ = (build.__doc__ or "").replace("{title}", title)
    return build
