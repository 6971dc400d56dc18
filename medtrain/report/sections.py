"""What the report says, before any HTML: sentences and rows of plain text, taken from the run folder's files."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeGuard

import numpy as np
import pandas as pd

from medtrain.report.folder import RunFolder
from medtrain.report.words import ABSENT, count, duration, entry, headline, label, number, plain, with_interval

PER_CLASS = (
    "auroc",
    "auprc",
    "map",
    "map50",
    "cpm",
    "sensitivity",
    "specificity",
    "ppv",
    "npv",
    "f1",
    "calibration_slope",
    "calibration_intercept",
)
SPLITS = ("train", "val", "validation", "test")
TILES = ("auroc", "map", "cpm", "sensitivity", "specificity", "balanced_accuracy", "accuracy", "auprc", "map50")


class SplitCounts(NamedTuple):
    """A split: images, patients (None where not known), and the positives in words."""

    name: str
    cases: int
    patients: int | None
    positives: str


def title(run: RunFolder) -> str:
    """Model on data, as far as they are known."""
    model, data = run.name("model"), run.name("data")
    if model and data:
        return f"{model} on {data}"
    return model or data or run.name("task") or "Run report"


def summary(run: RunFolder) -> str:
    """One sentence: on how many cases which value, how sure."""
    metrics = run.test.get("metrics") or {}
    if not run.test:
        return "This run has no test results yet."
    who = count(run.test.get("n_cases"), "case")
    if run.test.get("n_patients") is not None:
        who += f" of {count(run.test['n_patients'], 'patient')}"
    where = f"On the {run.test.get('split') or 'test'} split ({who})"
    best = headline(metrics)
    if best is None:
        return f"{where} no metric is defined."
    value, interval = entry(metrics[best])
    sure = "" if interval == ABSENT else f" (95 % interval {interval}, by bootstrap over patients)"
    if run.kind == "binary" and run.classes:
        return f"{where}, {label(best)} for {run.classes[-1]} is {value}{sure}."
    return f"{where}, {label(best)} is {value}{sure}."


def decision_text(run: RunFolder) -> list[str]:
    """Notes below the metrics: how predictions were decided, and what to keep in mind."""
    notes = []
    decision = run.test.get("decision") or {}
    if run.kind == "boxes" and decision:
        return _box_notes(run, decision)
    limits = decision.get("thresholds") or {}
    if len(limits) == 1:
        name, limit = next(iter(limits.items()))
        notes.append(f"A case counts as {name} from a probability of {number(limit)} on.")
    elif limits:
        listed = ", ".join(f"{name} {number(limit)}" for name, limit in limits.items())
        notes.append(f"A label counts as present from these probabilities on: {listed}.")
    elif decision:
        notes.append("The predicted class is the one of the highest probability.")
    if decision:
        policy, temperature = decision.get("policy"), number(decision.get("temperature"))
        if limits and isinstance(policy, str) and not policy.replace(".", "", 1).isdigit():
            notes[-1] += f" Thresholds ({policy}) and temperature ({temperature}) were fitted on validation data."
        else:
            notes[-1] += f" The temperature ({temperature}) was fitted on validation data."
    if {"ppv", "npv"} & set(run.test.get("metrics") or {}):
        notes.append("PPV and NPV hold at the prevalence of these data.")
    if "calibration_slope" in (run.test.get("metrics") or {}):
        notes.append(
            "Calibration slope 1 and intercept 0 are ideal: a slope below 1 means probabilities that are too extreme, "
            "an intercept above 0 ones that are too low."
        )
    if run.kind == "multilabel":
        notes.append("Metrics are means over labels unless they say micro.")
    elif run.kind == "multiclass":
        together = "accuracy, MCC, kappa, Brier score and calibration error are of all classes together"
        notes.append(f"Metrics are means over classes unless they say micro; {together}.")
    return notes


def _box_notes(run: RunFolder, decision: dict[str, Any]) -> list[str]:
    listed = ", ".join(f"{name} {number(limit)}" for name, limit in (decision.get("thresholds") or {}).items())
    return [
        f"A box is shown from this score on: {listed} ({plain(decision.get('policy'))}, fitted on validation data "
        "unless it is a number). Sensitivity, PPV, F1 and false positives per negative image are those at it.",
        "mAP is COCO's; in FROC and at the threshold a box of its class finds a lesion, once, that it overlaps by "
        f"an IoU of {number(run.test.get('iou'))}. Small is below 32 x 32 pixels of the original, large above 96 x 96.",
        "Metrics are means over the classes that occur.",
    ]


def per_class(run: RunFolder) -> tuple[list[str], list[tuple[str, str, list[tuple[str, str]]]]]:
    """Header and rows (class, positives, [(value, interval)]); no rows for a binary problem."""
    results = run.test.get("per_class") or {}
    if run.kind == "binary" or not results:
        return [], []
    names = [n for n in PER_CLASS if any(n in entries for entries in results.values())]
    names = names or list(dict.fromkeys(n for entries in results.values() for n in entries))
    positives = _positives(run)
    header = ["Class", "Positives", *(label(n) if n != "auprc" else "AUPRC" for n in names)]
    rows = []
    for name, entries in results.items():
        cells = [with_interval(entries.get(n)) for n in names]
        rows.append(
            (
                name,
                f"{positives[name]:,}" if name in positives else ABSENT,
                cells,
            )
        )
    return header, rows


def tiles(run: RunFolder) -> list[tuple[str, str, str]]:
    """(name, value, interval) of the four numbers to see first."""
    metrics = run.test.get("metrics") or {}
    shown = [(label(name), *with_interval(metrics[name])) for name in TILES if entry(metrics.get(name))[0] != ABSENT]
    return shown[:4]


def prevalence(run: RunFolder) -> list[tuple[str, str, str]]:
    """(name, value, interval) of the predictive values at `eval.prevalence`."""
    found = run.test.get("prevalence") or {}
    share = found.get("prevalence")
    told = f"{100 * share:.3g} %" if _numeric(share) else plain(share)
    return [
        (f"{label(name)} at a prevalence of {told}", *entry(it)) for name, it in (found.get("metrics") or {}).items()
    ]


def counts_by_split(run: RunFolder) -> list[SplitCounts]:
    """The splits, as the run recorded them; else the tested one from its predictions."""
    tested = str(run.test.get("split") or "test")
    seen = _positives(run)
    recorded = {
        split: _told(run, {name: row["images"] for name, row in rows.items()})
        for split, rows in (run.run.get("imbalance") or {}).items()
    }
    splits = run.splits
    if splits is None or "split" not in splits:
        if not run.test:
            return []
        return [SplitCounts(tested, int(run.test.get("n_cases") or 0), run.test.get("n_patients"), _told(run, seen))]
    rows = []
    for name in sorted(splits["split"].dropna().unique(), key=lambda s: (SPLITS.index(s) if s in SPLITS else 9, s)):
        part = splits[splits["split"] == name]
        patients = int(part["patient"].nunique()) if "patient" in part else None
        cases = int(part["case"].nunique()) if "case" in part else len(part)
        positives = recorded.get(str(name)) or (_told(run, seen) if name == tested else "")
        rows.append(SplitCounts(str(name), cases, patients, positives))
    return rows


def by_class(run: RunFolder) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Header and rows (class, "images (patients)" in each split); no rows for a binary problem."""
    found = run.run.get("imbalance") or {}
    if run.kind == "binary" or not found:
        return [], []
    splits = sorted(found, key=lambda s: (SPLITS.index(s) if s in SPLITS else 9, s))
    names = list(dict.fromkeys(name for rows in found.values() for name in rows))
    cells = [[_held(found[split].get(name)) for split in splits] for name in names]
    return ["Images (patients) of", *splits], list(zip(names, cells, strict=True))


def _held(row: dict[str, Any] | None) -> str:
    return ABSENT if row is None else f"{row['images']:,} ({row['patients']:,})"


def _told(run: RunFolder, positives: dict[str, int]) -> str:
    """The positive class's count of a binary problem; of more classes a table tells."""
    if run.kind != "binary" or not positives or not run.classes:
        return ""
    name = run.classes[-1]
    return f"{positives[name]:,} positive ({name})" if name in positives else ""


def _positives(run: RunFolder) -> dict[str, int]:
    """How many tested cases have each class."""
    predictions = run.predictions()
    if predictions is None:
        return {}
    sums = np.nansum(predictions.target_NC, axis=0)
    return {name: int(n) for name, n in zip(run.classes, sums, strict=True)}


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """What one needs to know to trust or repeat the run."""
    r = run.run
    wait, rate, memory = r.get("data_wait"), r.get("images_per_s"), r.get("peak_memory_mb")
    if rate is None and run.history is not None and "images_per_s" in run.history:
        seen = run.history["images_per_s"].dropna()
        rate = float(seen.median()) if len(seen) else None
    rows: list[tuple[str, Any]] = [
        ("Status", r.get("status")),
        ("Started", r.get("started")),
        ("Seed", r.get("seed")),
        ("Device", r.get("devices")),
        ("Processes", r.get("world_size")),
        ("Wall time", None if r.get("wall_time_s") is None else duration(r["wall_time_s"])),
        ("Images per second", f"{rate:,.0f}" if _numeric(rate) else rate),
        ("Waiting for data", f"{100 * wait:.0f} % of the time" if _numeric(wait) else wait),
        ("Peak memory", _megabytes(memory)),
        ("Held out", r.get("held_out")),
        ("Times tested", r.get("tests_counted")),
        ("Versions", r.get("versions")),
        ("Code", r.get("git")),
        ("Fingerprints", r.get("fingerprints")),
    ]
    return [(name, plain(value)) for name, value in rows if value not in (None, "", {}, [])]


def _megabytes(memory: Any) -> Any:
    """Of the process, or of each place where memory is."""
    if isinstance(memory, dict):
        return {place: _megabytes(amount) for place, amount in memory.items()}
    return f"{memory:,.0f} MB" if _numeric(memory) else memory


def _numeric(value: Any) -> TypeGuard[float]:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and not pd.isna(value)
