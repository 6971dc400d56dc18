"""Metrics of subgroups, drawn as a forest, to see whether the model does as well for everyone."""

from __future__ import annotations

from typing import Any

from medtrain.report.folder import RunFolder
from medtrain.report.views import Bar, Cell, Note, Section, Table, part, section, table, texts
from medtrain.report.words import cautions, count, entry, headline, label, number, with_interval

BESIDE = ("sensitivity", "specificity", "ppv", "npv")
Entry = dict[str, Any]


@section()
def groups(run: RunFolder) -> Section | None:
    """Tabulate each column of `eval.groups`: cases, events, the headline metric on one scale, and its companions."""
    by_column: dict[str, dict[str, Entry]] = run.test.get("groups") or {}
    overall = run.test.get("metrics") or {}
    name = headline(overall)
    if not by_column or name is None:
        return None
    entries = [(group.get("metrics") or {}).get(name) for values in by_column.values() for group in values.values()]
    scale = _scale([*entries, overall[name]])
    beside = [n for n in BESIDE if n in overall and n != name]
    events = ["Events"] if run.target.positive else []
    header = ["Cases", "Patients", *events, label(name), f"{scale[0]:.2f} to {scale[1]:.2f}", *map(label, beside)]
    tables = []
    for column, values in by_column.items():
        rows = [
            (value or "not given", _row(run, group, name, beside, scale, overall)) for value, group in values.items()
        ]
        tables.append(table([column, *header], rows, "forest", f"Subgroups by {column}"))
    return part(
        "groups",
        "Subgroups",
        *tables,
        *map(Note, cautions({"groups": by_column})),
        Note(
            f"The bar is the 95 % interval of {label(name)} over the patients of the group, the thin line the value of "
            "all cases. Groups were looked at one by one: with many, some differ by chance, and a wide interval that "
            "holds the line is no proof of fairness."
        ),
        _differences(run),
        None if events else part("events", "Events of each class", _events(run, by_column), link="", folded=True),
    )


def _row(
    run: RunFolder, group: Entry, name: str, beside: list[str], scale: tuple[float, float], overall: Entry
) -> list[Cell]:
    metrics = group.get("metrics") or {}
    cells = [Cell(number(group.get(key))) for key in ("n_cases", "n_patients")]
    if run.target.positive:
        cells.append(Cell(number((group.get("events") or {}).get(run.target.positive))))
    bar = _bar(metrics.get(name), scale, overall[name])
    cells += [Cell(*with_interval(metrics.get(name))), Cell(bar=bar, number=False)]
    return cells + [Cell(*with_interval(metrics.get(other))) for other in beside]


def _differences(run: RunFolder) -> Table | None:
    """Tabulate what each group differs by from the largest one of its column, with p values corrected for all."""
    rows = []
    for row in run.test.get("group_differences") or []:
        sides = f"{row['group'] or 'not given'} less {row['reference'] or 'not given'}"
        value, interval = entry(row)
        cells = [*texts(label(row["metric"])), Cell(value), Cell(interval), Cell(number(row["p_holm"]))]
        rows.append((f"{row['column']}: {sides}", [*cells, *texts(row.get("reason") or "")]))
    header = ["Groups", "Metric", "Difference", "95 % interval", "p (Holm)", ""]
    return table(
        header, rows, "names", "Differences between groups", heading="Differences, corrected for being several"
    )


def _events(run: RunFolder, by_column: dict[str, dict[str, Entry]]) -> Table | None:
    """Count the positives of each class in each group."""
    rows = [
        (f"{column}: {value or 'not given'}", [Cell(number((group.get("events") or {}).get(c))) for c in run.classes])
        for column, values in by_column.items()
        for value, group in values.items()
    ]
    return table(["Group", *run.classes], rows, "names", "Events of each class by group")


def _numbers(result: Any) -> list[float]:
    """Read value and ends of the interval, as far as they are there."""
    if not isinstance(result, dict) or result.get("value") is None:
        return []
    return [float(result["value"]), *map(float, result.get("ci95") or ())]


def _scale(results: list[Any]) -> tuple[float, float]:
    """Give the ends of the drawing, in round tenths."""
    known = [x for result in results for x in _numbers(result)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    return int(low * 10) / 10 if low >= 0 else low, max(low + 0.1, -(-high * 10 // 1) / 10)


def _bar(result: Any, scale: tuple[float, float], overall: Any) -> Bar:
    """Place value and interval on the scale, for a drawing; the numbers stand beside it."""

    def place(x: float) -> float:
        return round(100 * (x - scale[0]) / (scale[1] - scale[0]), 2)

    numbers, whole = list(map(place, _numbers(result))), list(map(place, _numbers(overall)))
    low, high = numbers[1:] or (None, None)
    return Bar(whole[0] if whole else None, numbers[0] if numbers else None, low, high)


def sizes_of_groups(run: RunFolder) -> str:
    """Name the columns and how many groups each has, for the checklist."""
    by_column = run.test.get("groups") or {}
    return ", ".join(f"{column} ({count(len(values), 'group')})" for column, values in by_column.items())
