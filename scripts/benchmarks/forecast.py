"""What `medtrain plan` forecasts, and what then comes: time of epochs and in all, memory, for a training of each kind.

    python scripts/benchmarks/forecast.py [--data DATA] [--only films bags] [--epochs 3]

Each row is planned, then trained as planned but for the number of epochs, with one thread and without workers. What
came is the processor's seconds of that process, Python's imports included: on a machine that does nothing else they are
what a clock shows, and on a busy one the forecast is of such a machine. DATA holds `mil/musk1.csv`, `medmnist` and
`lidc_nodules`; rows of what isn't there are left out. Below the table stands what the seconds after the last epoch went
into, from which `medtrain/command/forecast.py` has its two constants.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROWS = {
    "films": "data=phantom_xray data.patients=100 data.folds=null",
    "PneumoniaMNIST": "data=medmnist data.file={data}/medmnist/pneumoniamnist.npz data.leakage=warn eval.tta=0",
    "volumes": "data=phantom_volume data.patients=100 data.folds=null",
    "LIDC": "data=volume_table data.table={data}/lidc_nodules/nodules.csv data.folds=5 data.fold=0",
    "bags": "data=feature_bags data.table={data}/mil/musk1.csv data.folds=null",
    "slides": "data=phantom_slide data.patients=40 data.slide_px=512 data.tile_px=64 data.folds=null",
    "boxes": "data=phantom_lesion data.patients=60 data.image_size=128 data.folds=null",
    "masks": "task=volume_seg data=phantom_volume data.patients=24 data.folds=null",
}
DRIVER = """
import dataclasses, json, os, sys, time
from medtrain import cli
from medtrain.core import verb

facts = {}

def timed(module, name):
    plain = getattr(module, name)
    def call(*args, **more):
        began = time.process_time()
        result = plain(*args, **more)
        facts[name] = facts.get(name, 0.0) + time.process_time() - began
        if dataclasses.is_dataclass(result):
            facts["forecast"] = dataclasses.asdict(result) | {"epochs": result.once + EPOCHS * result.epoch,
                                                          "total": result.total(EPOCHS)}
        return result
    setattr(module, name, call)

EPOCHS = int(os.environ["EPOCHS"])
command = verb.Verb.command.fget
def timing(self):
    module = command(self)
    for name in ("forecast", "fit", "run_loader", "evaluate", "build_report"):
        if hasattr(module, name) and name not in facts:
            facts[name] = 0.0
            timed(module, name)
    main = module.main
    def job(*args, **more):
        try:
            return main(*args, **more)
        finally:
            with open(os.environ["FACTS"], "w") as file:
                json.dump(facts, file)
    module.main = job
    return module
verb.Verb.command = property(timing)
sys.exit(cli.entry())
"""


def run(words: Sequence[str], folder: Path, epochs: int) -> tuple[dict[str, Any], float, float]:
    """Run medtrain in a folder; returns the driver's notes, seconds of the processor, largest memory in GB."""
    facts = folder / "facts.json"
    env = os.environ | {"FACTS": str(facts), "EPOCHS": str(epochs), "OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("w") as log:
        command = [sys.executable, "-P", "-c", DRIVER, *words]
        process = subprocess.Popen(command, env=env, cwd=folder, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: failed\n{(folder / 'log.txt').read_text()[-2000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return json.loads(facts.read_text()), used.ru_utime + used.ru_stime, used.ru_maxrss * unit / 1e9


def row(name: str, words: Sequence[str], folder: Path, epochs: int) -> dict[str, Any]:
    """Plan, train, and put both side by side: {what: (forecast, came)}, and the parts after the last epoch."""
    ours = ["data.num_workers=0", "trainer=cpu", *words]
    folder.mkdir()
    planned, _, _ = run(["plan", *ours, "plan.hours=1000", f"output={HOME}/{name.lower()}.yaml"], folder, epochs)
    said = planned["forecast"]
    run_words = [f"experiment={name.lower()}", "trainer=cpu", f"trainer.max_epochs={epochs}", "hydra.run.dir=run"]
    came, seconds, memory = run(run_words, folder, epochs)
    judged = sum(1 for file in ("val", "test") for _ in (folder / "run" / f"{file}_predictions.csv").open()) - 2 if (
        folder / "run" / "val_predictions.csv").is_file() else 0  # fmt: skip
    return {
        f"s for {epochs} epochs": (said["epochs"], came["fit"]),
        f"s for {epochs} epochs and the test": (said["total"], seconds),
        "GB": (said["memory_mb"]["process"] / 1000, memory),
        "after": {part: came[part] for part in ("run_loader", "evaluate", "build_report")} | {"judged": judged},
        "slowed": said["slowed"],
    }


HOME = "medtrain_configs/experiment"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("data"), help="public data sets")
    parser.add_argument("--only", nargs="*", choices=ROWS, default=list(ROWS), help="rows")
    parser.add_argument("--epochs", type=int, default=3, help="that are trained")
    given = parser.parse_args(argv)
    print("| training | what | forecast | came | ratio |\n|---|---|---|---|---|")
    parts = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in given.only:
            words = ROWS[name].format(data=given.data.absolute()).split()
            files = [word.partition("=")[2] for word in words if word.startswith(("data.file=", "data.table="))]
            if lacking := [file for file in files if not Path(file).is_file()]:
                print(f"{name}: left out, {lacking[0]} isn't there", file=sys.stderr)
                continue
            made = row(name, words, Path(temporary, name), given.epochs)
            after, slowed = made.pop("after"), made.pop("slowed")
            for what, (said, came) in made.items():
                print(f"| {name} | {what} | {said:.2f} | {came:.2f} | {said / came:.2f} |", flush=True)
            parts.append(f"| {name} | " + " | ".join(f"{after[part]:.2f}" for part in after) + f" | {slowed:.1f} |")
    print(
        "\n| training | val and test passes, s | metrics, s | report, s | judged | slowed |\n|---|---|---|---|---|---|"
    )
    print("\n".join(parts))


if __name__ == "__main__":
    main()
