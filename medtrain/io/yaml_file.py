"""YAML files that somebody else may have written: their size is known before anything is built of them.

A few lines can stand for millions of values (an alias of aliases), and deep nesting ends the process in the parser's
own stack. So a file goes through libyaml as a stream of events first, which costs no memory.
"""

from __future__ import annotations

import os
from typing import Any

import yaml

from medtrain.io.files import Unreadable, read_text

MOST_DEEP = 50  # nodes within nodes
MOST_REPEATED = 10_000  # values that a file with aliases may stand for
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: str | os.PathLike[str]) -> Any:
    """Read a YAML file as plain values; errors as of `yaml_text`."""
    return parse_yaml(read_text(path), path)


def yaml_text(path: str | os.PathLike[str]) -> str:
    """Read a YAML file as text whose values are few enough to be built.

    Raises:
        Unreadable: no YAML, nested too deeply, or its aliases stand for too many values.
        OSError: it is not there, or cannot be opened.
    """
    text = read_text(path)
    _check(text, path)
    return text


def parse_yaml(text: str, name: object) -> Any:
    """Parse a text as plain values; `name` says in messages what it is. Errors as of `yaml_text`."""
    _check(text, name)
    try:
        return yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError, TypeError) as error:  # a date that is none, a key that is a list
        raise Unreadable(f"{name} is no YAML: {reason_of(error)}") from None


def _check(text: str, name: object) -> None:
    try:
        reason = _too_much(text)
    except (yaml.YAMLError, ValueError) as error:
        reason = reason_of(error)
    if reason:
        raise Unreadable(f"{name} is no YAML: {reason}")


def _too_much(text: str) -> str:
    """Say why a text stands for more than can be built of it; '' if it does not."""
    sizes: dict[str, int] = {}  # values below each anchor
    open_nodes: list[tuple[str | None, int]] = []  # anchor and values so far
    total, aliases = 0, False
    for event in yaml.parse(text, _LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
            if len(open_nodes) > MOST_DEEP:
                return f"nested more than {MOST_DEEP} deep"
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.AliasEvent):
            aliases = True
            if event.anchor in {anchor for anchor, _ in open_nodes}:
                return f"*{event.anchor} stands in itself"
            total += sizes.get(str(event.anchor), 1)
        if aliases and total > MOST_REPEATED:
            return f"its aliases stand for more than {MOST_REPEATED:,} values"
    return ""


def reason_of(error: Exception) -> str:
    """Word an error of YAML in one line: what is wrong, and in which line of the file."""
    mark = getattr(error, "problem_mark", None)
    where = f" (line {mark.line + 1})" if mark is not None else ""
    return f"{getattr(error, 'problem', None) or str(error).splitlines()[0]}{where}"[:200]
