"""Bags inspected: the table they stand in, then their sizes and features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from medtrain.core.errors import Problem
from medtrain.data.batches.bags import BagData
from medtrain.inspection import Finding, Inspection, look
from medtrain.inspection.findings import Bars, no_bar

SMALL = 0.05  # of the median bag: so little tissue is worth a look
LOOKED_AT = 1000  # instances of a bag whose features are compared


def inspect(data: BagData, near: bool = True, progress: Bars = no_bar) -> Inspection:
    """Inspect all there is to say of `data`, which need not be fit to train.

    Raises:
        UsageError: the configuration does not fit the table, so that nothing can be said.
    """
    table = look(data)
    if isinstance(table, Inspection):
        return table
    seen = table.seen
    lengths = np.array([data.bags.lengths[data.members[case]].sum() for case in seen], np.int64)
    table.findings += _small(seen, lengths, table.places) + _flat(data, seen, table.places)
    table.findings += _twice(data, seen, table.places)
    return table.outcome(data, images=_facts(data, seen, lengths))


def _small(seen: NDArray[np.int64], lengths: NDArray[np.int64], places: list[str]) -> list[Finding]:
    """Find bags far smaller than the rest."""
    middle = float(np.median(lengths)) if len(lengths) else 0.0
    few = np.flatnonzero(lengths < SMALL * middle)
    detail = f"{{}} instances, where half of the bags have {middle:,.0f} and more"
    problems = [Problem("small_bag", places[seen[n]], detail.format(lengths[n]), "warning") for n in few]
    return [Finding(problem, (int(seen[n]),)) for problem, n in zip(problems, few, strict=True)]


def _flat(data: BagData, seen: NDArray[np.int64], places: list[str]) -> list[Finding]:
    """Find bags of several instances that are all equal: blank tiles, or an encoder that has failed."""
    findings = []
    for case in seen.tolist():
        for bag in data.members[case]:
            x = data.bags.instances(bag)[:LOOKED_AT]
            if len(x) > 1 and (x == x[:1]).all():
                detail = f"all {len(x):,} instances have the same features"
                findings.append(Finding(Problem("constant", places[case], detail, "warning"), (case,)))
    return findings


def _twice(data: BagData, seen: NDArray[np.int64], places: list[str]) -> list[Finding]:
    """Find bags that hold tiles of one place several times, which count that often."""
    findings = []
    for case in seen.tolist():
        for bag in data.members[case]:
            coords = data.bags.coords(bag)
            if coords is None:
                continue
            again = len(coords) - len(np.unique(coords, axis=0))
            if again:
                detail = f"{again:,} of {len(coords):,} tiles lie where another one does: they count twice"
                findings.append(Finding(Problem("repeated_tile", places[case], detail, "warning"), (case,)))
    return findings


def _facts(data: BagData, seen: NDArray[np.int64], lengths: NDArray[np.int64]) -> dict[str, Any]:
    """Summarise sizes of bags and their features, for inspect.json."""
    bags = [bag for case in seen.tolist() for bag in data.members[case]]
    facts: dict[str, Any] = {
        "bags": len(bags),
        "with_coordinates": sum(data.bags.coords(bag) is not None for bag in bags),
    }
    if len(lengths):
        quartiles = np.percentile(lengths, [0, 25, 50, 75, 100])
        names = ("smallest", "lower_quartile", "median", "upper_quartile", "largest")
        facts["instances"] = {name: float(value) for name, value in zip(names, quartiles, strict=True)}
        facts["instances"]["total"] = int(lengths.sum())
        facts["instance"] = list(data.bags.shape(bags[0]))
    return facts
