"""What the columns beside the images tell without any, beside the run: does the image add anything?"""

from __future__ import annotations

from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, part, section, table, texts
from medtrain.report.words import entry, label

NOTE = (
    "A linear model of the columns beside the images, fitted on the same training split (docs/covariates.md). The "
    "difference is this run's less the table's, paired over the same patients: where its interval holds 0, the images "
    "are not shown to add anything."
)


@section()
def table_alone(run: RunFolder) -> Section | None:
    """Tabulate each metric of the run, that of the table alone, and their paired difference."""
    alone = run.test.get("table_alone") or {}
    own, rows = run.test.get("metrics") or {}, []
    for name, difference in (alone.get("difference") or {}).items():
        if name in own and name in alone["metrics"] and not name.endswith("_micro"):
            values = [Cell(entry(metrics[name])[0]) for metrics in (own, alone["metrics"])]
            value, interval = entry(difference)
            rows.append((label(name), [*values, Cell(value), *texts(interval)]))
    if not rows:
        return None
    header = ["Metric", "This run", "Table alone", "Difference", "95 % interval"]
    return part("table_alone", "The table alone", table(header, rows, "metrics", "The run and the table"), Note(NOTE))
