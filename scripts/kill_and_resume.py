"""Kills a small training at random moments, resumes it, and compares its weights with those of an undisturbed run.

    python scripts/kill_and_resume.py FOLDER [--kills 30] [--seed 0] [medtrain's overrides ...]

Each kill is a SIGKILL of the process at a moment drawn between its first optimizer step and its end; checkpoints are
written after each step, so that runs go on in the middle of epochs. Prints a line a kill and ends with 1 if any weight,
prediction or logged loss differs. `--devices 2` kills the parent of two processes, which then end with it.

Runs are forked from this process, which has imported what they need: a start takes most of such a training's time.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import sys
import time
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from pathlib import Path

import pandas as pd
import torch

import medtrain.command.train  # noqa: F401 so that the runs need not import it
from medtrain.cli import main
from medtrain.io import record

SMALL = (
    "data.patients=24 data.image_size=32 data.batch_size=8 data.num_workers=0 model=resnet18 model.dropout=0.2 "
    "augment=light trainer=cpu trainer.max_epochs=3 callbacks.last.every_n_steps=1 eval.bootstrap=0"
).split()
TIMING = ["images_per_s", "data_wait"]


def start(words: list[str], said: Path) -> BaseProcess:
    """A run in a process of its own, its output in a file."""
    process = get_context("fork").Process(target=_run, args=(words, said))
    process.start()
    return process


def _run(words: list[str], said: Path) -> None:
    with open(said, "w") as file:
        for number in (1, 2):
            os.dup2(file.fileno(), number)
        sys.exit(main(words))


def whole(words: list[str], run: Path) -> float:
    """The undisturbed run; returns how many seconds its training took from the first checkpoint to the last one."""
    process = start([*words, f"hydra.run.dir={run}"], run.with_suffix(".log"))
    began = first_checkpoint(process, run)
    process.join()
    if process.exitcode:
        raise SystemExit(f"the undisturbed run failed: {run.with_suffix('.log').read_text()}")
    return (run / "checkpoints" / "last.ckpt").stat().st_mtime - began


def first_checkpoint(process: BaseProcess, run: Path) -> float:
    while not (run / "checkpoints" / "last.ckpt").is_file() and process.is_alive():
        time.sleep(0.02)
    return time.time()


def kill(words: list[str], run: Path, after: float) -> None:
    """Start, and kill so many seconds after the first checkpoint."""
    process = start([*words, f"hydra.run.dir={run}"], run.with_suffix(".log"))
    first_checkpoint(process, run)
    time.sleep(after)
    process.kill()
    process.join()
    while record.is_alive(record.read(run)):  # ranks die with their parent
        time.sleep(0.05)


def weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """Read weights on the CPU: a process that has touched a GPU can't fork runs that use it."""
    state: dict[str, torch.Tensor] = torch.load(checkpoint, weights_only=True, map_location="cpu")["state_dict"]
    return state


def differences(one: Path, other: Path) -> list[str]:
    found = []
    for name in ("last", "best"):
        a, b = (weights(r / "checkpoints" / f"{name}.ckpt") for r in (one, other))
        found += [f"{name}: {key}" for key in a.keys() | b.keys() if not torch.equal(a[key], b[key])]
    logs = [pd.read_csv(run / "metrics.csv").drop(columns=TIMING) for run in (one, other)]
    found += ["metrics.csv"] * (not logs[0].equals(logs[1]))
    tables = [(run / "test_predictions.csv").read_text() for run in (one, other)]
    return found + ["test_predictions.csv"] * (tables[0] != tables[1])


def harness() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--devices", type=int, default=1)
    arguments, overrides = parser.parse_known_args()
    words, draw, failed = [*SMALL, *overrides], random.Random(arguments.seed), 0
    words.append(f"trainer.devices={arguments.devices}")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    reference = arguments.folder / "whole"
    seconds = whole(words, reference)
    print(f"undisturbed: {seconds:.1f} s from the first checkpoint on", flush=True)
    for number in range(arguments.kills):
        run, after = arguments.folder / f"killed_{number}", draw.uniform(0, seconds)
        kill(words, run, after)
        resumed = start([f"resume={run}"], run.with_suffix(".log"))
        resumed.join()
        said = run.with_suffix(".log").read_text()
        unlike = differences(reference, run) if resumed.exitcode == 0 else [said.strip()[-200:]]
        failed += bool(unlike)
        where = next((line.split(" (")[0] for line in said.splitlines() if line.startswith("going on")), "")
        state = where or "all but the report was done"
        print(f"{number + 1}: {after:.2f} s, {state}: {', '.join(unlike[:3]) or 'equal'}", flush=True)
        shutil.rmtree(run)
    print(f"{arguments.kills} kills, {failed} with another result")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(harness())
