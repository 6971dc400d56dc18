"""Finding a kind of target by its name: the module of this room that is called so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.words import nearest
from medtrain.target.base import Target
from medtrain.target.reading import NamedTarget

AUTO = "auto"


@cache
def kinds() -> dict[str, type[Target]]:
    """List the kinds of targets there are, by name; each is the class of that `kind` in a module of that name."""
    listed = {}
    for module in iter_modules([str(Path(__file__).parent)]):
        for value in vars(import_module(f"{__package__}.{module.name}")).values():
            if isinstance(value, type) and issubclass(value, Target) and getattr(value, "kind", None) == module.name:
                listed[module.name] = value
    return listed


def target_of(kind: str) -> type[Target]:
    """Find the class of a kind.

    Raises:
        ValueError: there is none of that name.
    """
    if kind not in kinds():
        raise ValueError(f"label_kind {kind!r} is none of {', '.join(kinds())}")
    return kinds()[kind]


def target_of_columns(columns: Iterable[str]) -> Target | None:
    """Guess the target of a table of predictions whose run says nothing of it; None without probabilities."""
    names = list(columns)
    classes = tuple(name.removeprefix("prob_") for name in names if name.startswith("prob_"))
    several = any(name.startswith("target_") for name in names)
    kind = "multilabel" if several else "binary" if len(classes) == 2 else "multiclass"
    return target_of(kind)(classes) if classes else None


def target_from(plain: Mapping[str, Any]) -> Target:
    """Read a target from plain values, as `Target.to_dict` gave them."""
    return target_of(plain["label_kind"]).from_plain(plain)


def named_kind(wanted: Any, model: Target | None = None) -> type[NamedTarget] | None:
    """Find the kind that `data.target` names, or that a trained model has; None where labels are read as they look.

    Args:
        wanted: data.target; None is auto.
        model: what a trained model predicts, which holds then.

    Raises:
        UsageError: there is no such kind to ask for.
    """
    if model is not None:
        return type(model) if isinstance(model, NamedTarget) else None
    if wanted in (None, AUTO):
        return None
    named = {name: kind for name, kind in kinds().items() if issubclass(kind, NamedTarget)}
    if wanted not in named:
        names = (AUTO, *sorted(named))
        raise UsageError(f"data.target={wanted} is none of {', '.join(names)}{nearest(str(wanted), names)}")
    return named[wanted]
