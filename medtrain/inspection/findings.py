"""The outcome of an inspection, whatever kind of data it is of: plain numbers, problems, and where to see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.core.truth import Truth
from medtrain.data.split import SPLITS
from medtrain.target import DataSpec

Bars = Callable[[str], Callable[[int, int], None] | None]

SEVERITIES = ("error", "warning", "note")
CASES = ("case", "patient", "split")
SET_SHARE, SET_LEAST = 0.1, 20  # what so many pictures have in common is a trait of the set


@dataclass(frozen=True)
class Finding:
    """A problem and the rows of `Inspection.cases` that it is about.

    An error is what training refuses, or a contradiction; a warning is to be looked at; a note is good to know.
    """

    problem: Problem
    rows: tuple[int, ...] = ()


@dataclass
class Inspection:
    """The findings about a data source, its numbers, and how to see its pictures.

    Attributes:
        findings: errors first.
        spec: None where the table as a whole could not be read.
        cases: a row an image: case, patient, split ('' where it cannot be used).
        targets: as `Data.targets`, a row an image.
        images: sizes, depths and the like, as plain numbers.
        truth: boxes, if the rows have any, of all rows.
        columns: what the columns beside the images hold, by name, as plain numbers.
        picture: the pixels (C, H, W) of a row, None where it has none.
        decoded: how many files were decoded now.
    """

    findings: list[Finding] = field(default_factory=list)
    spec: DataSpec | None = None
    cases: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=CASES, dtype=object))
    targets: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    images: dict[str, Any] = field(default_factory=dict)
    truth: Truth | None = None
    columns: dict[str, Any] = field(default_factory=dict)
    picture: Callable[[int], NDArray[Any] | None] = lambda row: None
    decoded: int = 0

    def __post_init__(self) -> None:
        self.add([])

    def add(self, findings: list[Finding]) -> None:
        """Add more findings, sorted in by severity."""
        both = self.findings + findings
        self.findings = sorted(both, key=lambda finding: SEVERITIES.index(finding.problem.severity))

    @property
    def used(self) -> NDArray[np.int64]:
        """Select the rows that stand in a split."""
        return np.flatnonzero(self.cases["split"].to_numpy() != "")

    @property
    def splits(self) -> list[str]:
        """List the splits there are: train, val, test, or what stands for them."""
        there = set(self.cases["split"]) - {""}
        return [name for name in SPLITS if name in there] + sorted(there - set(SPLITS))


def no_bar(title: str) -> None:
    """Show no progress."""


def as_severity(problem: Problem, severity: str) -> Problem:
    """Take the same problem more or less seriously."""
    return replace(problem, severity=severity)


def of_the_set(findings: list[Finding], total: int, what: str) -> list[Finding]:
    """Give `findings` of one kind, or one note in their place where the set is like that as a whole.

    Args:
        total: pictures looked at.
        what: the rest of the note's sentence, after 'n of N pictures'.
    """
    if len(findings) < max(SET_LEAST, SET_SHARE * total):
        return findings
    first = findings[0].problem
    detail = f"{len(findings):,} of {total:,} pictures {what}; the first: {first}"
    return [Finding(Problem(first.kind, "the whole set", detail, "note"), findings[0].rows)]
