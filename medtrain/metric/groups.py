"""Results broken down: each group of cases judged on its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from medtrain.metric.bootstrap import Array


def by_group(groups: Mapping[str, Sequence[str]] | None, judge: Callable[[Array], Any]) -> dict[str, Any] | None:
    """Judge each group of cases on its own: {column: {group: what `judge` returns}}; None without columns.

    Args:
        groups: {column: the group of each of N cases}.
        judge: takes in_N, True for the cases of a group.
    """
    return {
        column: {group: judge(np.asarray(names) == group) for group in sorted(set(names))}
        for column, names in (groups or {}).items()
    } or None
