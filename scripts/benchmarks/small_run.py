"""What a small run spends outside of training, before a change and after it, in pairs.

    python scripts/benchmarks/small_run.py --before COMMIT [--pairs 5] [--jobs 3] [--table musk1.csv]

A fold of 92 bags (by default drawn: as many instances and features as MUSK1 has) is trained by the command of an
earlier commit, in a worktree of its own, and by that of this one, in turns: what slows the machine slows both. Then the
same as a sweep of some seeds. Processor time, as clocks tell of a busy machine more about its other programs; of the
pairs the median, and the median of the ratios within them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
PHASES = {
    "imports, composing, checks": "start",
    "training (Lightning's fit)": "fit",
    "the report and its plots": "build_report",
    "the rest: data, decision, metrics, files": "rest",
}
DRIVER = """
import json, os, sys, time
from medtrain import cli
from medtrain.core import verb

def timed(module, name, facts):
    plain = getattr(module, name)
    def call(*args, **more):
        began = time.process_time()
        try:
            return plain(*args, **more)
        finally:
            facts[name] = time.process_time() - began
    setattr(module, name, call)

command = verb.Verb.command.fget
def timing(self):
    module = command(self)
    if not hasattr(module, "timed"):
        module.timed = facts = {}
        for name in ("fit", "build_report", "main"):
            timed(module, name, facts)
        main = module.main
        def job(*args, **more):
            facts["start"] = time.process_time()
            try:
                return main(*args, **more)
            finally:
                facts["rest"] = facts["main"] - facts["fit"] - facts["build_report"]
                with open(os.environ["FACTS"], "a") as file:
                    print(json.dumps(facts), file=file)
        module.main = job
    return module
verb.Verb.command = property(timing)
sys.exit(cli.entry())
"""


def draw_bags(file: Path) -> None:
    """Write bags of the size of MUSK1's: its first columns are label and bag, and it has no header."""
    rng = np.random.default_rng(0)
    ends = np.sort(rng.choice(np.arange(1, 476), 91, replace=False))
    bag = np.searchsorted(ends, np.arange(476), side="right")
    x_NF = rng.normal(size=(476, 166)) + 0.4 * (bag % 2)[:, None]
    np.savetxt(file, np.column_stack([bag % 2, bag, x_NF]), delimiter=",", fmt=["%d", "%d", *["%.4f"] * 166])


@contextmanager
def worktree(commit: str, folder: Path) -> Iterator[Path]:
    """Check a commit out beside this one."""
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", "--quiet", str(folder), commit], check=True)
    (folder / "medtrain" / "configs").symlink_to(folder / "configs")  # its own, not those of an editable install
    try:
        yield folder
    finally:
        subprocess.run([*git, "remove", "--force", str(folder)], check=True)


def run(tree: Path, words: Sequence[str], facts: Path) -> float:
    """Run the command of a tree; returns the seconds of the processor that it and its children took."""
    facts.unlink(missing_ok=True)
    env = os.environ | {"PYTHONPATH": str(tree), "FACTS": str(facts), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", DRIVER, *words]
    process = subprocess.Popen(command, env=env, cwd=facts.parent, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(words)}: failed at {tree}")
    return used.ru_utime + used.ru_stime


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", required=True, help="a commit")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=3, help="seeds of the sweep; 0 leaves it out")
    parser.add_argument("--table", type=Path, help="bags as a CSV, by default drawn")
    given = parser.parse_args(argv)
    taken: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary, worktree(given.before, Path(temporary, "before")) as before:
        folder = Path(temporary)
        table = given.table.absolute() if given.table else folder / "bags.csv"
        if not given.table:
            draw_bags(table)
        words = ["task=wsi_mil", "data=feature_bags", f"data.table={table}", "data.folds=10", "data.fold=0"]
        sweep = ["-m", *words, f"seed={','.join(map(str, range(given.jobs)))}"]
        for tree in (before, ROOT):  # else the first run compiles, and that of another commit alone
            subprocess.run([sys.executable, "-m", "compileall", "-q", str(tree / "medtrain")], check=True)
        for number in range(given.pairs):
            sides = [one_side(tree, words, sweep if given.jobs else [], folder / f"{number}_{tree.name}")
                     for tree in (before, ROOT)]  # fmt: skip
            for what in sides[0]:
                taken.setdefault(what, []).append((sides[0][what], sides[1][what]))
    print(f"| what | {given.before}, s | now, s | now / before |\n|---|---|---|---|")
    for what, pairs in taken.items():
        one, other = (statistics.median(side) for side in zip(*pairs, strict=True))
        print(f"| {what} | {one:.2f} | {other:.2f} | {statistics.median(b / a for a, b in pairs):.2f} |")


def one_side(tree: Path, words: Sequence[str], sweep: Sequence[str], folder: Path) -> dict[str, float]:
    """Run one fold and a sweep; returns the processor's seconds by what took them."""
    folder.mkdir()
    facts = folder / "facts"
    whole = run(tree, [*words, f"hydra.run.dir={folder / 'run'}"], facts)
    single = json.loads(facts.read_text())
    row = {what: single[part] for what, part in PHASES.items()}
    row |= {"Python's end": whole - sum(row.values()), "outside of training": whole - single["fit"]}
    row["one run, all of it"] = whole
    if sweep:
        all_of_it = run(tree, [*sweep, f"hydra.sweep.dir={folder / 'sweep'}"], facts)
        jobs = [json.loads(line) for line in facts.read_text().splitlines()]
        row[f"a sweep of {len(jobs)}, all of it"] = all_of_it
        row[f"a sweep of {len(jobs)}, outside of training"] = all_of_it - sum(job["fit"] for job in jobs)
    return row


if __name__ == "__main__":
    main()
