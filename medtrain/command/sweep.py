"""The closing table of a sweep, read from the jobs' own folders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from medtrain.config import record
from medtrain.io.files import read_json


def outcome(sweep: Path) -> int:
    """Print a line a job; 1 if any did not finish."""
    folders = sorted((p for p in sweep.iterdir() if (p / record.FILE).is_file()), key=lambda p: (len(p.name), p.name))
    table = Table(title=f"sweep {sweep}")
    for name in ("job", "overrides", "status", "best on validation", "test AUROC (95 % interval)"):
        table.add_column(name, overflow="fold")
    failed = 0
    common = set.intersection(*(set(record.read(f).get("overrides", [])) for f in folders)) if folders else set()
    for folder in folders:
        fields = record.read(folder)
        state = record.status(fields)
        failed += state != "finished"
        best = fields.get("best_score")
        overrides = " ".join(o for o in fields.get("overrides", []) if o not in common or len(folders) == 1)
        told = f"{state}: {str(fields['error']).splitlines()[0]}" if fields.get("error") else state
        table.add_row(folder.name, overrides, told, "" if best is None else f"{best:.4f}", _auroc(folder))
    Console().print(table)
    return 1 if failed else 0


def _auroc(folder: Path) -> str:
    file = folder / "test_metrics.json"
    found: dict[str, Any] = (read_json(file)["metrics"].get("auroc") or {}) if file.is_file() else {}
    if found.get("value") is None:
        return ""
    interval = found.get("ci95")
    return f"{found['value']:.3f}" + (f" ({interval[0]:.3f} to {interval[1]:.3f})" if interval else "")
