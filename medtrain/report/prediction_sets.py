"""Prediction sets: how often they hold the truth, and how large they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, part, section, table, texts
from medtrain.report.words import entry, number

HEADER = ["Coverage", "95 % interval"]


@section(forms={"probabilities"})
def prediction_sets(run: RunFolder) -> Section | None:
    """Tabulate the coverage of each class over patients, and tell the size of the sets, or why there are none."""
    sets = run.test.get("prediction_sets") or {}
    if "coverage" not in sets:
        return part("sets", "Prediction sets", Note(f"None: {sets['reason']}.")) if sets.get("reason") else None
    labels = sets.get("labels") or {}
    rows = []
    for name, covered in sets["coverage"].items():
        cells = _shown(covered)
        if name in labels:
            cells += [*_shown(sets["coverage_absent"][name]), Cell(_shares(labels[name]))]
        rows.append((name, cells))
    header = ["Label", *HEADER, "Without it", HEADER[1], "Sets"] if labels else ["Class", *HEADER]
    promise = f"of {number(sets['promised'])} of patients' cases"
    if labels:
        note = (
            "A set a label, of the answers yes and no, fitted on validation to hold the true one "
            f"{promise} with the label, and of those without; coverage is what came of it, over patients. A set of "
            "one answers, one of both leaves it open, and an empty one says that the case is like neither."
        )
    else:
        size, interval = entry(sets["size"])
        note = (
            f"Sets of classes, fitted on validation to hold the true one {promise} of each class; coverage is what "
            f"came of it, over patients. A set has {size} classes on average ({interval}); of cases, sets are "
            f"{_shares(sets)} class(es)."
        )
    return part("sets", "Prediction sets", table(header, rows, "metrics", "Coverage of prediction sets"), Note(note))


def _shown(covered: Mapping[str, Any]) -> list[Cell]:
    value, interval = entry(covered)
    return [Cell(value), *texts(interval)]


def _shares(sizes: Mapping[str, Any]) -> str:
    parts = ((sizes[key], key) for key in ("empty", "one", "several"))
    return ", ".join(f"{100 * share:.1f} % {key}" for share, key in parts if share is not None)
