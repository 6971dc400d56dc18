"""Prediction sets: how often they hold the truth, and how large they are."""

from __future__ import annotations

from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, part, section, table, texts
from medtrain.report.words import entry, number


@section(forms={"probabilities"})
def prediction_sets(run: RunFolder) -> Section | None:
    """Tabulate the coverage of each class over patients, and tell the size of the sets."""
    sets = run.test.get("prediction_sets") or {}
    rows = [
        (name, [Cell(value), *texts(interval)])
        for name, (value, interval) in ((name, entry(result)) for name, result in (sets.get("coverage") or {}).items())
    ]
    if not rows:
        return None
    size, interval = entry(sets["size"])
    shares = ", ".join(f"{100 * sets[key]:.1f} % {key}" for key in ("empty", "one", "several"))
    return part(
        "sets",
        "Prediction sets",
        table(["Class", "Coverage", "95 % interval"], rows, "metrics", "Coverage of prediction sets"),
        Note(
            f"Sets of classes, fitted on validation to hold the true one of {number(sets['promised'])} of patients' "
            f"cases of each class; coverage is what came of it, over patients. A set has {size} classes on average "
            f"({interval}); of cases, sets are {shares} class(es)."
        ),
    )
