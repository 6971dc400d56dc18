"""Gather the outcome of a sweep from the jobs' own folders: sweep.csv and the closing table, the best job first."""

from __future__ import annotations

import contextlib
import csv
import io
import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from medtrain.command.counted import note_sweep, split_of, tests_of_splits
from medtrain.config.compose import Composition
from medtrain.config.runs import in_order
from medtrain.config.trials import chooser, plan_of
from medtrain.config.tuning import is_search
from medtrain.core.verb import LookUp, Verb
from medtrain.core.words import overrides, varying
from medtrain.io import record
from medtrain.io.files import read_json, write_text
from medtrain.io.study import WORKER
from medtrain.io.yaml_file import read_yaml
from medtrain.launch import workers
from medtrain.launch.execute import PREEMPTED, STOPPED
from medtrain.launch.slurm import job as slurm_job
from medtrain.launch.sweep import Remote, chosen, run_sweep
from medtrain.report.words import headline, label, memory

FILE = "sweep.csv"
COSTS = ("wall_time_s", "images_per_s", "peak_memory_mb")
Row = dict[str, Any]


def main(verb: Verb, look_up: LookUp, composition: Composition, command: Callable[[list[str]], int]) -> int:
    """Carry a sweep out, or submit it; returns the exit code.

    Args:
        verb: of its jobs.
        look_up: by which jobs on other machines find it.
        command: carries a command line out.
    """
    workers.die_with_leader()
    sweep, code = run_sweep(verb, composition, refresh, Remote(partial(slurm_job.run, look_up), command))
    if os.environ.get(WORKER):  # of a search, whose leader tells what came out
        return code if code in (*STOPPED, PREEMPTED) else 0
    cluster = chosen(composition.cfg)
    if cluster is not None and not cluster.wait:
        return slurm_job.submitted(sweep)
    failed = outcome(sweep)
    if is_search(composition.cfg) and code not in STOPPED:  # failed trials are told and not fatal
        from medtrain.command.search import close  # late: it imports all that looks at data

        return close(plan_of(composition.cfg, (), (), sweep), command)
    return code if code in STOPPED else int(failed)


def outcome(sweep: Path) -> int:
    """Write sweep.csv and print a line a job; 1 if any did not finish."""
    rows, monitor = jobs(sweep), monitored(sweep)[0]
    write_text(sweep / FILE, as_csv(rows))
    metrics = {key.removeprefix("test_"): row[key] for row in rows for key in row if _is_metric(row, key)}
    tested = headline(metrics) or "auroc"
    table = Table(title=f"sweep {sweep}", title_justify="left")
    for name in ("job", "overrides", "status", f"best {monitor}", f"test {label(tested)} (95 % interval)"):
        table.add_column(name, overflow="fold")
    for row in rows:
        status = f"{row['status']}: {row['error']}" if row["error"] else row["status"]
        overrides = " ".join(f"{key}={row[key]}" for key in _overrides(row) if row[key] is not None)
        best = "" if row["best_score"] is None else f"{row['best_score']:.4f}"
        table.add_row(row["folder"], Text(overrides), Text(status), best, _tested_by(row, tested))
    console = Console()
    console.print(table)
    if (looks := note_sweep([sweep / row["folder"] for row in rows])) > 1:
        advice = f"choose by {monitor or 'validation'}: the best of several test figures is too good"
        console.print(Text(f"the same test split was looked at {looks} times; {advice}"), soft_wrap=True)
    console.print(Text(f"table   {sweep / FILE}"), soft_wrap=True)
    return int(any(row["status"] != "finished" for row in rows))


def refresh(sweep: Path) -> None:
    """Write sweep.csv as far as the jobs have come; a full disk is not what a sweep ends of."""
    with contextlib.suppress(OSError):
        write_text(sweep / FILE, as_csv(jobs(sweep)))


def jobs(sweep: Path) -> list[Row]:
    """List a row a job, those with the best monitored metric first, those that didn't finish last; all with equal keys.

    Keys: job, folder (below the sweep's), status, error, an override each that is not the same in all jobs, monitor,
    best_score, tests_of_split (how often the jobs of the sweep together have tested the split of this job, and so how
    little the best of the test columns is worth), the test metrics as test_NAME, test_NAME_lo and test_NAME_hi (95 %
    interval), costs.
    """
    folders = in_order(path for path in sweep.iterdir() if (path / record.FILE).is_file())
    fields = {folder: record.look(folder) for folder in folders}
    words = {folder: overrides(fields[folder].get("overrides") or ()) for folder in folders}
    keys = list(*words.values()) if len(folders) == 1 else varying(list(words.values()))
    tests = {folder: _tested(folder) for folder in folders}
    columns = dict.fromkeys(column for test, _ in tests.values() for column in test)
    monitor, mode = monitored(sweep)
    looks, rows = tests_of_splits(fields.values()), []
    for number, folder in enumerate(folders):
        facts = fields[folder]
        row: Row = {
            "job": int(folder.name) if folder.name.isdigit() else number,
            "folder": folder.name,
            "status": record.status(facts),
            "error": next(iter(str(facts.get("error") or tests[folder][1]).splitlines()), ""),
            **{key: words[folder].get(key) for key in keys},
            "monitor": monitor,
            "best_score": facts.get("best_score"),
            "tests_of_split": looks[split_of(facts)] or None,
            **{column: tests[folder][0].get(column) for column in columns},
            **{key: memory(facts.get(key)) for key in COSTS},
        }
        rows.append(row)
    return sorted(rows, key=lambda row: _rank(row, mode))


def monitored(sweep: Path) -> tuple[str, str]:
    """Read the metric that chooses checkpoints, and whether its max or min is best, from a job's configuration."""
    for file in sorted(sweep.glob("*/config.yaml")):
        try:
            config = read_yaml(file)
        except (OSError, ValueError):  # its own job says so, if it is started
            continue
        named = chooser(config.get("callbacks")) if isinstance(config, dict) else ("", "max")
        if named[0]:
            return named
    return "", "max"


def _rank(row: Row, mode: str) -> tuple[bool, float, int]:
    score = row["best_score"]
    return (
        row["status"] != "finished",
        float("inf") if score is None else -score if mode == "max" else score,
        row["job"],
    )


def _tested(folder: Path) -> tuple[Row, str]:
    """Read the test metrics of a job, and what is wrong with their file."""
    file = folder / "test_metrics.json"
    row: Row = {}
    try:
        metrics: Mapping[str, Any] = read_json(file)["metrics"] if file.is_file() else {}
        for name, result in metrics.items():
            low, high = result.get("ci95") or (None, None)
            row |= {f"test_{name}": result.get("value"), f"test_{name}_lo": low, f"test_{name}_hi": high}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        return {}, f"{file} is damaged ({type(error).__name__}): test the run again"
    return row, ""


def as_csv(rows: list[Row]) -> str:
    """Write the rows as CSV, numbers in full precision, what is unknown blank."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["job"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _overrides(row: Row) -> list[str]:
    keys = list(row)
    return keys[keys.index("error") + 1 : keys.index("monitor")]


def _is_metric(row: Row, key: str) -> bool:
    return key.startswith("test_") and not key.endswith(("_lo", "_hi")) and row[key] is not None


def _tested_by(row: Row, metric: str) -> str:
    value, low, high = (row.get(f"test_{metric}{end}") for end in ("", "_lo", "_hi"))
    return "" if value is None else f"{value:.3f}" + (f" ({low:.3f} to {high:.3f})" if low is not None else "")
