"""Limits of parameters, written once, in their annotations: types, choices (`Literal`) and limits (`Annotated`).

    def focal(gamma: Annotated[float, AtLeast(0)] = 2.0, alpha: float | Literal["auto"] | None = None): ...

`fault` reads such annotations, for the values of a configuration and for those of a call (`checked`) alike. Values are
plain, as YAML has them, so what an annotation says of tensors, classes or callables is the function's own affair.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import typing
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace, UnionType
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, Union, is_typeddict

from medtrain.core.errors import UsageError

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class AtLeast:
    """The limit of a number that is `low` or more."""

    low: float

    def fault(self, value: float) -> str:
        return "" if value >= self.low else f"it must be at least {self.low}"


@dataclass(frozen=True)
class AtMost:
    """The limit of a number that is `high` or less."""

    high: float

    def fault(self, value: float) -> str:
        return "" if value <= self.high else f"it must be at most {self.high}"


@dataclass(frozen=True)
class Above:
    """The limit of a number that is more than `low`."""

    low: float

    def fault(self, value: float) -> str:
        return "" if value > self.low else f"it must be above {self.low}"


@dataclass(frozen=True)
class Below:
    """The limit of a number that is less than `high`."""

    high: float

    def fault(self, value: float) -> str:
        return "" if value < self.high else f"it must be below {self.high}"


@dataclass(frozen=True)
class Between:
    """The limits of a number that is more than `low` and less than `high`."""

    low: float
    high: float

    def fault(self, value: float) -> str:
        return "" if self.low < value < self.high else f"it is not between {self.low} and {self.high}"


@dataclass(frozen=True)
class Fraction:
    """The limits of a share, from 0 to 1; without `whole`, 1 is refused."""

    whole: bool = True

    def fault(self, value: float) -> str:
        if 0 <= value < 1 or (self.whole and value == 1):
            return ""
        return f"it must be a share: at least 0 and {'at most' if self.whole else 'below'} 1"


@dataclass(frozen=True)
class FileName:
    """The limits of a text that becomes the name of a file or folder, after `before`."""

    before: str = ""

    def fault(self, value: Any) -> str:
        name = self.before + str(value)
        bare = str(value).strip()
        if bare in ("", ".", "..") or set(name) & set("/\\") or not name.isprintable():
            return "it names a folder, and may hold no /, \\ or control character, nor be . or .."
        if (size := len(name.encode())) > LONGEST_NAME:
            return f"it names a folder, and has {size} bytes, where {LONGEST_NAME} are the most"
        return ""


LONGEST_NAME = 255  # bytes, on the usual file systems
Limit = FileName | AtLeast | AtMost | Above | Below | Between | Fraction

Count = Annotated[int, AtLeast(1)]
"""How many, and at least one."""
Amount = Annotated[float, AtLeast(0)]
"""How much, and not less than nothing."""
Share = Annotated[float, Fraction()]
"""Any part of a whole, or all of it."""
Part = Annotated[float, Fraction(whole=False)]
"""Any part of a whole of which something has to remain."""
Inside = Annotated[float, Between(0, 1)]
"""Some of a whole, but not all of it."""
Degrees = Annotated[float, AtLeast(0), AtMost(360)]
"""An angle in either direction."""

_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "a map",
}
_NUMBERS = (int, float)
_LISTS = (list, tuple, set, Sequence, Iterable, Collection)
_MAPS = (dict, Mapping)


class _Kind(NamedTuple):
    """One part of a union: what it is (a type, or `Literal`), its limits, and its choices or types of elements."""

    type: Any
    limits: tuple[Limit, ...] = ()
    inner: tuple[Any, ...] = ()


def fault(value: Any, annotation: Any, *, types: bool = True) -> str:
    """Say in a few words what is wrong with a plain value for a parameter of this annotation; '' if nothing.

    Args:
        value: as YAML has it. Nothing can be said of text with ``${``, which is yet to be replaced, nor of a map with
            ``_target_``, which is yet to be built.
        annotation: resolved; of a union, one part has to take the value.
        types: whether a value of another type is a fault too, or only one beyond limits and choices.
    """
    if (isinstance(value, str) and "${" in value) or (isinstance(value, Mapping) and "_target_" in value):
        return ""
    kinds = list(_kinds(annotation))
    plain = [kind for kind in kinds if kind.type is Literal or kind.type in (*_WORDS, *_LISTS, *_MAPS)]
    if not plain or any(_is_open(kind.type) for kind in kinds if kind not in plain):
        return ""
    verdicts = [_verdict(value, kind) for kind in plain]
    if "" in verdicts or (value is None and any(kind.type is type(None) for kind in kinds)):
        return ""
    near = [verdict for verdict in verdicts if verdict]  # the type is right, the value isn't
    if not near and not types and not any(kind.type is Literal for kind in plain):
        return ""
    return near[0] if near else _mismatch(value, plain)


def _kinds(annotation: Any, limits: tuple[Limit, ...] = ()) -> Iterator[_Kind]:
    """Take an annotation apart: each part of a union, and what is known of it."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        yield from _kinds(inner[0], tuple(limit for limit in inner[1:] if isinstance(limit, Limit)))
    elif origin in (Union, UnionType):
        for part in inner:
            yield from _kinds(part, limits)
    else:
        yield _Kind(origin or annotation, limits, inner)


def _is_open(kind: Any) -> bool:
    """Tell whether a type may accept plain values that cannot be checked here (a common class accepts none)."""
    if not isinstance(kind, type) or kind is object or getattr(kind, "_is_protocol", False) or is_typeddict(kind):
        return True
    return issubclass(kind, Enum | Callable)


def _verdict(value: Any, kind: _Kind) -> str | None:
    """Return '' if the value fits, what is wrong with it, or None where it is of another type."""
    if kind.type is Literal:
        same = (c == value and isinstance(c, bool) == isinstance(value, bool) for c in kind.inner)
        return "" if any(same) else None
    if kind.type in _LISTS:
        return _of_list(value, kind) if isinstance(value, list | tuple) else None
    if kind.type in _MAPS:
        return _of_elements(value.values(), kind.inner[1:]) if isinstance(value, Mapping) else None
    wanted = _NUMBERS if kind.type is float else kind.type
    if not isinstance(value, wanted) or (isinstance(value, bool) and kind.type is not bool):
        return None
    return next((wrong for limit in kind.limits if (wrong := limit.fault(value))), "")


def _of_list(value: Sequence[Any], kind: _Kind) -> str:
    if kind.type is tuple and kind.inner and kind.inner[-1] is not Ellipsis:
        # libraries annotate the length that is usual (torchvision's DenseNet: four blocks) and take others
        pairs = zip(value, kind.inner, strict=False)
        return next((wrong for v, k in pairs if (wrong := _of_elements([v], [k]))), "")
    return _of_elements(value, kind.inner)


def _of_elements(values: Iterable[Any], kinds: Sequence[Any]) -> str:
    wrong = (f"{v} in it: {text}" for v in values if kinds and (text := fault(v, kinds[0])))
    return next(wrong, "")


def _mismatch(value: Any, kinds: Sequence[_Kind]) -> str:
    """Say what the value is and what is wanted: types, choices, or both."""
    choices = [str(choice) for kind in kinds if kind.type is Literal for choice in kind.inner]
    basic = [list if k.type in _LISTS else dict if k.type in _MAPS else k.type for k in kinds if k.type is not Literal]
    wanted = " or ".join(dict.fromkeys(_WORDS[kind] for kind in basic))
    if choices:
        return f"it can be {', '.join(choices)}{f', or {wanted}' if basic else ''}"
    name = {type(None): "null", str: "text", bool: "true or false", list: "a list", dict: "a map"}
    return f"{name.get(type(value), 'a number')}, where {wanted} is wanted"


@functools.cache
def hints(called: Callable[..., Any]) -> dict[str, Any]:
    """Read {parameter: annotation} of a function or class; those that can't be resolved here are left out."""
    function: Any = inspect.unwrap(called.__init__ if inspect.isclass(called) else called)
    try:
        return typing.get_type_hints(function, include_extras=True)
    except Exception:  # one name that only a type checker knows: the other annotations still count
        resolved: dict[str, Any] = {}
        for name, annotation in getattr(function, "__annotations__", {}).items():
            alone = SimpleNamespace(__annotations__={name: annotation})
            with contextlib.suppress(Exception):
                resolved |= typing.get_type_hints(alone, function.__globals__, include_extras=True)
        return resolved


def checked(key: str) -> Callable[[F], F]:
    """Make a function (or ``__init__``) refuse numbers and words beyond the limits and choices of its annotations.

    Args:
        key: under which the configuration has these arguments, for messages: ``loss``.
    """

    def decorate(function: F) -> F:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def call(*args: Any, **more: Any) -> Any:
            given: dict[str, Any] = {}
            with contextlib.suppress(TypeError):  # too many arguments, or too few: the call itself says so
                given = signature.bind(*args, **more).arguments
            wrong = [
                f"{key}.{name}={value}: {text}"
                for name, value in given.items()
                if type(value) in (bool, int, float, str)
                and (text := fault(value, hints(function).get(name, Any), types=False))
            ]
            if wrong:
                raise UsageError("\n".join(wrong))
            return function(*args, **more)

        return typing.cast(F, call)

    return decorate
