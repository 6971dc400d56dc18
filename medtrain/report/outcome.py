"""The table a command closes with: what came out, how sure, and where the rest is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from medtrain.report.words import cautions, count, entry, headline, label, label_in, number, split_name

MOST = 3  # classes whose cases are counted in the table of groups


def metrics_table(
    test_metrics: Mapping[str, Any],
    synthetic: bool,
    run_folder: str | PathLike[str],
    report: str | PathLike[str] | None,
) -> RenderableType:
    """Make the short closing table: metric, value, 95 % interval; groups; then the run folder and the report.

    Args:
        test_metrics: as in test_metrics.json. Micro averages and classes are left to the report.
        synthetic: the data were phantoms; the title says so.
        run_folder, report: as they should be printed; a report of None is not mentioned.
    """
    cases, patients = test_metrics.get("n_cases"), test_metrics.get("n_patients")
    title = split_name(test_metrics)
    if cases is not None:
        title += f": {cases} cases" + ("" if patients is None else f", {patients} patients")
    table = Table(title=Text(title + (", synthetic data" if synthetic else "")), title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    table.add_column("95 % interval")
    for name, result in (test_metrics.get("metrics") or {}).items():
        if not name.endswith("_micro"):
            value, interval = entry(result)
            table.add_row(Text(label_in(name, test_metrics["metrics"])), Text(value), Text(interval))
    elsewhere = test_metrics.get("prevalence") or {}
    for name, result in (elsewhere.get("metrics") or {}).items():
        value, interval = entry(result)
        table.add_row(Text(f"{label(name)} at prevalence {elsewhere['prevalence']:g}"), Text(value), Text(interval))
    lines: list[RenderableType] = [table]
    lines += [Text(sentence) for sentence in cautions(test_metrics)]
    lines += [Text(f"warning: {warning}", "yellow") for warning in test_metrics.get("warnings") or ()]
    decided = list((test_metrics.get("decision") or {}).get("thresholds") or {})
    for column, groups in (test_metrics.get("groups") or {}).items():
        lines.append(_group_table(column, groups, decided[:MOST]))
    lines += [Text(line) for line in reached_lines(test_metrics)]
    if synthetic:
        lines.append(Text("Synthetic data: these numbers show that the pipeline works, nothing about patients."))
    lines.append(Text(f"run     {run_folder}", overflow="ignore", no_wrap=True))
    if report is not None:
        lines.append(Text(f"report  {report}", overflow="ignore", no_wrap=True))
    return Group(*lines)


def reached_lines(test_metrics: Mapping[str, Any]) -> list[str]:
    """Say, for each class, what a policy asked for, and what came of it on validation and on the test."""
    points = test_metrics.get("operating_point") or {}
    lines = []
    for name, point in list(points.items())[:MOST]:
        goal = point["asked"]
        if goal is None:
            continue
        metric, side = goal["metric"], "negative" if goal["metric"] == "specificity" else "positive"
        shares = [
            f"{where} {entry(part[metric])[0]} ({entry(part[metric])[1]}; {count(part[side], f'{side} case')})"
            for where, part in (("validation", point["validation"]), (split_name(test_metrics), point["test"]))
            if part
        ]
        short = point["short_by"]
        end = "" if short is None else f": {number(short)} short" if short > 0 else ": reached"
        lines.append(f"{label(metric)} of {name}, {goal['value']:g} asked for: {', '.join(shares)}{end}")
    if len(points) > MOST and lines:
        lines.append(f"and {len(points) - MOST} more classes in test_metrics.json (operating_point)")
    return lines


def _group_table(column: str, groups: Mapping[str, Any], classes: Sequence[str]) -> Table:
    """Make a row a group: cases, patients, cases of the classes that have a threshold, first metric and interval."""
    shown = next((best for group in groups.values() if (best := headline(group["metrics"]))), "auroc")
    classes = [c for c in classes if all(c in group["events"] for group in groups.values())]
    table = Table(title=Text(f"by {column}"), title_justify="left")
    table.add_column("group")
    for heading in ("cases", "patients", *(f"of class {name}" for name in classes), label(shown)):
        table.add_column(Text(heading), justify="right")
    table.add_column("95 % interval")
    for name, group in groups.items():
        counts = [group["n_cases"], group["n_patients"], *(group["events"][c] for c in classes)]
        table.add_row(Text(name), *map(str, counts), *map(Text, entry(group["metrics"].get(shown))))
    return table
