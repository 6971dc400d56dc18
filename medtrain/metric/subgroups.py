"""Differences between subgroups: each group less the largest one of its column, corrected for being several.

Two intervals that overlap say little of a difference, and of many groups some differ by chance. The limits of a
difference come from those of both groups (the method of variance estimates recovery, MOVER: Zou & Donner, Stat. Med.
2008), so that a group that is perfect is not taken for certain; where patients have cases in both groups, their
correlation over bootstrap replicates of these patients counts too. p values agree with the limits, and are corrected by
Holm's method over all columns, groups and metrics that are compared.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import stdtr

from medtrain.metric.analysis import Study, analysis
from medtrain.metric.bootstrap import patient_index
from medtrain.metric.classification import Results
from medtrain.metric.interval import Form, correlation, quantile, write
from medtrain.metric.paired import holm

COMPARED = ("auroc", "sensitivity", "specificity")
REPLICATES = 400  # of a correlation


@analysis
def group_differences(study: Study) -> Results:
    """Compare the groups of each column of `eval.groups`.

    Returns:
        ``{"group_differences": None or [{"column", "group", "reference", "metric", "value", "ci95", "p", "p_holm"}]}``:
        the group's metric less the reference's, which is the group of most patients. None where it is undefined; then
        ``reason`` says why.
    """
    rows: list[dict[str, Any]] = []
    for column, groups in (study.results.get("groups") or {}).items():
        rows += _column(study, str(column), groups)
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p
    return {"group_differences": rows or None}


def _column(study: Study, column: str, groups: dict[str, Results]) -> list[dict[str, Any]]:
    if len(groups) < 2:
        return []
    reference = max(groups, key=lambda name: groups[name]["n_patients"])
    rows = []
    for name, group in groups.items():
        if name != reference:
            related = _correlations(study, column, name, reference)
            place = {"column": column, "group": name, "reference": reference}
            rows += [
                {**place, "metric": metric, **difference(group, groups[reference], metric, related.get(metric, 0.0))}
                for metric in COMPARED
            ]
    return rows


def _correlations(study: Study, column: str, *names: str) -> dict[str, float]:
    """Correlate the metrics of two groups over replicates of all patients; empty where they share no patient."""
    of_case = np.asarray((study.options.groups or {})[column], dtype=object)
    patient_N, patients = patient_index(study.cases.patients, len(of_case))
    places = [np.flatnonzero((of_case == name) & np.isfinite(study.cases.target_NC).any(axis=1)) for name in names]
    if not np.isin(patient_N[places[0]], patient_N[places[1]]).any():
        return {}
    drawn = []
    for rows in places:
        cases = study.cases.select(rows)
        sheet = study.sheet(cases.probs_NC, cases.target_NC, cases.predicted_NC, list(cases.classes))
        drawn.append(sheet.replicates(patient_N[rows], patients, REPLICATES, study.options.seed))
    return {
        metric: float(np.nan_to_num(correlation([part[None, metric] for part in drawn], of_others=True)[0, 1]))
        for metric in COMPARED
    }


def difference(group: Results, reference: Results, metric: str, related: float = 0.0) -> dict[str, Any]:
    """Write what a group's metric is more than the reference's: value, limits and p, as far as they are known.

    Args:
        group, reference: as `evaluate` gives groups.
        related: the correlation of the two.
    """
    one, other = (side["metrics"].get(metric) or {"value": None, "ci95": None} for side in (group, reference))
    if one["value"] is None or other["value"] is None:
        return {"value": None, "ci95": None, "p": None, "reason": "undefined in one of the groups"}
    if _defined(group) != _defined(reference):
        unlike = "a mean over other classes, as not all occur in both groups"
        return {"value": None, "ci95": None, "p": None, "reason": unlike}
    value, fewer = one["value"] - other["value"], min(group["n_patients"], reference["n_patients"])
    if one["ci95"] is None or other["ci95"] is None:
        reason = one.get("reason") or other.get("reason")
        return {"value": value, "ci95": None, "p": None} | ({"reason": f"of one group: {reason}"} if reason else {})
    down, up = _distance(one, other, related), _distance(other, one, related)
    entry = write(value, Form((value - down, value + up), (fewer,), ends=(np.nan, np.nan)))
    return entry | {"p": None if entry["ci95"] is None else _p(value, down if value > 0 else up, fewer)}


def _defined(group: Results) -> list[bool]:
    """Tell of which classes the group has a value."""
    return [(entries.get("auroc") or {}).get("value") is not None for entries in group["per_class"].values()]


def _distance(falls: Results, rises: Results, related: float) -> float:
    """Compute how far the difference may fall: one value to its lower limit, the other one to its upper."""
    down, up = falls["value"] - falls["ci95"][0], rises["ci95"][1] - rises["value"]
    return float(np.sqrt(max(0.0, down**2 + up**2 - 2 * related * down * up)))


def _p(value: float, distance: float, patients: int) -> float:
    """Compute the two-sided p of 'no difference': one minus the level at which the limits would end at 0."""
    out = abs(value) / (distance / quantile(patients)) if distance > 0 else np.inf
    return float(min(1.0, 2 * stdtr(max(1, patients - 1), -out)))
