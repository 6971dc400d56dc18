"""What a table says of what is predicted, and the kinds of targets that `data.target` names rather than guesses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from numpy.typing import NDArray

from medtrain.core.errors import Problem, UsageError
from medtrain.io.table import RawTable
from medtrain.target.base import Target


@dataclass(frozen=True)
class Labels:
    """What a table says of each row.

    Args:
        target: what is predicted, as the labels are written.
        values: of each row, coded as the target has it; rows in `bad` hold zeros.
        bad: positions and problems of labels that can't be used.
        outside: labels that a trained model doesn't know, and how many rows have them.
        lacking: classes of a trained model that the table doesn't name: unknown in all rows.
        notices: how cells were read that can be read in several ways.
    """

    target: Target
    values: NDArray[Any]
    bad: list[tuple[int, Problem]]
    outside: Mapping[str, int] = field(default_factory=dict)
    lacking: Sequence[str] = ()
    notices: list[Problem] = field(default_factory=list)


class NamedTarget(Target):
    """A kind that `data.target` names; the others are guessed from the labels (`auto`).

    Attributes:
        roles: of the table's columns that it is read from, as data.columns has them.
    """

    roles: ClassVar[tuple[str, ...]] = ("label",)

    @classmethod
    @abstractmethod
    def read(cls, raw: RawTable, columns: Mapping[str, Any], cfg: Mapping[str, Any], model: Target | None) -> Labels:
        """Read the values of a table.

        Args:
            columns: of each of `roles` a column, or a list of columns.
            cfg: the data node.
            model: what a trained model predicts, which holds then.

        Raises:
            UsageError: the configuration doesn't fit the table.
            DataError: there is nothing to learn in it.
        """


def refuse_keys(cfg: Mapping[str, Any], model: Target | None, what: str, *keys: str) -> None:
    """Refuse keys of the data node that have no meaning for what is predicted (UsageError).

    Args:
        model: what a trained model predicts, whose data may have come with them.
        what: the thing that has none of them, in words.
    """
    for key in keys:
        if model is None and cfg.get(key) is not None:
            raise UsageError(f"data.{key}={cfg[key]}: {what} has none; leave it out")
