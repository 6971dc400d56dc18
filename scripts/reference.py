"""Reference models of all tasks in one table: trains them, and writes docs/reference.md from what the runs recorded.

    python scripts/reference.py --data DATA --folder RUNS [--setting full] [--only resnet50 yolo] [--threads 1]
    python scripts/reference.py --list                      # rows, settings, and about how long each takes
    python scripts/reference.py --page                      # the page again, from docs/reference.json

DATA holds the public data sets that the rows name (scripts/reference_rows.py); a row whose data aren't there is left
out and listed as such. A row that this setting and this device have had already is not run again (--again does), a
killed one goes on where it was. `short` is what a CPU has time for, and no measure of what a network can learn; `full`
is the recipe of the task's page. A GPU is taken where there is one. The figures of a row are those of run.json and
test_metrics.json; docs/reference.json keeps them, so that rows of other machines stay.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reference_rows import MODELS, SETTINGS, Model

from medtrain.io.record import FILE
from medtrain.report.words import headline, label, memory

ROOT = Path(__file__).parents[1]

PAGE, FACTS = ROOT / "docs" / "reference.md", ROOT / "docs" / "reference.json"


@dataclass
class Done:
    """What the records of a row's runs say; all of it is read, nothing is typed.

    Args:
        value, interval: of the metric that the report names first.
        seconds: of all of the row's runs, tests and reports included.
        rate: cases a second while training; the median of several runs.
        memory_mb: at its highest: the GPU's where there is one, else the process's.
        load: how many processes wanted the machine's cores in the minute before the row began.
    """

    name: str
    setting: str
    command: str
    metric: str
    value: float
    interval: list[float] | None
    cases: int
    patients: int
    epochs: int
    seconds: float
    rate: float | None
    unit: str
    memory_mb: float | None
    hardware: str
    load: float
    versions: dict[str, str] = field(default_factory=dict)
    day: str = ""


def processor() -> str:
    """Name the CPU as the kernel does."""
    try:
        named = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        named = None
    return re.sub(r"\s+", " ", named[1]) if named else platform.machine()


def hardware(devices: Mapping[str, Any]) -> str:
    """Name what a run was trained on, from its record."""
    if devices["accelerator"] == "cpu":
        return f"{processor()}, {devices['threads']} of {devices['cpus']} cores"
    return f"{devices['count']} x {devices['name']}"


def train(model: Model, setting: str, given: argparse.Namespace) -> Path:
    """Train a row; returns the folder with its figures.

    Raises:
        RuntimeError: the command failed.
    """
    place = given.folder / f"{model.name}_{setting}"
    words = shlex.split(model.command(setting).format(data=given.data.absolute()))
    words.append(f"trainer.accelerator={given.accelerator}")
    if not model.data.folds:
        medtrain([*words, f"hydra.run.dir={place}", "resume=auto"], given.threads)
        return place
    folds = [f"data.folds={model.data.folds}", f"data.fold=range(0,{model.data.folds})", f"hydra.sweep.dir={place}"]
    medtrain(["-m", *words, *folds, "resume=auto"], given.threads)
    both = place.with_name(f"{place.name}_folds")
    if not (both / "test_metrics.json").is_file():
        medtrain(["ensemble", f"runs={place}", f"hydra.run.dir={both}"], given.threads)
    return both


def medtrain(words: Sequence[str], threads: int) -> None:
    """Run the command on so many threads."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(threads)}
    ended = subprocess.run([sys.executable, "-P", "-m", "medtrain", *words], env=env, capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError((ended.stderr or ended.stdout).strip()[-500:])


def read(model: Model, setting: str, place: Path, load: float) -> Done:
    """Read the figures of a row from the files of its runs."""
    test = json.loads((place / "test_metrics.json").read_text())
    runs = place.parent / place.name.removesuffix("_folds")
    records = [json.loads(file.read_text()) for file in sorted(runs.glob(f"*/{FILE}" if model.data.folds else FILE))]
    first, metric = records[0], headline(test["metrics"])
    assert metric is not None, f"{place}: no metric has a value"
    entry = test["metrics"][metric]
    entry = entry if isinstance(entry, dict) else {"value": entry}
    rates = [record["images_per_s"] for record in records if record.get("images_per_s")]
    peaks = [float(memory(record["peak_memory_mb"])) for record in records if record.get("peak_memory_mb")]
    return Done(
        name=model.name, setting=setting, command=model.command(setting), metric=label(metric), value=entry["value"],
        interval=entry.get("ci95"), cases=test["n_cases"], patients=test["n_patients"],
        epochs=max(record["epoch"] for record in records), seconds=sum(record["wall_time_s"] for record in records),
        rate=statistics.median(rates) if rates else None, unit=first.get("unit", "cases"),
        memory_mb=max(peaks, default=None), hardware=hardware(first["devices"]), load=round(load, 1),
        versions={name: first["versions"][name] for name in ("medtrain", "torch")}, day=first["started"][:10],
    )  # fmt: skip


def kept() -> list[Done]:
    """Read the rows that are there."""
    return [Done(**row) for row in json.loads(FACTS.read_text())] if FACTS.is_file() else []


def keep(done: Done) -> None:
    """Put a row beside the others; one of the same name, setting and hardware gives way. Then write the page."""
    rows = [row for row in kept() if (row.name, row.setting, row.hardware) != (done.name, done.setting, done.hardware)]
    order = [model.name for model in MODELS]
    rows = sorted([*rows, done], key=lambda row: (order.index(row.name), SETTINGS.index(row.setting), row.hardware))
    FACTS.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(rows), encoding="utf-8")


def page(done: Sequence[Done]) -> str:
    """Write the page: a row a model, those that were not run as such."""
    by_row: dict[tuple[str, str], list[Done]] = {}
    for row in done:
        by_row.setdefault((row.name, row.setting), []).append(row)
    lines = [HEAD, *TABLE]
    absent: list[tuple[Model, str, str]] = []
    data = None
    for model in MODELS:
        if model.data != data:
            data = model.data
            lines.append(f"| **{data.name}** |" + " |" * 8)
        fresh = {
            setting: [row for row in by_row.get((model.name, setting), ()) if row.command == model.command(setting)]
            for setting in SETTINGS
        }
        there = [row for rows in fresh.values() for row in rows]
        lines += [written(row) for row in there]
        absent += [
            (model, setting, minutes(model, setting, there))
            for setting in SETTINGS
            if not fresh[setting] and distinct(model, setting)
        ]
    versions = sorted({f"{row.versions['medtrain']} with torch {row.versions['torch']}" for row in done})
    if versions:
        lines += ["", f"Versions of medtrain: {', '.join(versions)}."]
    lines += [NOT_RUN, "| model | setting | minutes on a CPU, about | words |", "|---|---|---|---|"]
    for model, setting, about in absent:
        lines.append(f"| {model.name} | {setting} | {about} | `{model.command(setting).replace('{data}', 'DATA')}` |")
    return "\n".join(lines) + "\n"


def minutes(model: Model, setting: str, known: Iterable[Done]) -> str:
    """Forecast how long a row takes on a CPU: by epochs of what its other setting took there, else a guess."""
    measured = [
        row.seconds / 60 * model.epochs(setting) / model.epochs(row.setting) for row in known if "cores" in row.hardware
    ]
    if measured:
        return f"{min(measured):,.0f}, by its other row"
    return f"{model.minutes[SETTINGS.index(setting)]:,.0f}, a guess"


def distinct(model: Model, setting: str) -> bool:
    """Tell whether a setting is another one than the short one."""
    return setting == "short" or model.command("short") != model.command("full")


def written(row: Done) -> str:
    """Write a row of the table."""
    interval = f" ({row.interval[0]:.3f} to {row.interval[1]:.3f})" if row.interval else ""
    tested = f"{row.cases:,}" + (f" of {row.patients:,} patients" if row.patients != row.cases else "")
    took = f"{row.seconds / 60:.1f} min" if row.seconds >= 60 else f"{row.seconds:.0f} s"
    peak = "" if row.memory_mb is None else f"{row.memory_mb:,.0f}"
    rate = (
        "" if row.rate is None else f"{row.rate:,.3g} {row.unit}" if row.rate < 100 else f"{row.rate:,.0f} {row.unit}"
    )
    figures = [f"{row.metric} {row.value:.3f}{interval}", tested, row.epochs, peak, took, rate]
    return f"| {' | '.join(map(str, [row.name, row.setting, *figures, f'{row.hardware} ({row.load})']))} |"


HEAD = """# Reference models

Made by `scripts/reference.py`, which trains these networks and reads their records: nothing here is typed. `short`
shows that a row runs, and what it costs: after so few epochs its metric is no measure of what the network can learn.
`full` is the recipe of the task's page. Memory is the GPU's where there is one, else the process's; time is all of a
run, test and report included (of folds, the sum); the rate is of training. Load is the machine's average
of a minute before the row began: where it is above about 1, others had the cores too, and times and rates say little of
the hardware.
"""
TABLE = (
    "| model | setting | test metric (95 % interval) | tested on | epochs | memory, MB | time | a second "
    "| hardware (load) |",
    "|---|---|---|---|---|---|---|---|---|",
)
NOT_RUN = """
## Not run

`python scripts/reference.py --data DATA --folder RUNS --setting SETTING --only MODEL` runs a row, and without `--only`
all of a setting that are missing. These were not run:
"""


def rows_wanted(given: argparse.Namespace) -> list[Model]:
    """Choose the rows to run: those that are not there, and whose data are."""
    device = None if given.accelerator == "gpu" else processor()
    there = {(row.name, row.command) for row in kept() if (device is None) != row.hardware.startswith(device or " ")}
    wanted = []
    for model in MODELS:
        if given.only and model.name not in given.only:
            continue
        if not given.again and (model.name, model.command(given.setting)) in there:
            print(f"{model.name}, {given.setting}: is there already")
        elif model.data.needs and not (given.data / model.data.needs).exists():
            print(f"{model.name}, {given.setting}: left out, {given.data / model.data.needs} is not there")
        else:
            wanted.append(model)
    return wanted


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("MEDTRAIN_TEST_DATA", "DATA")))
    parser.add_argument("--folder", type=Path, default=Path("outputs/reference"), help="the runs'")
    parser.add_argument("--setting", choices=SETTINGS, default="short")
    parser.add_argument("--only", nargs="*", default=[], choices=[model.name for model in MODELS], help="rows")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--again", action="store_true", help="also what is there")
    parser.add_argument("--list", action="store_true", help="say what there is to run, and stop")
    parser.add_argument("--page", action="store_true", help="write the page from what is there, and stop")
    given = parser.parse_args(argv)
    if given.page:
        PAGE.write_text(page(kept()), encoding="utf-8")
        return 0
    if given.list:
        for model in MODELS:
            for setting, minutes in zip(SETTINGS, model.minutes, strict=True):
                print(f"{model.name:22} {setting:6} about {minutes:5.1f} minutes: {model.command(setting)}")
        return 0
    import torch

    given.accelerator = "gpu" if torch.cuda.is_available() else "cpu"
    given.folder = given.folder.absolute()
    failed = []
    for model in rows_wanted(given):
        load, began = os.getloadavg()[0], time.monotonic()
        try:
            done = read(model, given.setting, train(model, given.setting, given), load)
        except RuntimeError as error:  # the others can still be run
            failed.append(model.name)
            print(f"{model.name}, {given.setting}: failed: {error}", flush=True)
            continue
        keep(done)
        print(f"{written(done)}\n  {time.monotonic() - began:.0f} s", flush=True)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
