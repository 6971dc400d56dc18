"""Metrics of patients, whose cases were put together."""

from __future__ import annotations

from medtrain.metric import WORDS
from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, part, section, table, texts
from medtrain.report.words import count, entry, label_in


@section(forms={"probabilities"})
def patients(run: RunFolder) -> Section | None:
    """Tabulate the metrics of patients beside those of cases, and tell by what rule cases were put together."""
    judged, of_cases = run.test.get("patients") or {}, run.test.get("metrics") or {}
    rows = [
        (label_in(name, of_cases), [Cell(value), *texts(interval), Cell(entry(of_cases.get(name))[0])])
        for name, (value, interval) in ((name, entry(result)) for name, result in (judged.get("metrics") or {}).items())
    ]
    if not rows:
        return None
    mixed, rule = judged.get("n_mixed") or 0, WORDS.get(str(judged.get("rule")), "cases put together")
    notes = [
        f"{count(judged.get('n_patients'), 'patient')}: {rule}, decided by the threshold of cases. A patient has a "
        "finding if any of the cases has it.",
        f"{count(mixed, 'patient')} with cases of several classes: unknown, and in no metric here." if mixed else "",
    ]
    header = ["Metric", "Patients", "95 % interval", "Cases"]
    return part(
        "patients",
        "One value a patient",
        table(header, rows, "metrics", "Metrics of patients"),
        *(Note(text) for text in notes if text),
    )
