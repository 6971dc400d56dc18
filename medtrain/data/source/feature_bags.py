"""Feature bags with a label table, or one CSV of bags."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from medtrain.core.errors import Problem, UsageError
from medtrain.core.progress import Progress
from medtrain.data.rows.bags import csv_rows, holds_features, with_files
from medtrain.data.rows.clinical import read_rows
from medtrain.data.rows.manifest import Manifest, manifest_of
from medtrain.data.source import ROOT, SLIDE_TABLE, SLIDES, TABLE, Source
from medtrain.io.csv_bags import CsvBags, read_csv_bags
from medtrain.target import DataSpec
from medtrain.target.labels import labels_of


@Source(TABLE, SLIDE_TABLE, ROOT, SLIDES, batches="bags")
def feature_bags(cfg: Mapping[str, Any], spec: DataSpec | None, progress: Progress | None) -> Manifest:
    """Read a row a bag; arguments as of `medtrain.data.source.reader`."""
    files = cfg.get("root") or cfg.get("covariates")  # such keys are of bags in files, be these there or not
    if cfg.get("table") and not files and holds_features(table := Path(str(cfg["table"])).expanduser(), cfg):
        if cfg.get("slide_table"):
            raise UsageError(f"data.slide_table: {table.name} is a CSV of bags, which has its labels in it")
        return _labelled(read_csv_bags(table), cfg, spec)
    raw, node, warnings = read_rows(cfg, "give a table of bags and labels, or a CSV of bags")
    manifest = manifest_of(*with_files(raw, node), spec)
    manifest.warnings += warnings
    return manifest


def _labelled(bags: CsvBags, cfg: Mapping[str, Any], spec: DataSpec | None) -> Manifest:
    """List the bags of one CSV with the labels that stand beside their features."""
    rows = csv_rows(bags)
    labels = labels_of(rows.raw, {"label": "label"}, cfg, None if spec is None else spec.target)
    rows.warnings += labels.notices
    rows.target, rows.targets = labels.target, np.asarray(labels.values)
    rows.bad = sorted(labels.bad + bags.conflicts, key=lambda entry: entry[0])
    detail = "a CSV of bags names no patients: each bag is its own"
    rows.warnings.append(Problem("no_patient", bags.file.name, detail, "warning"))
    return rows
