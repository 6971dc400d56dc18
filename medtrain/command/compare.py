"""compare: runs side by side, with paired differences on the same patients. Reads run folders; needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from medtrain.config.runs import is_scores, run_folders
from medtrain.core.errors import UsageError
from medtrain.io.files import write_json
from medtrain.metric import EvalOptions
from medtrain.report.compared import Compared, ComparedRun, read_compared
from medtrain.report.comparison import compare, p_text, signed
from medtrain.report.scores import read_scores
from medtrain.report.words import duration, entry, label, memory, number

SIDE_BY_SIDE = 4  # runs of which every metric is printed; of more, the one that is compared


def main(cfg: DictConfig) -> int:
    """Print the comparison of ``runs``; write it to ``output`` where that is given."""
    wanted: Any = OmegaConf.to_container(cfg.compare.metric) if OmegaConf.is_config(cfg.compare.metric) else None
    wanted, baseline = wanted or cfg.compare.metric, cfg.compare.baseline
    options = EvalOptions.read(cfg.eval)
    runs = readable(folders(cfg), options.bootstrap)
    first = position(runs, baseline) if baseline else 0
    comparison = compare(runs, first, wanted, options.bootstrap, options.margin)
    if cfg.output:
        write_json(cfg.output, comparison)
    tell(comparison, first)
    if cfg.output:
        print(f"written to {cfg.output}")
    return 0


def folders(cfg: DictConfig) -> list[Path]:
    """Find the runs of the command line, the baseline among them.

    Raises:
        UsageError: none are named.
    """
    runs: Any = OmegaConf.to_container(cfg.runs) if OmegaConf.is_config(cfg.runs) else cfg.runs
    if not runs:
        raise UsageError("compare needs runs: medtrain compare RUN RUN, or compare outputs/xray_cls/*")
    paths = run_folders(runs, scores=True)
    extra = run_folders(cfg.compare.baseline, scores=True) if cfg.compare.baseline else []
    return [*paths, *(path for path in extra if path.resolve() not in {run.resolve() for run in paths})]


def readable(paths: Sequence[Path], bootstrap: int) -> list[ComparedRun]:
    """Read the runs that hold predictions of cases, scores too; the others are told and left out.

    Raises:
        UsageError: fewer than two are left, or no run that files could be compared with.
    """
    tried = {path: read_compared(path) for path in paths if not is_scores(path)}
    first = next((run for run in tried.values() if isinstance(run, Compared)), None)
    if first is not None:
        tried = {path: tried.get(path) or read_scores(path, first, bootstrap) for path in paths}
    for path, run in tried.items():
        if isinstance(run, str):
            print(f"left out {path}: {run}")
    runs = [run for run in tried.values() if not isinstance(run, str)]
    if len(runs) < 2:
        raise UsageError(f"compare needs two runs with test predictions; of {len(paths)} there are {len(runs)}")
    return runs


def position(runs: Sequence[ComparedRun], baseline: str) -> int:
    """Find which run the baseline is."""
    named = Path(baseline).expanduser().resolve()
    matches = [n for n, run in enumerate(runs) if Path(run.path).resolve() == named]
    if not matches:
        raise UsageError(f"compare.baseline={baseline}: not one run with test predictions")
    return matches[0]


def tell(comparison: Mapping[str, Any], baseline: int) -> None:
    """Print the tables and sentences."""
    console = Console()
    console.print(facts_table(comparison["runs"], comparison["metric"]))
    if len(comparison["runs"]) <= SIDE_BY_SIDE:
        console.print(metrics_table(comparison["runs"]))
    console.print(differences_table(comparison, baseline))
    for line in comparison["says"]:
        console.print(Text(line), soft_wrap=True)
    for note in comparison["notes"]:
        console.print(Text(f"note: {note}"), soft_wrap=True)


def facts_table(runs: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Make a line a run: what it is, what it cost, and the metric that is compared."""
    table = Table(title="runs", title_justify="left")
    for name in ("", "run", "model", "overrides", "cases", label(metric), "epochs", "images/s", "memory", "time"):
        table.add_column(name, overflow="fold")
    for n, run in enumerate(runs, start=1):
        peak = memory(run["peak_memory_mb"])
        table.add_row(
            str(n),
            Text(run["run"]),
            Text(str(run["model"] or "")),
            Text(" ".join(f"{key}={value}" for key, value in run["overrides"].items())),
            str(run["n_cases"]),
            _with_interval(run["metrics"].get(metric)),
            str(run["epochs"] or ""),
            "" if run["images_per_s"] is None else f"{run['images_per_s']:,.0f}",
            "" if peak is None else f"{peak:,.0f} MB",
            "" if run["wall_time_s"] is None else duration(run["wall_time_s"]),
        )
    return table


def metrics_table(runs: Sequence[Mapping[str, Any]]) -> Table:
    """Make a line a metric, a column a run: each on its own test cases."""
    table = Table(title="metrics (95 % interval)", title_justify="left")
    table.add_column("metric")
    for n in range(len(runs)):
        table.add_column(f"run {n + 1}")
    for name in dict.fromkeys(name for run in runs for name in run["metrics"] if not name.endswith("_micro")):
        table.add_row(Text(label(name)), *(_with_interval(run["metrics"].get(name)) for run in runs))
    return table


def differences_table(comparison: Mapping[str, Any], baseline: int) -> Table:
    """Make the table of paired differences: of two runs in every metric, of more in those tested.

    Why there is no interval stands once below it; what is the same in all rows stands in the title.
    """
    differences, tested = comparison["differences"], comparison["tested"]
    number_of = {run["run"]: str(n) for n, run in enumerate(comparison["runs"], start=1)}
    several = len(differences) * len(tested)
    reasons: list[str] = []
    rows: list[list[str | Text]] = [
        [
            runs,
            Text(label(name)),
            signed(result["value"]),
            _interval(result, reasons),
            *_tests(result, name in tested),
            *sizes,
        ]
        for difference in differences
        for runs in [", ".join(number_of[run] for run in difference.get("runs") or [difference["run"]])]
        for sizes in [[f"{difference[key]:,}" for key in ("n_cases", "n_patients")]]
        for name, result in difference["metrics"].items()
        if name in tested or (len(differences) == 1 and not name.endswith("_micro"))
    ]
    p = "p" if several == 1 else f"p, corrected for {several} tests"
    names = ["run", "metric", "difference", "95 % interval", p, "other test", "cases", "patients"]
    title = f"paired differences from run {baseline + 1}"
    if len(differences) == 1:
        title = f"run {rows[0][0]}: {title}, over {rows[0][-2]} cases of {rows[0][-1]} patients"
        names, rows = names[1:-2], [row[1:-2] for row in rows]
    table = Table(*names, title=title, title_justify="left", caption_justify="left")
    for row in rows:
        table.add_row(*row)
    table.caption = "\n".join(f"none ({n}): {reason}" for n, reason in enumerate(reasons, start=1)) or None
    return table


def _interval(result: Mapping[str, Any], reasons: list[str]) -> str:
    """Write an interval, or the number of the reason why there is none."""
    reason = result.get("reason")
    if result.get("ci95") or not reason:
        return entry(result)[1]
    if reason not in reasons:
        reasons.append(reason)
    return f"none ({reasons.index(reason) + 1})"


def _tests(result: Mapping[str, Any], tested: bool) -> tuple[str, str]:
    """Write the p of a tested metric, and that of another test where there is one."""
    test = result.get("analytic")
    return p_text(result["p_holm"]) if tested else "", f"{test['method']} {p_text(test['p'])}" if test else ""


def _with_interval(result: Mapping[str, Any] | None) -> str:
    if result is None or result.get("value") is None:
        return number(None)
    value, interval = entry(result)
    return f"{value} ({interval})" if result.get("ci95") else value
