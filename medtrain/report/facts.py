"""The facts that one needs to trust or repeat a run: versions, machine, time, and its whole configuration."""

from __future__ import annotations

from typing import Any

from medtrain.core.monitor import LOSS
from medtrain.report.folder import RunFolder
from medtrain.report.views import Listing, Section, part, section, table, texts
from medtrain.report.words import duration, numeric, one_line


@section()
def the_run(run: RunFolder) -> Section | None:
    """List the facts of a run."""
    rows = [(name, texts(value)) for name, value in facts(run)]
    return part("run", "The run", table([], rows, "facts", "Facts of the run"))


@section()
def configuration(run: RunFolder) -> Section | None:
    """Show config.yaml."""
    text = Listing(run.config) if run.config.strip() else None
    return part("config", "Configuration", text, link="", folded=True)


def facts(run: RunFolder) -> list[tuple[str, str]]:
    """List (name, value) of what run.json says of the run, in words."""
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
        ("Images per second", f"{rate:,.0f}" if numeric(rate) else rate),
        ("Waiting for data", f"{100 * wait:.0f} % of the time" if numeric(wait) else wait),
        ("Peak memory", _megabytes(memory)),
        ("Epoch kept", epoch_kept(run)),
        ("Held out", r.get("held_out")),
        ("Control", r.get("control") and f"data.control={r['control']}: no result of the model itself"),
        ("Times tested", r.get("tests_counted")),
        ("Tests by its sweep", r.get("tests_of_sweep")),
        ("Versions", r.get("versions")),
        ("Code", r.get("git")),
        ("Fingerprints", r.get("fingerprints")),
    ]
    return [(name, one_line(value)) for name, value in rows if value not in (None, "", {}, [])]


def epoch_kept(run: RunFolder) -> str | None:
    """Say which epoch's weights were kept, by what, and whether the loss decided between equal ones."""
    epoch, node = run.run.get("best_epoch"), (run.configuration.get("callbacks") or {}).get("best") or {}
    if not isinstance(epoch, int):
        return None
    name, history = node.get("monitor"), run.history
    if history is None or "epoch" not in history or name not in history:
        return f"{epoch}, counted from 0"
    values = history.groupby("epoch")[str(name)].mean().dropna()
    equal = int((values == values.get(epoch)).sum())
    tie = f"; {equal} epochs are equal in it, of which this one has the lowest {LOSS}" if equal > 1 else ""
    most = "lowest" if node.get("mode") == "min" else "highest"
    return f"{epoch}, counted from 0, of {len(values)}: the {most} {name}{tie}"


def _megabytes(memory: Any) -> Any:
    """Word the memory of the process, or of each place where memory is."""
    if isinstance(memory, dict):
        return {place: _megabytes(amount) for place, amount in memory.items()}
    return f"{memory:,.0f} MB" if numeric(memory) else memory
