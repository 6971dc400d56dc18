"""metrics.csv: one row an epoch, no gap and no doubled epoch after a restart.

Lightning's own CSV logger deletes the file of the run that it goes on with.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger
from pytorch_lightning.utilities import rank_zero_only

from medtrain.io.files import write_text

_FIRST = ("epoch", "step")


class CSVLog(Logger):
    """A logger that writes ``folder/metrics.csv`` anew, atomically, after each epoch.

    Args:
        folder: the run folder.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.file = Path(folder) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}

    @property
    def name(self) -> str:
        return "csv"

    @property
    def version(self) -> str:
        return ""

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the run's config.yaml has them."""

    def rewind(self, epoch: int, step: int) -> None:
        """Take over the rows of epochs before `epoch`, when a run goes on from there."""
        if self.file.is_file():
            with open(self.file, newline="", encoding="utf-8") as file:
                for row in csv.DictReader(file):
                    if row["epoch"] and int(row["epoch"]) < epoch:
                        self.rows[int(row["epoch"])] = {k: v for k, v in row.items() if v != ""}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        if "epoch" not in metrics:
            return
        epoch = int(metrics["epoch"])
        self.rows.setdefault(epoch, {"epoch": epoch}).update(
            {k: v for k, v in metrics.items() if k != "epoch"} | ({"step": step} if step is not None else {})
        )

    @rank_zero_only
    def save(self) -> None:
        names = list(dict.fromkeys(k for row in self.rows.values() for k in row))
        order = [*_FIRST, *sorted(n for n in names if n not in _FIRST)]
        text = io.StringIO()
        writer = csv.DictWriter(text, order, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[e] for e in sorted(self.rows))
        write_text(self.file, text.getvalue())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        if self.rows:
            self.save()
