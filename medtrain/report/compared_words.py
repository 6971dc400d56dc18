"""What a comparison says, in sentences that say no more than its numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medtrain.metric import least_p
from medtrain.report.compared import ComparedRun
from medtrain.report.words import ABSENT, count, label, number

LEVEL = 0.05


def sentence(name: str, than: str, metric: str, entry: Mapping[str, Any], sizes: Mapping[str, Any], runs: int) -> str:
    """Say in words what one difference shows.

    Args:
        entry: ``value``, ``ci95``, ``p`` and ``p_holm`` of `name` minus `than`.
        sizes: ``n_cases`` and ``n_patients``.
        runs: how many runs are compared with the same baseline.
    """
    over = f"over {count(sizes['n_cases'], 'case')} of {count(sizes['n_patients'], 'patient')}"
    value, interval = entry["value"], entry["ci95"]
    if value is None:
        return f"{name} and {than}: {metric} is not defined {over}"
    if interval is None and entry.get("reason"):
        return f"{name} and {than}: {metric} differs by {signed(value)} {over}; nothing can be said: {entry['reason']}"
    if interval is None:
        return f"{name} and {than}: {metric} differs by {signed(value)} {over}; without an interval that shows nothing"
    low, high = interval
    if low <= 0 <= high:
        shown = f"{signed(value)}, its interval {number(low)} to {number(high)} holds 0"
        return f"no difference in {metric} shown between {name} and {than} {over}: {shown}"
    which, span = ("higher", (low, high)) if low > 0 else ("lower", (-high, -low))
    by = f"{number(abs(value))} ({number(span[0])} to {number(span[1])})"
    finding = f"{name} has a {which} {metric} than {than} by {by} {over}"
    if runs == 1:
        weak = ": no difference shown" if entry["p"] >= LEVEL else ""
        return f"{finding}; p = {p_text(entry['p'])}{weak}"
    if entry["p_holm"] < LEVEL:
        return f"{finding}; p = {p_text(entry['p_holm'])}, corrected for {runs} comparisons"
    return f"{finding}, but corrected for {runs} comparisons p = {p_text(entry['p_holm'])}: no difference shown"


def margin_sentence(name: str, than: str, metric: str, entry: Mapping[str, Any], margin: float) -> str:
    """Say whether a difference stays within the margin, by one-sided tests at 0.025: the 95 % interval does."""
    shown = f"margin {margin:g} of {label(metric)}"
    worse, other = entry["p_worse_holm"], entry["p_other_holm"]
    if other < LEVEL / 2:
        return f"{name} is equivalent to {than} ({shown}): p = {p_text(other)} that they differ by more"
    if worse < LEVEL / 2:
        return f"{name} is not inferior to {than} ({shown}): p = {p_text(worse)} that it is worse by more"
    return f"{name} is not shown to be as good as {than} ({shown}): p = {p_text(worse)} that it is worse by more"


def general_notes(
    runs: Sequence[ComparedRun],
    arms: Sequence[Sequence[ComparedRun]],
    differences: Sequence[Mapping[str, Any]],
    chosen: Sequence[str] | None,
) -> list[str]:
    """Say what the p values rest on, and what they can't show.

    Args:
        chosen: what was tested because nothing was named.
    """
    notes = []
    if chosen:
        notes.append(
            f"{label(chosen[0])} is tested, as compare.metric names nothing; other metrics are shown without p"
        )
    else:
        notes.append("metrics that compare.metric does not name are shown without p")
    if len(arms) < len(runs):
        notes.append("runs that differ by seed alone are one model: intervals hold the spread of patients and of seeds")
    fewest = min(difference["n_patients"] for difference in differences)
    if (least := least_p(fewest)) > LEVEL / 5:
        cant = ": no difference can be shown" if least > LEVEL else ""
        notes.append(f"{count(fewest, 'patient')} can't give a p below {p_text(least)}{cant}")
    if any(run.folder.out_of_fold for run in runs):
        notes.append(_of_folds(differences))
    if len(arms) > 2:
        notes.append("choose between runs by validation (best_score): the best of several test figures is too good")
    return notes


def _of_folds(differences: Sequence[Mapping[str, Any]]) -> str:
    """Say what compares cases of different folds, whose networks may mean different things by one probability."""
    pooled = "AUROC and average precision of cross-validations are pooled over folds"
    if all("auroc_within_folds" in difference["metrics"] for difference in differences):
        return f"{pooled}; AUROC within folds compares the cases of a fold alone, each run by its own folds"
    return f"{pooled}; within folds they can be compared where both are single cross-validations (one ensemble each)"


def signed(value: float | None) -> str:
    """Write a number with its sign: +0.012, -0.004; n/a for None."""
    return ABSENT if value is None else f"{value:+.3f}"


def p_text(p: float | None) -> str:
    """Write a p value with two digits that count, never as 0."""
    return ABSENT if p is None else f"{p:.2f}" if p >= 0.1 else f"{p:.2g}"
