"""Columns beside each input, as the run's table had them: read and told of as `medtrain predict` does, and coded."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.covariates import Covariate
from medtrain.data.rows.covariate_cells import Cells, coded, read_cells, unlike_training
from medtrain.export.runtime.inputs import Case, list_cases
from medtrain.export.runtime.started import Started


@dataclass(frozen=True)
class Beside:
    """What stands beside cases: coded columns (N, C), a row a case; None where the run has learned of none."""

    columns_NC: NDArray[np.float32] | None

    def of(self, numbers: Sequence[int]) -> dict[str, NDArray[np.float32]]:
        """Give what a graph takes of these cases."""
        return {} if self.columns_NC is None else {"columns": self.columns_NC[list(numbers)]}


def with_beside(find: Callable[[Path], list[Path]]) -> Callable[[Started], tuple[list[Case], Beside]]:
    """Make what lists the cases of an input, and what stands beside them.

    Args:
        find: see `list_cases`.
    """

    def listed(started: Started) -> tuple[list[Case], Beside]:
        cases = list_cases(started.input, started.facts["rows"], find)
        return cases, read_beside(started, cases)

    return listed


def read_beside(started: Started, cases: Sequence[Case]) -> Beside:
    """Read the columns beside cases, and tell of those that are missing, and of values that training has not seen.

    Raises:
        DataError: commas may stand for a point or for thousands.
    """
    facts: Mapping[str, Any] = started.facts["rows"]
    learned = [{key: value for key, value in own.items() if key != "scales"} for own in facts.get("covariates") or ()]
    known = [Covariate.from_dict(own) for own in learned]
    if not known:
        return Beside(None)
    there = [column.name for column in known if all(column.name in case.cells for case in cases)]
    texts = {name: [case.cells[name] for case in cases] for name in there}
    read = read_cells(known, Cells(started.input.name, texts, [case.where or case.name for case in cases]),
                      bool(facts.get("merge_case")), strict=False)  # fmt: skip
    rows = np.arange(len(cases))
    for problem in (*read.notices, *unlike_training(known, read, rows, "cases")):
        print(f"warning: {problem}", file=sys.stderr)
    return Beside(coded(known, read, rows))
