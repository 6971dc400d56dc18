"""Disturbs trainings on a real SLURM in every way that clusters do, and compares what they come to.

    python scripts/slurm/cluster.py up CLUSTER --nodes 2
    SLURM_CONF=CLUSTER/slurm.conf python scripts/slurm/trial.py FOLDER [--only preempted,signal] [overrides ...]

Weights, predictions and logged losses of each disturbed job are compared with those of an undisturbed run of the same
configuration and number of processes. Prints a line a trial; ends with 1 if any differs. Needs the two emulated nodes
of cluster.py (MASTER_ADDR is set accordingly) and root, which owns the processes that are killed.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1]))
from kill_and_resume import differences

SMALL = (
    "data.patients=24 data.image_size=32 data.batch_size=8 data.num_workers=1 model=resnet18 model.dropout=0.2 "
    "augment=light trainer=cpu trainer.max_epochs=6 eval.bootstrap=0"
).split()
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "data.num_workers=0"]
NODES = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=1", "trainer.num_nodes=2", "data.num_workers=0"]


def medtrain(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "medtrain", *words], capture_output=True, text=True)


def submit(sweep: Path, *words: str) -> str:
    """Submit a run; its id in SLURM."""
    said = medtrain("submit", *words, f"hydra.sweep.dir={sweep}")
    if said.returncode:
        raise SystemExit(said.stderr)
    return str(json.loads((sweep / "slurm" / "jobs.json").read_text())["0"])


def facts(run: Path) -> dict[str, object]:
    return dict(json.loads((run / "run.json").read_text()))


def until(what: Callable[[], bool], seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not what():
        if time.monotonic() > end:
            raise TimeoutError
        time.sleep(0.1)


def trained(sweep: Path, epochs: int = 1) -> None:
    """Until the job has ended so many epochs, and is in the middle of the next."""
    table = sweep / "0" / "metrics.csv"
    until(lambda: table.is_file() and len(table.read_text().splitlines()) > epochs)
    time.sleep(0.5)


def over(sweep: Path) -> None:
    until(lambda: facts(sweep / "0")["status"] in ("finished", "failed", "interrupted"))


def restarts(job: str) -> int:
    told = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True).stdout
    return int((re.search(r"Restarts=(\d+)", told) or [0, 0])[1])


def starts(sweep: Path) -> list[str]:
    """Where each further start of a job went on."""
    logs = [file.read_text(errors="replace") for file in sorted(sweep.glob("slurm/*_0_log.out"))]
    return re.findall(r"going on after (epoch \d+(?: and \d+ batches)?)", "".join(logs))


def processes_of(run: Path) -> list[int]:
    """The process of a job's first rank."""
    return [int(str(facts(run)["pid"]))]


def preempted(sweep: Path, *words: str) -> str:
    job = submit(sweep, *words)
    trained(sweep)
    subprocess.run(["sbatch", "-p", "high", "-N2", "--exclusive", "-o", os.devnull, "--wrap", "sleep 3"], check=True)
    return job


def signalled(sweep: Path, *words: str) -> str:
    job = submit(sweep, *words)
    trained(sweep)
    subprocess.run(["scancel", "--signal=USR2", job], check=True)
    return job


def time_limit(sweep: Path, *words: str) -> str:
    return submit(sweep, *words, "hydra.launcher.time=2", "hydra.launcher.warn_s=45")


def killed(sweep: Path, *words: str) -> str:
    """The process dies without a word; `sweep.retry` submits it anew."""
    job = submit(sweep, *words)
    trained(sweep, 2)
    for process in processes_of(sweep / "0"):
        os.kill(process, signal.SIGKILL)
    until(lambda: medtrain("status", str(sweep)).returncode == 1)
    print(f"  status: {facts(sweep / '0')['error']}")
    return submit(sweep, "sweep.retry=failed") or job


def node_lost(sweep: Path, *words: str) -> str:
    """As when a node fails: SLURM requeues the job, its processes get no signal to save at."""
    job = submit(sweep, *words)
    trained(sweep, 2)
    os.kill(processes_of(sweep / "0")[0], signal.SIGSTOP)
    subprocess.run(["scontrol", "requeue", job], check=True)
    return job


TRIALS: dict[str, tuple[Callable[..., str], list[str]]] = {
    "two processes": (submit, TWO),
    "two nodes": (submit, NODES),
    "preempted": (preempted, []),
    "signal": (signalled, []),
    "time limit": (time_limit, ["trainer.max_epochs=150", "callbacks.early_stopping=null"]),
    "killed and retried": (killed, []),
    "node lost": (node_lost, []),
    "preempted on two nodes": (preempted, NODES),
    "signal to two processes": (signalled, TWO),
}


def reference(folder: Path, words: list[str]) -> Path:
    """The undisturbed run of a configuration: on this machine, without SLURM."""
    name = "whole_" + "_".join(re.sub(r"\W+", "_", word) for word in words)
    run = folder / name
    if not (run / "report.html").is_file():
        words = [*words, "trainer.devices=2", "trainer.num_nodes=1"] if words == NODES else words
        said = medtrain(*SMALL, *words, f"hydra.run.dir={run}")
        if said.returncode:
            raise SystemExit(said.stderr)
    return run


def sweep_of_four(folder: Path, more: list[str]) -> bool:
    """Four jobs, of which one fails and leaves the others running."""
    words = ["data.columns.label=label,lable", "optimizer.lr=1e-3,1e-4", "hydra/launcher=slurm"]
    said = medtrain("-m", *SMALL, *more, *words, f"hydra.sweep.dir={folder / 'sweep'}")
    states = [facts(folder / "sweep" / str(job))["status"] for job in range(4)]
    print(f"sweep of 4: exit code {said.returncode}, {', '.join(map(str, states))}", flush=True)
    return said.returncode == 1 and states == ["finished", "finished", "failed", "failed"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    arguments, more = parser.parse_known_args()
    os.environ["MASTER_ADDR"] = "127.0.0.1"  # both nodes are this machine
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    folder, wanted = arguments.folder, [name for name in arguments.only.split(",") if name]
    folder.mkdir(parents=True, exist_ok=True)
    bad = 0
    if not wanted or "sweep" in wanted:
        bad += not sweep_of_four(folder, more)
    for name, (trial, words) in TRIALS.items():
        if wanted and name not in wanted:
            continue
        whole, sweep = reference(folder, [*words, *more]), folder / re.sub(r"\W+", "_", name)
        began = time.monotonic()
        try:
            job = trial(sweep, *SMALL, *words, *more)
            over(sweep)
            status = str(facts(sweep / "0")["status"])
            unlike = differences(whole, sweep / "0") if status == "finished" else [str(facts(sweep / "0").get("error"))]
            again = f"{restarts(job)} requeues, went on after {'; '.join(starts(sweep)) or 'nothing'}"
        except (TimeoutError, FileNotFoundError) as error:
            status, unlike, again = "?", [repr(error)], ""
        bad += bool(unlike)
        seconds = time.monotonic() - began
        print(f"{name}: {status}, {again}, {seconds:.0f} s: {', '.join(unlike[:3]) or 'equal'}", flush=True)
    print(f"{bad} with another result")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
