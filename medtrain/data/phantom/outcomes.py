"""What is known of a phantom's case beside its class: a quantity, a grade, and the time to an event.

All three follow from what was drawn, so that how well a model finds them can be judged by the truth: no model can be
better than `log_hazard` at telling who has the event first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.streams import stream

SHAPE, SCALE = 1.3, 24.0  # of Weibull's distribution of times, in months, at a log hazard of 0
REACH = 4.0  # between the log hazards of the mildest and the most severe
FOLLOWED = (5.0, 90.0)  # months after which cases are lost from sight, evenly


@dataclass(frozen=True)
class Truth:
    """What was drawn.

    Args:
        quantity: in the phantom's unit.
        severity: from 0, the mildest, to 1.
    """

    quantity: float
    severity: float


def write_tables(
    folder: Path, drawn: Iterable[tuple[Sequence[dict[str, Any]], Sequence[Truth]]], grades: int, seed: int
) -> None:
    """Write `table.csv` and `outcomes.csv` of what was drawn of patients: their rows, and the truth of each."""
    rows: list[dict[str, Any]] = []
    truths: list[Truth] = []
    for more, known in drawn:
        rows += more
        truths += known
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    write_outcomes(folder, rows, truths, grades, seed)


def write_outcomes(
    folder: Path, rows: Sequence[dict[str, Any]], truths: Sequence[Truth], grades: int, seed: int
) -> None:
    """Write `outcomes.csv`: the rows of the table, and what follows from the truth of each.

    Its columns are named after what they are for: value, ordinal (0 to `grades` - 1, of even steps of severity), time
    (months), event (1: seen, 0: lost from sight before), and log_hazard.
    """
    chance_N2 = stream(seed, "outcomes").random((len(rows), 2))
    severity = np.array([truth.severity for truth in truths])
    log_hazard = REACH * (severity - 0.5)
    until = SCALE * (-np.log1p(-chance_N2[:, 0]) / np.exp(log_hazard)) ** (1 / SHAPE)
    lost = FOLLOWED[0] + (FOLLOWED[1] - FOLLOWED[0]) * chance_N2[:, 1]
    known = pd.DataFrame(
        {
            "value": np.round([truth.quantity for truth in truths], 2),
            "ordinal": np.minimum((severity * grades).astype(int), grades - 1),
            "time": np.round(np.minimum(until, lost) + 0.01, 2),
            "event": (until <= lost).astype(int),
            "log_hazard": np.round(log_hazard, 4),
        }
    )
    pd.DataFrame(rows).join(known).to_csv(folder / "outcomes.csv", index=False)
