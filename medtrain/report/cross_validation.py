"""What a cross-validation did, fold by fold: who judged which cases, by which threshold, and how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from medtrain.report.folder import RunFolder
from medtrain.report.views import Cell, Note, Section, part, section, table
from medtrain.report.words import ABSENT, count, entry, label, number

SHOWN = (
    "mae",
    "rmse",
    "concordance",
    "kappa_quadratic",
    "mae_grades",
    "auroc",
    "map50",
    "cpm",
    "sensitivity",
    "specificity",
    "balanced_accuracy",
)
APART = 0.02  # by which pooled and within-fold AUROC differ for it to be worth a warning,
APART_BEYOND_CHANCE = 0.005  # and where the interval of their difference does not hold 0


@section()
def cross_validation(run: RunFolder) -> Section | None:
    """Draw the folds with their decisions and metrics, their mean and standard deviation; None without folds."""
    folds = (run.test.get("cross_validation") or {}).get("folds") or []
    if not folds:
        return None
    apart = pooling_warning(run.test)
    return part(
        "folds",
        "Cross-validation",
        Note(_what_was_done(run, folds)),
        table(*_by_fold(run, folds), "metrics", "Folds of the cross-validation"),
        Note(
            "SD is the standard deviation over the folds (n - 1): how much single networks on their test parts differ. "
            "It is no confidence interval; the intervals above are over patients."
        ),
        Note(f"Warning: {apart}") if apart and apart not in (run.test.get("warnings") or ()) else None,
    )


def pooling_warning(test: Mapping[str, Any]) -> str | None:
    """Say that the AUROC of all folds pooled is not that within folds, where that matters."""
    difference = (test.get("cross_validation") or {}).get("auroc_pooled_minus_within") or {}
    value, (low, high) = difference.get("value") or 0.0, difference.get("ci95") or (0.0, 0.0)
    if abs(value) < (APART if low <= 0 <= high else APART_BEYOND_CHANCE):
        return None
    within, pooled = (entry(test["metrics"][name])[0] for name in ("auroc_within_folds", "auroc"))
    return (
        f"AUROC is {within} within folds and {pooled} with all folds pooled ({value:+.3f}, 95 % interval "
        f"{entry(difference)[1]}). The networks of the folds mean different things by one probability, so cases of "
        "different folds can't be ranked together: report the AUROC within folds. Average precision, calibration and "
        "the curves are pooled and suffer alike."
    )


def decided_by_fold(run: RunFolder) -> str:
    """Say how the cases of a cross-validation were decided."""
    decision = run.test.get("decision") or {}
    folds: Sequence[Mapping[str, Any]] = decision.get("folds") or ()
    if not folds:  # of an ensemble of medtrain 0.2 or before
        return "Each case was decided by threshold and temperature of its own fold; decision.json lists them."
    names = list(folds[0]["thresholds"])
    if _is_of_boxes(run):
        ranges = ", ".join(f"{name} {_range([fold['thresholds'][name] for fold in folds])}" for name in names)
        return (
            f"A box is shown from the threshold of its own fold on: {ranges} ({decision.get('policy')}), fitted on "
            "its validation part. Sensitivity, PPV, F1 and false positives per negative image are those at it. "
            "mAP and FROC pool the boxes of networks whose scores need not mean the same."
        )
    temperatures = [value for fold in folds for value in fold["temperatures"]]
    calibrated = f"Each network was calibrated by its own temperature ({_range(temperatures)})"
    if not names:
        return f"{run.target.words.decided} {calibrated}, fitted on its validation part."
    ranges = ", ".join(f"{name} {_range([fold['thresholds'][name] for fold in folds])}" for name in names)
    if run.thresholds:
        return f"A case counts as positive from these probabilities on, in every fold: {ranges}. {calibrated}."
    several = len({fold["repeat"] for fold in folds}) > 1
    mean = " (the mean of its thresholds in the repeats)" if several else ""
    return (
        f"Each case was decided by the threshold of its own fold{mean}: {ranges} ({decision.get('policy')}). "
        f"{calibrated}. Both were fitted on the validation part of the fold; no single threshold gives these decisions."
    )


def _is_of_boxes(run: RunFolder) -> bool:
    """Tell whether boxes are predicted, whose scores no temperature calibrates."""
    return "boxes" in run.target.forms


def _range(values: Sequence[float]) -> str:
    low, high = number(min(values)), number(max(values))
    return low if low == high else f"{low} to {high}"


def _what_was_done(run: RunFolder, folds: Sequence[Mapping[str, Any]]) -> str:
    repeats = len({fold["repeat"] for fold in folds})
    networks = {len(fold["temperatures"]) for fold in (run.test.get("decision") or {}).get("folds") or ()}
    of = " (each with other folds)" if repeats > 1 else ""
    boxes = _is_of_boxes(run)
    one = "the fused boxes" if boxes else "the mean"
    by = "the network" if networks == {1} else f"{one} of the {max(networks, default=1)} networks"
    plain = not run.target.forms & {"boxes", "probabilities"}
    mean = "prediction" if plain else "probability"
    several = f" A case's {'boxes are fused' if boxes else f'{mean} is the mean'} over the cross-validations."
    chosen = "checkpoint" if plain else "checkpoint and threshold" if boxes else "checkpoint, temperature and threshold"
    return (
        f"{count(repeats, 'cross-validation')}{of} of {count(len(folds) // repeats, 'fold')} of the patients. In turn "
        f"one fold tested, others validated ({chosen} {'was' if plain else 'were'} chosen on them), and the rest "
        f"trained. So each case was predicted out of fold: by {by} of its fold, which had not learned it."
        + several
        * (repeats > 1)
    )


def _by_fold(run: RunFolder, folds: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[tuple[str, Sequence[Cell]]]]:
    """Make header and rows: a fold each, their mean and their standard deviation."""
    decided = (run.test.get("decision") or {}).get("folds") or [{}] * len(folds)
    metrics = [name for name in SHOWN if any(fold["metrics"].get(name) is not None for fold in folds)]
    limits = list(folds[0]["thresholds"]) if len(folds[0]["thresholds"]) == 1 else []
    positive, boxes = run.target.positive, "probabilities" not in run.target.forms
    several = len({fold["repeat"] for fold in folds}) > 1
    rows: list[tuple[str, Sequence[Cell]]] = []
    for fold, how in zip(folds, decided, strict=False):
        cells = [Cell(f"{fold['n_cases']:,}"), Cell(f"{fold['n_patients']:,}")]
        cells += [Cell(f"{fold['events'][positive]:,}")] if positive else []
        cells += [] if boxes else [Cell(", ".join(map(number, how.get("temperatures") or [None])))]
        cells += [Cell(number(fold["thresholds"][name])) for name in limits]
        cells += [Cell(number(fold["metrics"].get(name))) for name in metrics]
        rows.append((f"{fold['repeat'] + 1}, {fold['fold']}" if several else str(fold["fold"]), cells))
    blank = [Cell()] * (2 + (not boxes) + bool(positive) + len(limits))
    for key, name in (("mean", "Mean"), ("sd", "SD")):
        of_all = [((run.test.get("folds") or {}).get(metric) or {}).get(key) for metric in metrics]
        rows.append((name, [*blank, *(Cell(number(value) if value is not None else ABSENT) for value in of_all)]))
    header = [
        "Repeat, fold" if several else "Fold",
        "Cases",
        "Patients",
        *([f"Of class {positive}"] if positive else []),
    ]
    header += ["Temperature"] * (not boxes) + ["Threshold" for _ in limits] + [label(name) for name in metrics]
    return header, rows
