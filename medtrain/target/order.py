"""The order of classes: of two the last is positive, which a person says and nobody guesses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from medtrain.core.errors import UsageError
from medtrain.core.words import nearest
from medtrain.io.cells import without_decimals
from medtrain.io.table import RawTable

NEGATIVE = frozenset("0 no negative neg normal healthy well control benign absent false none clear nofinding".split())
_SPECIAL = re.compile(r"[,:=\[\]{}()'\"$\\]")  # on Hydra's command line


class WhichIsPositive(UsageError):
    """Two classes, and nothing that says which is looked for; `names` has a proposal's order."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        super().__init__(
            f"which of the labels {names[0]!r} and {names[1]!r} is the positive one? "
            f"say it with data.positive={names[1]!r} or data.classes=[{as_items(names)}] (the last is positive)"
        )


def order_of(raw: RawTable, present: set[str], named: tuple[str, ...] | None, positive: Any) -> tuple[str, ...]:
    if positive is not None:
        positive = without_decimals(str(positive))
        among = named or tuple(sorted(present))
        if positive not in among:
            raise UsageError(
                f"data.positive={positive!r} is none of the labels {shown(among)}{nearest(positive, among)}"
            )
        if len(among) != 2:
            raise UsageError(f"data.positive is for two classes; {raw.file.name} has {len(among)}: {shown(among)}")
        if named and named[-1] != positive:
            raise UsageError(f"data.positive={positive!r}, but the last of data.classes={list(named)} is positive")
        return tuple(sorted(among, key=lambda name: name == positive))
    if named:
        return named
    names = sorted(present, key=lambda text: (not text.lstrip("-").isdigit(), int(text) if text.isdigit() else 0, text))
    if len(names) == 2 and names != ["0", "1"]:
        raise WhichIsPositive(negative_first(names))
    return tuple(names)


def negative_first(names: Sequence[str]) -> list[str]:
    """List class names, what usually says 'nothing found' in front: a proposal to people, never a decision."""
    return sorted(names, key=lambda name: (re.sub(r"[^a-z0-9]", "", name.lower()) not in NEGATIVE, name))


def as_items(names: Sequence[str]) -> str:
    """Write names as the items of a list on the command line: with quotes where a character has a meaning there."""
    return ",".join(f"'{name}'" if _SPECIAL.search(name) else name for name in names)


def shown(names: Sequence[str]) -> str:
    return ", ".join(names[:20]) + ", ..." * (len(names) > 20)
