"""Errors meant for people: what is wrong, where, and what to do.

Anything raised as a `MedtrainError` is printed without a traceback; the exit code tells a script whose fault
it was: 1 the run's (data, disk, hardware), 2 the command's (usage, configuration).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MedtrainError(Exception):
    """A fault of the run: data, files, hardware."""

    exit_code = 1


class UsageError(MedtrainError):
    """A fault of the command line or the configuration."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One finding about the data.

    Args:
        kind: a stable word, such as ``unreadable``, ``missing``, ``patient_leak``, ``duplicate``.
        where: file and row, as the user knows them.
        detail: what is wrong and what to do.
        severity: ``error`` stops a run, ``warning`` doesn't.
    """

    kind: str
    where: str
    detail: str
    severity: str = "error"

    def __str__(self) -> str:
        return f"{self.where}: {self.detail}"


class DataError(MedtrainError):
    """Bad input, with the complete list of problems (the message shows the first few)."""

    shown = 20

    def __init__(self, summary: str, problems: Sequence[Problem] = (), advice: str = "") -> None:
        self.summary, self.problems, self.advice = summary, list(problems), advice
        lines = [summary] + [f"  {p}" for p in self.problems[: self.shown]]
        if len(self.problems) > self.shown:
            lines.append(f"  ... and {len(self.problems) - self.shown} more")
        super().__init__("\n".join(lines + [advice] * bool(advice)))
