"""How a set of cases is judged: the keys of the eval node that metrics take, read in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from medtrain.metric.patients import Rule


@dataclass(frozen=True)
class EvalOptions:
    """Say how metrics are computed. A field of the name of a key of the eval node holds what that key says.

    Args:
        bootstrap: replicates of the intervals over patients; 0 for none.
        prevalence: of the positive class, or of each class of several, for which PPV and NPV are computed too.
        margin: by which the metric of one model may be less than another's and not matter; in comparisons.
        groups: {column: the group of each case}; each group is judged on its own, its own patients resampled.
        patients: how the cases of a patient are put together for the metrics of patients: mean or max of their
            probabilities; None for no such metrics.
        seed: of the replicates.
        abstention: whether the metrics of the surest cases are wanted too.
    """

    bootstrap: int = 2000
    prevalence: float | None = None
    margin: float | None = None
    groups: Mapping[str, Sequence[str]] | None = None
    patients: Rule | None = "mean"
    seed: int = 0
    abstention: bool = True

    @classmethod
    def read(cls, evaluation: Mapping[str, Any]) -> EvalOptions:
        """Read the eval node; groups, which it only names, the seed and the abstention are not of it."""
        keys = {one.name for one in fields(cls)} - {"groups", "seed", "abstention"}
        return cls(**{str(key): evaluation[key] for key in evaluation if key in keys})

    def with_groups(self, groups: Mapping[str, Sequence[str]] | None) -> EvalOptions:
        """Break the metrics down by these columns: {column: the group of each of all cases}."""
        return replace(self, groups=groups)

    def of_cases(self, numbers: Sequence[int]) -> EvalOptions:
        """Judge some cases only: their groups, in the order of these case numbers."""
        if self.groups is None:
            return self
        return replace(self, groups={column: [names[n] for n in numbers] for column, names in self.groups.items()})
