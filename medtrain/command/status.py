"""status: each job of a sweep, from run folders and SLURM together. Needs no torch."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medtrain.command.sweep import monitored, refresh
from medtrain.config.runs import in_order, run_folders
from medtrain.core.errors import UsageError
from medtrain.core.words import overrides, varying
from medtrain.io import record
from medtrain.io.yaml_file import read_yaml
from medtrain.launch.slurm import queue
from medtrain.launch.slurm.cluster import submitted
from medtrain.launch.slurm.queue import State

BAD = ("failed", "lost", record.DAMAGED)
COLOURS = {
    "finished": "green",
    "pruned": "green",
    "running": "cyan",
    "failed": "red",
    "lost": "red",
    "damaged": "red",
    "interrupted": "yellow",
}


@dataclass
class Seen:
    """A job as a person wants to see it."""

    folder: Path
    words: dict[str, str]
    status: str
    epoch: str = ""
    best: str = ""
    node: str = ""
    job: str = ""
    reason: str = ""
    log: Path | None = None


def main(cfg: DictConfig) -> int:
    """Print a table; 1 if any job failed or was lost."""
    code = 0
    for sweep in sweeps(cfg):
        code = max(code, tell(sweep))
    return code


def sweeps(cfg: DictConfig) -> list[Path]:
    """Find the folders of the command line: sweeps, or single runs.

    Raises:
        UsageError: none, or none of these.
    """
    runs: Any = OmegaConf.to_container(cfg.runs) if OmegaConf.is_config(cfg.runs) else cfg.runs
    if not runs:
        raise UsageError("status needs a sweep: medtrain status outputs/sweeps/SWEEP")
    words = [runs] if isinstance(runs, str) else runs
    for word in words:
        if not submitted(Path(word)):
            run_folders([word])
    return [Path(word) for word in words]


def tell(sweep: Path) -> int:
    """Print the table of one sweep; first, what SLURM knows of dead jobs is written into their folders."""
    ids = submitted(sweep)
    known = queue.states(ids.values())
    if known is None:
        print("warning: SLURM can't be asked here; this is what the run folders say")
    else:
        queue.settle(sweep, known)
    refresh(sweep)
    seen = jobs(sweep, known)
    keys = varying([job.words for job in seen])
    monitor = monitored(sweep)[0]
    table = Table(title=f"sweep {sweep}", title_justify="left")
    for name in ("job", "overrides", "status", "epoch", f"best {monitor}".strip(), "node", "SLURM"):
        table.add_column(name, overflow="fold")
    for job in seen:
        words = " ".join(f"{key}={job.words[key]}" for key in keys if key in job.words)
        status = Text(job.status, style=COLOURS.get(job.status, ""))
        table.add_row(job.folder.name, Text(words), status, job.epoch, job.best, job.node, job.job)
    console = Console()
    console.print(table)
    for job in seen:
        if job.reason:
            console.print(Text(f"job {job.folder.name}: {job.reason}"), soft_wrap=True)
        if job.log is not None and (job.status in BAD or job.status == "running"):
            console.print(Text(f"  log {job.log}"), soft_wrap=True)
    return int(any(job.status in BAD for job in seen))


def jobs(sweep: Path, known: Mapping[str, State] | None) -> list[Seen]:
    """List each job of a sweep (a single run is one of one), in order.

    Args:
        known: SLURM's word by job id, None if it gave none.
    """
    ids = submitted(sweep)
    single = (sweep / record.FILE).is_file()
    folders = [sweep] if single else [p for p in sweep.iterdir() if p.name in ids or (p / record.FILE).is_file()]
    mode = monitored(sweep)[1]
    return [_seen(folder, ids.get(folder.name, ""), known, mode) for folder in in_order(folders)]


def _seen(folder: Path, job: str, known: Mapping[str, State] | None, mode: str) -> Seen:
    fields = record.look(folder)
    state = (known or {}).get(job)
    reason = str(fields.get("error") or "").split("\n")[0]
    status = record.status(fields)
    if state is not None and state.waits:
        status = "preempted, waiting" if status == "preempted" else "waiting"
        reason = f"SLURM says {state.reason}" if state.reason not in ("", "None", "Priority", "Resources") else ""
    elif state is not None and not state.ended and status not in queue.ENDED:
        status = "running"
    elif job and known is not None and state is None and status in ("starting", "preempted", "running"):
        status, reason = "lost", f"SLURM does not know its job {job} any more"
    epochs, best = progress(folder, mode)
    log = queue.log_file(folder.parent, job) if job else folder / "train.log"
    return Seen(
        folder=folder,
        words=overrides(fields.get("overrides") or ()),
        status=status,
        epoch=epochs,
        best=best,
        node=(state.node if state and state.node else str(fields.get("host") or "")) if status != "waiting" else "",
        job=job,
        reason=reason,
        log=log,
    )


def progress(folder: Path, mode: str) -> tuple[str, str]:
    """Read epochs done and wanted, and the best value of the monitored metric so far, from the run's own files."""
    try:
        rows = _metrics(folder / "metrics.csv")
        config = read_yaml(folder / "config.yaml") if (folder / "config.yaml").is_file() else {}
        wanted = (config.get("trainer") or {}).get("max_epochs")
        monitor = monitored(folder.parent)[0]
        values = [float(row[monitor]) for row in rows if row.get(monitor)]
        done = max((int(row["epoch"]) + 1 for row in rows if row.get("epoch")), default=0)
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        return f"unknown: {type(error).__name__} in config.yaml or metrics.csv", ""
    best = (max if mode == "max" else min)(values) if values else None
    return (f"{done}/{wanted}" if wanted else ""), ("" if best is None else f"{best:.4f}")


def _metrics(file: Path) -> list[dict[str, str]]:
    if not file.is_file():
        return []
    with open(file, encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
