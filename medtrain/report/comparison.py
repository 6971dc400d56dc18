"""Compare runs from their folders alone: what each is, how they differ on the same patients, what can be said.

Two test figures may come from different cases, and the better of many is partly luck. So differences are taken over
the cases that two runs share, with paired intervals, and what several comparisons cost is counted in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from medtrain.core.errors import UsageError
from medtrain.core.words import varying
from medtrain.metric import EvalOptions, differences, holm
from medtrain.metric.paired import UNDIRECTED
from medtrain.report.compared import Compared, ComparedRun, read_compared
from medtrain.report.compared_words import general_notes, margin_sentence, p_text, sentence, signed
from medtrain.report.words import count, headline, label

__all__ = ["Compared", "compare", "p_text", "read_compared", "sentence", "signed"]

FACTS = ("task", "model", "data", "seed", "best_score", "images_per_s", "peak_memory_mb", "wall_time_s")


def compare(
    runs: Sequence[ComparedRun],
    baseline: int = 0,
    metric: str | Sequence[str] | None = None,
    bootstrap: int = 2000,
    margin: float | None = None,
) -> dict[str, Any]:
    """Compute all that `medtrain compare` shows and writes, as plain values.

    What was not named before is shown without p: of 15 metrics one is below 0.05 by chance in every fourth comparison.

    Args:
        runs: two or more. Where they are seeds of models, two or more of each, the models are compared.
        baseline: which of them the others are compared with.
        metric: what is tested, one or several; None: the first of AUROC, mAP, CPM and accuracy that there is.
        bootstrap: replicates.
        margin: by which a run may be worse, and not matter.

    Returns:
        ``runs`` (a dict each), ``differences`` (each other run, or model, minus the baseline: ``metrics`` and
        ``per_class`` with ``value``, ``ci95``, and of what is tested ``p`` and ``p_holm``), ``says`` (sentences),
        ``notes``.

    Raises:
        UsageError: two runs can't be compared, there is no such metric, or the margin has no meaning for it.
    """
    arms, first = arms_of(runs, baseline)
    others = [arm for n, arm in enumerate(arms) if n != first]
    options = EvalOptions(bootstrap, margin=margin)
    differences = [_difference(arms[first], other, options) for other in others]
    tested = _tested(metric, runs[baseline], differences, margin)
    _adjust(differences, tested)
    names = _names(runs)
    called = {id(arm): _called(arm, names) for arm in arms}
    comparisons = len(others) * len(tested)
    says = []
    for other, difference in zip(others, differences, strict=True):
        for name in tested:
            pair, entry = (called[id(other)], called[id(arms[first])]), difference["metrics"][name]
            says.append(sentence(*pair, label(name), entry, difference, comparisons))
            says += [margin_sentence(*pair, name, entry, margin)] if margin is not None and "p_worse" in entry else []
    notes = [note for other in others for run in other for note in _notes(runs[baseline], run, names)]
    notes += general_notes(runs, arms, differences, tested if metric is None else None)
    return {
        "baseline": runs[baseline].path,
        "metric": tested[0],
        "tested": tested,
        "margin": margin,
        "bootstrap": bootstrap,
        "runs": describe(runs, names),
        "differences": differences,
        "says": says,
        "notes": notes,
    }


def arms_of(runs: Sequence[ComparedRun], baseline: int) -> tuple[list[list[ComparedRun]], int]:
    """Group runs that differ by their seed alone, where there are two models or more with two seeds or more each.

    Returns:
        The models, a list of runs each (else each run alone), and which of them the baseline is in.
    """
    groups: dict[str, list[ComparedRun]] = {}
    for run in runs:
        groups.setdefault(run.arm, []).append(run)
    seeds_differ = all(len({run.facts.get("seed") for run in group}) == len(group) > 1 for group in groups.values())
    arms = list(groups.values()) if len(groups) > 1 and seeds_differ else [[run] for run in runs]
    return arms, next(n for n, arm in enumerate(arms) if any(run is runs[baseline] for run in arm))


def _difference(base: Sequence[ComparedRun], other: Sequence[ComparedRun], options: EvalOptions) -> dict[str, Any]:
    """Compare two models, of a run or several seeds each, on the cases that all of these have."""
    first, everyone = base[0], [*base, *other]
    for run in everyone[1:]:
        _comparable(first, run)
    shared = [case for case in first.cases if all(case in run.row for run in everyone)]
    if not shared:
        raise UsageError(f"{first.path} and {other[0].path} have no test case in common: compare runs on the same data")
    rows = {id(run): np.array([run.row[case] for case in shared]) for run in everyone}
    labels = first.labels(rows[id(first)], first.classes)
    for run in everyone[1:]:
        theirs = run.labels(rows[id(run)], first.classes)
        if differ := [case for case, one, two in zip(shared, labels, theirs, strict=True) if one != two]:
            raise UsageError(
                f"{first.path} and {run.path} have other labels for {len(differ)} of {len(shared)} cases, "
                f"{differ[0]} being the first: they were tested on different data"
            )
    sides = [[run.drawn(rows[id(run)], first.classes, options) for run in side] for side in (base, other)]
    results = differences(sides[0], sides[1], first.classes, options.margin)
    if len(everyone) == 2 and options.bootstrap:
        first.add_tests(results, other[0], rows[id(first)], rows[id(other[0])])

    def of_all(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in values.items() if all(run.has(name) for run in everyone)}

    own = {"runs": [run.path for run in other], "baselines": [run.path for run in base]} if len(everyone) > 2 else {}
    return {
        "run": other[0].path,
        "baseline": first.path,
        **own,
        "n_cases": len(shared),
        "n_patients": sides[0][0].patients,
        "metrics": of_all(results["metrics"]),
        "per_class": {name: of_all(values) for name, values in results["per_class"].items()},
    }


def _comparable(base: ComparedRun, other: ComparedRun) -> None:
    """Refuse runs that predict other things."""
    if type(base.target) is not type(other.target) or set(base.classes) != set(other.classes):
        one, two = (f"{run.path} ({run.target.kind}: {', '.join(run.classes)})" for run in (base, other))
        raise UsageError(f"{one} and {two} have other labels: they can't be compared")
    if base.target.positive != other.target.positive:
        raise UsageError(
            f"{base.path} finds {base.target.positive!r}, {other.path} finds {other.target.positive!r}: "
            "their positive classes differ, so they can't be compared"
        )


def _tested(
    metric: str | Sequence[str] | None, base: ComparedRun, differences: Sequence[dict[str, Any]], margin: float | None
) -> list[str]:
    """Choose what is tested: the metrics named, else the first that all runs have."""
    shared = [
        name for name in differences[0]["metrics"] if all(name in difference["metrics"] for difference in differences)
    ]
    if metric is None:
        wanted = headline({name: (base.folder.test.get("metrics") or {}).get(name) for name in shared})
        tested = [wanted or shared[0]]
    else:
        tested = [metric] if isinstance(metric, str) else list(metric)
    if missing := [name for name in tested if name not in shared]:
        raise UsageError(f"compare.metric={missing[0]}: there are: {', '.join(shared)}")
    if margin is not None and not (margin > 0 and not UNDIRECTED & set(tested)):
        raise UsageError(
            f"eval.margin={margin}: a number above 0 is wanted, and a metric of which more or less is better, "
            f"not {', '.join(tested)}"
        )
    return tested


def _adjust(differences: Sequence[dict[str, Any]], tested: Sequence[str]) -> None:
    """Correct p values for all that is tested, and take away those of what is not."""
    entries = [difference["metrics"][name] for difference in differences for name in tested]
    for key in ("p", "p_worse", "p_other"):
        for entry, p in zip(entries, holm([entry.get(key) for entry in entries]), strict=True):
            if key in entry:
                entry[f"{key}_holm"] = p
    adjusted = {id(entry) for entry in entries}
    for difference in differences:
        for metrics in (difference["metrics"], *difference["per_class"].values()):
            for entry in metrics.values():
                if id(entry) not in adjusted:
                    for key in ("analytic", "p_worse", "p_other"):
                        entry.pop(key, None)
                    entry |= {"p": None, "p_holm": None}


def describe(runs: Sequence[ComparedRun], names: Mapping[str, str]) -> list[dict[str, Any]]:
    """Describe what each run is and came to: facts, overrides in which they differ, epochs, metrics."""
    words = [run.overrides for run in runs]
    differing, rows = varying(words), []
    for run, changed in zip(runs, words, strict=True):
        own = {
            "run": run.path,
            "name": names[run.path],
            **{key: run.facts.get(key) for key in FACTS},
            "overrides": {key: changed[key] for key in differing if key in changed},
            "epochs": _epochs(run.folder.history),
            "n_cases": len(run.cases),
            "n_patients": len(set(run.patients)),
            "metrics": run.folder.test.get("metrics") or {},
        }
        rows.append(own)
    return rows


def _epochs(history: pd.DataFrame | None) -> int | None:
    if history is None or "epoch" not in history or not history["epoch"].notna().any():
        return None
    return int(history["epoch"].max()) + 1


def _names(runs: Sequence[ComparedRun]) -> dict[str, str]:
    """Name runs for sentences: by the model where that tells it from the others, else by the folder."""
    models = [str(run.facts.get("model") or "") for run in runs]
    return {
        run.path: model if model and models.count(model) == 1 else run.path
        for run, model in zip(runs, models, strict=True)
    }


def _called(arm: Sequence[ComparedRun], names: Mapping[str, str]) -> str:
    """Name a model in sentences: as its run, or by what its seeds share."""
    if len(arm) == 1:
        return names[arm[0].path]
    own = " ".join(f"{key}={value}" for key, value in sorted(arm[0].overrides.items()) if key == "model")
    return f"{arm[0].facts.get('model') or own} ({count(len(arm), 'seed')})"


def _notes(base: ComparedRun, other: ComparedRun, names: Mapping[str, str]) -> list[str]:
    notes = []
    one, two = names[base.path], names[other.path]
    shared = len(base.row.keys() & other.row.keys())
    if not shared == len(base.cases) == len(other.cases):
        notes.append(
            f"{two} was tested on {len(other.cases)} cases, {one} on {len(base.cases)}: "
            f"their difference is that on the {shared} they share"
        )
    tables = [(run.facts.get("fingerprints") or {}).get("table") for run in (base, other)]
    if None not in tables and tables[0] != tables[1]:
        notes.append(f"{two} and {one} read different tables: cases were matched by name")
    return notes
