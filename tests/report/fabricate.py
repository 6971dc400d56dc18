"""A run folder as a finished run leaves it, without a run; `enrich` adds what a run has only if asked."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from medtrain.metric import EvalOptions, Study, analyse, merge, reliability
from medtrain.report import write_failures
from medtrain.target import Decision
from tests.metric.by_kind import evaluate, fit_decision, predict, probabilities, target

CONFIG = """task: xray_cls
model:
  name: densenet121
data:
  name: phantom_xray
  note: "<b>not bold</b>"
trainer:
  max_epochs: 8
"""


def make_run(folder: Path, kind: str, classes: list[str], n: int = 160, synthetic: bool = True, seed: int = 0) -> Path:
    """Write run.json, config.yaml, metrics.csv, splits.csv, test_metrics.json and test_predictions.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    width = len(classes)
    patients = [f"P{i // 2:03d}" for i in range(n)]
    if kind == "binary":
        targets = (rng.random(n) < 0.35).astype(float)
        logits = rng.normal(size=(n, 1)) * 1.2 + 2 * targets[:, None] - 1
    elif kind == "multiclass":
        targets = rng.integers(0, width, n).astype(float)
        logits = rng.normal(size=(n, width)) + 1.5 * np.eye(width)[targets.astype(int)]
    else:
        targets = (rng.random((n, width)) < np.linspace(0.1, 0.5, width)).astype(float)
        logits = rng.normal(size=(n, width)) + 2 * targets - 1.5
        targets[rng.random((n, width)) < 0.1] = np.nan
    decision = fit_decision(kind, logits, targets, classes, 0.5 if kind == "multiclass" else "youden")
    probs = probabilities(logits, kind, decision.temperature)
    _results(folder, kind, classes, probs, targets, decision, patients)
    run = {
        "status": "finished", "verb": "train", "host": "node1", "pid": 1, "started": "2025-01-31T12:00:00",
        "versions": {"medtrain": "0.1.0", "torch": "2.6.0"}, "git": {"commit": "0123abc", "dirty": False},
        "devices": {"processes": 1}, "seed": 42, "spec": {"label_kind": kind, "classes": classes, "channels": 1},
        "wall_time_s": 372.5, "peak_memory_mb": {"process": 812.4}, "images_per_s": 154.2, "data_wait": 0.04,
        "fingerprints": {"table": "9f86d081884c7d65", "split": "2c26b46b68ffc68f"}, "world_size": 1,
        "synthetic": synthetic, "tests_counted": 1, "task": "xray_cls", "model": "densenet121", "data": "phantom_xray",
        "unit": "images",
    }  # fmt: skip
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "config.yaml").write_text(CONFIG)
    _history(folder)
    splits = [(f"c{i}", p, "test", "") for i, p in enumerate(patients)]
    splits += [(f"t{i}", f"T{i // 3}", "train" if i < 300 else "val", i % 5) for i in range(400)]
    pd.DataFrame(splits, columns=["case", "patient", "split", "fold"]).to_csv(folder / "splits.csv", index=False)
    return folder


def enrich(folder: Path) -> Path:
    """Add exclusions, counts of classes, calibration bins and slope, prevalence, groups, abstention, pictures."""
    run, test = (json.loads((folder / name).read_text()) for name in ("run.json", "test_metrics.json"))
    table = pd.read_csv(folder / "test_predictions.csv", dtype=str, keep_default_na=False)
    classes, kind = run["spec"]["classes"], run["spec"]["label_kind"]
    run["excluded"] = {"filtered": 31, "unreadable": 4, "leaking": 2}
    row = {"images": 90, "patients": 40, "negatives": 210, "unknown": 0, "percent": 30.0, "factor": 2.3, "weight": 1.7}
    run["imbalance"] = {split: dict.fromkeys(classes, row) for split in ("train", "val", "test")}
    test["metrics"] |= {"calibration_slope": entry(0.81, 0.2), "calibration_intercept": entry(-0.12, 0.3)}
    test["calibration"] |= {"temperature": 1.2, "bins": _bins(table, classes, kind)}
    values = {"ppv": entry(0.31), "npv": entry(0.97)}
    test["prevalence"] = {"prevalence": 0.1, "metrics": values, "per_class": dict.fromkeys(classes, values)}
    test["groups"] = {
        "site": {name: _group(classes, x) for name, x in {"north": 0.86, "south & west": 0.71}.items()},
        "sex": {"f": _group(classes, 0.8), "m": _group(classes, 0.84), "": _group(classes, None)},
    }
    apart = {
        "column": "site",
        "group": "south & west",
        "reference": "north",
        "metric": "auroc",
        "p": 0.01,
        "p_holm": 0.02,
    }
    undefined = apart | {"value": None, "ci95": None, "p_holm": None, "reason": "undefined in one"}
    test["group_differences"] = [apart | entry(-0.15), undefined]
    test["patients"] = {
        "rule": "max",
        "n_patients": 80,
        "n_mixed": 3,
        "metrics": {"auroc": entry(0.9)},
        "per_class": {},
    }
    curve = [{"kept": k, "n_cases": int(160 * k), "metrics": {"auroc": entry(0.95 - 0.1 * k)}} for k in (0.2, 0.6, 1)]
    test["abstention"] = {"by": "ensemble", "curve": curve}
    (folder / "run.json").write_text(json.dumps(run))
    (folder / "test_metrics.json").write_text(json.dumps(test, allow_nan=False))
    write_failures(folder, films, 12)
    return folder


def films(cases) -> np.ndarray:
    """A picture for each case: [B, 1, 48, 32] uint8, all different."""
    ramp = np.linspace(0, 255, 48 * 32).reshape(48, 32)
    return np.stack([np.roll(ramp, 5 * i, axis=0) for i, _ in enumerate(cases)]).astype(np.uint8)[:, None]


def entry(value: float | None, half: float = 0.06) -> dict:
    return {"value": value, "ci95": None if value is None else [value - half, value + half]}


def _group(classes: list[str], value: float | None) -> dict:
    names = ("auroc", "sensitivity", "specificity", "ppv", "npv")
    return {
        "n_cases": 70, "n_patients": 33, "events": dict.fromkeys(classes, 21),
        "metrics": {name: entry(value, 0.09) for name in names}, "per_class": {},
    }  # fmt: skip


def _bins(table: pd.DataFrame, classes: list[str], kind: str) -> dict:
    found = {}
    for name in {"binary": classes[-1:], "multiclass": ["top_label", *classes], "multilabel": classes}[kind]:
        if name == "top_label":
            probs = table[[f"prob_{c}" for c in classes]].astype(float).max(axis=1).to_numpy()
            truth = (table["target"] == table["prediction"]).to_numpy(float)
        else:
            probs = table[f"prob_{name}"].astype(float).to_numpy()
            told = table[f"target_{name}"] == "1" if kind == "multilabel" else table["target"] == name
            truth = told.to_numpy(float)
        rows = zip(*reliability(probs, truth), strict=True)
        found[name] = [
            {"n": int(n), "predicted": float(p), "observed": float(o), "ci95": [max(0, o - 0.2), min(1, o + 0.2)]}
            for p, o, n in rows
        ]
    return found


def _results(folder, kind, classes, probs, targets, decision: Decision, patients) -> None:
    n, predicted = len(probs), predict(decision, probs, kind)
    found = evaluate(kind, probs, targets, predicted, classes, patients, bootstrap=20)
    made = target(kind, classes)
    cases = made.cases(probs, targets, predicted, patients)
    merge(
        found, analyse(Study(cases, made.sheet, EvalOptions(bootstrap=20), decision.thresholds, made.looked_for, found))
    )
    test = {"split": "test", "n_cases": n, "n_patients": len(set(patients)), **found}
    test |= {"decision": decision.to_dict(), "groups": None}
    (folder / "test_metrics.json").write_text(json.dumps(test, allow_nan=False))
    table = {"case": [f"c{i}" for i in range(n)], "patient": patients}
    if kind == "multilabel":
        for c, name in enumerate(classes):
            known = np.isfinite(targets[:, c])
            table[f"target_{name}"] = [str(int(v)) if k else "" for v, k in zip(targets[:, c], known, strict=True)]
            table[f"prediction_{name}"] = predicted[:, c]
    else:
        table |= {"target": [classes[int(t)] for t in targets], "prediction": [classes[p] for p in predicted]}
    table |= {f"prob_{name}": probs[:, c] for c, name in enumerate(classes)}
    pd.DataFrame(table).to_csv(folder / "test_predictions.csv", index=False)


def _history(folder: Path) -> None:
    rows = []
    for epoch in range(8):
        rows.append({"epoch": epoch, "step": 20 * epoch + 10, "train_loss": 0.7 * 0.8**epoch, "lr": 1e-4})
        row = {"epoch": epoch, "step": 20 * epoch + 19, "val_loss": 0.3 + 0.4 * 0.75**epoch}
        rows.append(row | {"val_auroc": 0.9 - 0.3 * 0.7**epoch, "images_per_s": 150 + epoch})
    pd.DataFrame(rows).to_csv(folder / "metrics.csv", index=False)
