"""Subgroups, drawn as a forest: does the model do as well for everyone?"""

from __future__ import annotations

from typing import Any

from medtrain.report.folder import RunFolder
from medtrain.report.html import Cell, details, note, section, table
from medtrain.report.words import count, headline, label, number, with_interval

BESIDE = ("sensitivity", "specificity", "ppv", "npv")
Entry = dict[str, Any]


def groups(run: RunFolder) -> str:
    """A table a column of `eval.groups`: cases, events, the headline metric drawn on one scale, and its companions."""
    found: dict[str, dict[str, Entry]] = run.test.get("groups") or {}
    overall = run.test.get("metrics") or {}
    name = headline(overall)
    if not found or name is None:
        return ""
    entries = [(group.get("metrics") or {}).get(name) for values in found.values() for group in values.values()]
    scale = _scale([*entries, overall[name]])
    beside = [n for n in BESIDE if n in overall and n != name]
    events = ["Events"] if run.kind == "binary" else []
    header = ["", "Cases", "Patients", *events, label(name), f"{scale[0]:.2f} to {scale[1]:.2f}", *map(label, beside)]
    parts = []
    for column, values in found.items():
        rows = [
            (value or "not given", _row(run, group, name, beside, scale, overall)) for value, group in values.items()
        ]
        header[0] = column
        parts.append(table(header, rows, "forest", f"Subgroups by {column}"))
    return section(
        "groups",
        "Subgroups",
        *parts,
        note(
            f"The bar is the 95 % interval of {label(name)} over the patients of the group, the thin line the value of "
            "all cases. Groups were looked at one by one: with many, some differ by chance, and a wide interval that "
            "holds the line is no proof of fairness."
        ),
        "" if events else details("events", "Events of each class", _events(run, found)),
    )


def _row(
    run: RunFolder, group: Entry, name: str, beside: list[str], scale: tuple[float, float], overall: Entry
) -> list[Cell | str]:
    metrics = group.get("metrics") or {}
    cells: list[Cell | str] = [Cell(number(group.get(key))) for key in ("n_cases", "n_patients")]
    if run.kind == "binary":
        cells.append(Cell(number((group.get("events") or {}).get(run.classes[-1] if run.classes else ""))))
    cells += [Cell(*with_interval(metrics.get(name))), _bar(metrics.get(name), scale, overall[name])]
    return cells + [Cell(*with_interval(metrics.get(other))) for other in beside]


def _events(run: RunFolder, found: dict[str, dict[str, Entry]]) -> str:
    """Positives of each class in each group."""
    rows = [
        (f"{column}: {value or 'not given'}", [Cell(number((group.get("events") or {}).get(c))) for c in run.classes])
        for column, values in found.items()
        for value, group in values.items()
    ]
    return table(["Group", *run.classes], rows, "names", "Events of each class by group")


def _numbers(result: Any) -> list[float]:
    """Value and ends of the interval, as far as they are there."""
    if not isinstance(result, dict) or result.get("value") is None:
        return []
    return [float(result["value"]), *map(float, result.get("ci95") or ())]


def _scale(results: list[Any]) -> tuple[float, float]:
    """Ends of the drawing, in round tenths."""
    known = [x for result in results for x in _numbers(result)]
    low, high = min(known, default=0.0), max(known, default=1.0)
    return int(low * 10) / 10 if low >= 0 else low, max(low + 0.1, -(-high * 10 // 1) / 10)


def _bar(result: Any, scale: tuple[float, float], overall: Any) -> str:
    """Value and interval on the scale, as a drawing; the numbers stand beside it."""

    def at(x: float) -> float:
        return round(100 * (x - scale[0]) / (scale[1] - scale[0]), 2)

    numbers, whole = _numbers(result), _numbers(overall)
    line = f'<path class="whole" d="M{at(whole[0])} 0V10"/>' if whole else ""
    span = f'<path class="range" d="M{at(numbers[1])} 5H{at(numbers[2])}"/>' if len(numbers) == 3 else ""
    dot = f'<path class="dot" d="M{at(numbers[0])} 1V9"/>' if numbers else ""
    drawing = f'<path class="rail" d="M0 5H100"/>{line}{span}{dot}'
    return f'<svg class="bar" viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{drawing}</svg>'


def told_groups(run: RunFolder) -> str:
    """The columns and their sizes in a few words, for the checklist."""
    found = run.test.get("groups") or {}
    return ", ".join(f"{column} ({count(len(values), 'group')})" for column, values in found.items())
