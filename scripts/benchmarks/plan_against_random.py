"""Is what `medtrain plan` writes as good as a random search that takes as long? On several small tables, a line each.

    python scripts/benchmarks/plan_against_random.py --folder RUNS [--data DATA] [--only bags films] [--trials 20]

Each table is planned and trained as planned. Then so many trials are drawn at random (network, rate, weight decay,
batch, augmentation, ...), each with an even share of the planned epochs (`--each`: with as many as planned), and the
one that is best on validation is tested, by `hydra/sweeper=optuna`. The paired 95 % interval of the difference on the
same test cases is `medtrain compare`'s. Seconds are the processor's, imports included. DATA holds the folders `mil` and
`medmnist`; tables of it that aren't there are left out, and named. What is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from sklearn.datasets import load_breast_cancer

ARRAYS = ("images", "labels")
RATES = ("optimizer.lr=tag(log,interval(1e-5,1e-2))", "optimizer.weight_decay=tag(log,interval(1e-5,1e-1))")
DROPOUT = "model.dropout=0.0,0.2,0.5"
BAGS = (*RATES, "data.batch_size=4,8,16,32", "model=mean_mil,max_mil,attention_mil,gated_attention_mil,transmil")
FEATURES = (*RATES, "data.batch_size=4,8,16,32", "model=linear_probe,mlp_probe,gated_attention_mil", DROPOUT)
FILMS = (*RATES, "data.batch_size=16,32,64", "augment=none,light,small,strong", DROPOUT, "task.mixup=0.0,0.2")
AUGMENT_3D = "augment=none,volume_light,volume_strong"
VOLUMES = (*RATES, "data.batch_size=4,8,16", AUGMENT_3D, "model.width=16,32,64", DROPOUT)


@dataclass(frozen=True)
class Table:
    """Data that are planned for and searched on.

    Args:
        words: the command's, of the data.
        space: what trials draw.
        fixed: what trials have in common, a network that trains in the time that there is.
        of: the folder of DATA that it needs.
        make: writes the files into a folder, from DATA.
    """

    words: str
    space: tuple[str, ...]
    fixed: tuple[str, ...] = ()
    of: str = ""
    make: Callable[[Path, Path], None] = lambda folder, data: None


def few_films(folder: Path, data: Path) -> None:
    """Write 500, 200 and 624 films of PneumoniaMNIST, validation first of those that don't stand in training."""
    whole = np.load(data / "medmnist" / "pneumoniamnist.npz")
    rng = np.random.default_rng(0)
    train = rng.permutation(len(whole["train_images"]))[:500]
    seen = {whole["train_images"][n].tobytes() for n in train}
    val = [n for n in rng.permutation(len(whole["val_images"])) if whole["val_images"][n].tobytes() not in seen][:200]
    parts = {"train": train, "val": np.array(val), "test": np.arange(len(whole["test_images"]))}
    np.savez(
        folder / "few.npz",
        **{f"{part}_{what}": whole[f"{part}_{what}"][rows] for part, rows in parts.items() for what in ARRAYS},
    )


def features(folder: Path, data: Path) -> None:
    """Write scikit-learn's breast cancer table as bags of one instance: label, bag, 30 features."""
    x_NF, y_N = load_breast_cancer(return_X_y=True)
    rows = np.column_stack([y_N, np.arange(len(y_N)), x_NF])
    np.savetxt(folder / "features.csv", rows, delimiter=",", fmt=["%d", "%d", *["%.6g"] * x_NF.shape[1]])


ON_FILMS, ON_VOLUMES = ("model=resnet18",), ("model=resnet10_3d",)
TABLES = {
    "bags (MUSK1)": Table("data=feature_bags data.table={data}/mil/musk1.csv", BAGS, of="mil"),
    "features (breast cancer)": Table("data=feature_bags data.table={folder}/features.csv", FEATURES, make=features),
    "slides (drawn)": Table("data=phantom_slide data.patients=60 data.slide_px=512 data.tile_px=64", BAGS),
    "films (drawn, 32 px)": Table("data=phantom_xray data.patients=150 data.image_size=32", FILMS, ON_FILMS),
    "films (500 of PneumoniaMNIST)": Table(
        "data=medmnist data.file={folder}/few.npz", FILMS, ON_FILMS, "medmnist", few_films
    ),
    "volumes (drawn)": Table("data=phantom_volume data.patients=150 data.patch_size=16", VOLUMES, ON_VOLUMES),
}


def command(words: Sequence[str], folder: Path, log: str) -> float:
    """Run medtrain in a folder; returns the seconds of the processor that it took."""
    with (folder / log).open("w") as file:
        process = subprocess.Popen([sys.executable, "-m", "medtrain", *words], cwd=folder, stdout=file, stderr=file)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"medtrain {' '.join(words)}: see {folder / log}\n{(folder / log).read_text()[-800:]}")
    return used.ru_utime + used.ru_stime


def once(folder: Path, name: str, words: Sequence[str]) -> float:
    """Run a command unless it has been run in this folder; returns its seconds of the processor."""
    file = folder / f"{name}.seconds"
    if not file.exists():
        file.write_text(str(command(words, folder, f"{name}.txt")))
    return float(file.read_text())


def against(name: str, table: Table, folder: Path, given: argparse.Namespace) -> str:
    """Plan, train as planned, search, and compare on the test cases; a line of the table."""
    folder.mkdir(parents=True, exist_ok=True)
    table.make(folder, given.data)
    words = [word.format(data=given.data.absolute(), folder=folder.absolute()) for word in table.words.split()]
    if not any(word.startswith("data.file=") for word in words):  # which is split already
        words.append("data.folds=null")
    experiment = Path("medtrain_configs", "experiment", "planned.yaml")
    once(folder, "plan", ["plan", *words, f"plan.hours={given.hours}", f"output={experiment}"])
    planned = once(folder, "planned", ["experiment=planned", "hydra.run.dir=planned"])
    chosen = yaml.safe_load((folder / "planned" / "config.yaml").read_text())
    epochs = int(chosen["trainer"]["max_epochs"])
    one = epochs if given.each else max(1, math.ceil(epochs / given.trials))
    search = f"search_{one}"
    own = [f"task={chosen['task']['name']}", *words, *table.fixed, *table.space, f"trainer.max_epochs={one}"]
    drawn = ["hydra/sweeper=optuna", "hydra.sweeper.sampler=random", f"hydra.sweeper.n_trials={given.trials}"]
    searched = once(folder, search, ["-m", *drawn, f"hydra.sweep.dir={search}", *own])
    best = next((folder / search).glob("*/test_test")).relative_to(folder)
    compared = folder / f"{search}.json"
    once(folder, f"{search}_compared", ["compare", "planned", str(best), f"output={compared.name}"])
    result = json.loads(compared.read_text())
    metric = result["metric"]
    difference = result["differences"][0]["metrics"][metric]
    ours, others = (run["metrics"][metric]["value"] for run in result["runs"])
    ends = [f"{-end:+.3f}" for end in reversed(difference["ci95"] or [])]  # none where it doesn't vary
    tested = f"{result['differences'][0]['n_cases']} of {result['differences'][0]['n_patients']}"
    figures = f"{ours:.3f} | {others:.3f} | {-difference['value']:+.3f} ({' to '.join(ends) or 'none'})"
    return f"| {name} | {tested} | {epochs} | {given.trials} x {one} | {figures} | {planned:.0f} | {searched:.0f} |"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="of the runs")
    parser.add_argument("--data", type=Path, default=Path("data"), help="public data sets")
    parser.add_argument("--only", nargs="*", default=[""], help="tables whose name begins so")
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--each", action="store_true", help="each trial takes all of the planned epochs, not a share")
    parser.add_argument("--hours", type=float, default=0.03, help="that a planned training may take")
    given = parser.parse_args(argv)
    print("| table | tested, of patients | epochs | trials | plan | best trial | difference (95 %) | s | s |")
    print("|---|---|---|---|---|---|---|---|---|")
    for number, (name, table) in enumerate(TABLES.items()):
        if not name.startswith(tuple(given.only)):
            continue
        if not (given.data / table.of).is_dir():
            print(f"{name}: left out, {given.data / table.of} isn't there", file=sys.stderr)
            continue
        print(against(name, table, given.folder / str(number), given), flush=True)


if __name__ == "__main__":
    main()
