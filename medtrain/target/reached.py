"""What a decision reaches: on the validation cases that it was fitted on, on the test, and how far short it falls.

A threshold is chosen because it reaches something on validation data, so what it reaches there is too good, the more so
the fewer cases there were. Both stand side by side, with their intervals and what they were counted on.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Any

from medtrain.metric import Parsed

SHOWN = ("sensitivity", "specificity", "ppv")


def reached(judged: Mapping[str, Any], classes: Collection[str]) -> dict[str, dict[str, Any]]:
    """Pick out of a judged split what the thresholds of these classes reach.

    Args:
        judged: as test_metrics.json has it: ``per_class`` and ``labels``.

    Returns:
        {class: {"positive": n, "negative": n, "sensitivity": ENTRY, "specificity": ENTRY}}; of boxes, which have no
        negatives, "ppv" instead of the last.
    """
    out = {}
    for name in (name for name in classes if name in judged["labels"]):  # a cut-off of risks reaches no share
        metrics = judged["per_class"][name]
        entries = {metric: metrics[metric] for metric in SHOWN if metric in metrics}
        if "specificity" in entries:
            entries.pop("ppv", None)
        out[name] = {**judged["labels"][name], **entries}
    return out


def misread(validation: Mapping[str, Any]) -> str:
    """Say why this is not what `reached` gives of any class, empty where it is; {} is right: it is not known."""
    for name, entries in validation.items():
        if not isinstance(entries, Mapping):
            return f"validation of {name} is {entries!r}, no counts and shares"
        sides = ("positive",) if "ppv" in entries else ("positive", "negative")
        wrong = [side for side in sides if not _is(entries.get(side), int, math.inf)]
        wrong += [
            metric
            for metric in ("sensitivity", "ppv" if "ppv" in entries else "specificity")
            if not _is_share(entries.get(metric))
        ]
        if wrong:
            return f"validation of {name} has no {wrong[0]} that there can be: {entries.get(wrong[0])!r}"
    return ""


def _is_share(entry: Any) -> bool:
    """Tell a share and its interval, either null where it is undefined, from anything else."""
    if not isinstance(entry, Mapping) or not {"value", "ci95"} <= set(entry):
        return False
    limits = entry["ci95"]
    if limits is None:
        return entry["value"] is None or _is(entry["value"], int | float, 1)
    pair = isinstance(limits, list | tuple) and len(limits) == 2 and all(_is(end, int | float, 1) for end in limits)
    return pair and limits[0] <= limits[1] and _is(entry["value"], int | float, 1)


def _is(value: Any, kind: Any, most: float) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and 0 <= value <= most


def side_by_side(
    policy: Parsed, validation: Mapping[str, Any], tested: Mapping[str, Mapping[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Put what was reached on validation beside the test, class by class.

    Args:
        policy: the metric and the value that it promises.
        validation: as `reached` gives it; {} where it is not known.
        tested: likewise.

    Returns:
        {class: {"asked": None or {"metric", "value"}, "validation", "test", "short_by"}}: by how much the test's value
        is less than what was asked for; 0 where it is not less, None where nothing was asked for or it is undefined.
    """
    out = {}
    for name, test in tested.items():
        goal = {"metric": policy.name, "value": policy.value} if policy.name in SHOWN else None
        value = (test.get(policy.name) or {}).get("value") if goal else None
        short = None if value is None else max(0.0, policy.value - value)
        out[name] = {"asked": goal, "validation": validation.get(name), "test": dict(test), "short_by": short}
    return out
