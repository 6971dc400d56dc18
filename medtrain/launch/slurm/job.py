"""A job on SLURM: what its processes do, what follows a preemption, and what a submission prints."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from medtrain.core.notice import notice
from medtrain.core.verb import LookUp
from medtrain.io import record
from medtrain.io.study import WORKER
from medtrain.launch import processes, threads
from medtrain.launch.slurm import cluster, queue


def run(look_up: LookUp, folder: str, patience_s: float, requeues: int, config_sha256: str = "") -> None:
    """Carry out the run that was made ready in `folder`, or go on with it, as each process of a job does.

    Args:
        look_up: finds the verb that the run's configuration names.
        patience_s: between the signal and the latest moment to stop.
        requeues: how often the job may start again.
        config_sha256: of the run's configuration as it was submitted.
    """
    notice.listen(patience_s)
    threads.settle()
    from medtrain.launch.dispatch import execute_saved  # slow to import: after the signals have their owner
    from medtrain.launch.execute import PREEMPTED

    code = execute_saved(folder, look_up, config_sha256)
    if code == PREEMPTED:
        code = 0 if processes.global_rank() else preempted(Path(folder), requeues)
    if code:
        sys.exit(code)


def work(
    command: Callable[[list[str]], int],
    words: list[str],
    variables: Mapping[str, str],
    name: str,
    patience_s: float,
    requeues: int,
) -> None:
    """Carry out trials as a worker of a search; what it was preempted in, it goes on with when it starts again.

    Args:
        command: carries out a command line.
        words: those of a worker.
        variables: of its environment.
        name: its own.
        patience_s, requeues: as of `run`.
    """
    notice.listen(patience_s)
    threads.settle()
    os.environ |= {**variables, WORKER: name}
    from medtrain.launch.execute import PREEMPTED  # as above

    code = command(words)
    if code == PREEMPTED:
        code = preempted(None, requeues)
    if code:
        sys.exit(code)


def preempted(folder: Path | None, requeues: int) -> int:
    """Start the job again, if it is not wanted gone; returns the exit code.

    Args:
        folder: of its run; None of a worker, whose trial goes on later whatever becomes of it.
    """
    job = queue.of_this_job()
    state, restarts = job.get("JobState", ""), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    run_record = _Nobody() if folder is None else record.RunRecord(folder)
    if state == "CANCELLED":
        run_record.finish("interrupted", "cancelled")
        return 143
    if state != "RUNNING":
        return 0  # SLURM has requeued it, or is about to
    if notice.given == signal.SIGTERM and job.get("PreemptTime", "None") == "None":
        run_record.finish(
            "failed", "ended by a SIGTERM that was no preemption: another process of the job died; see its logs"
        )
        return 1
    if restarts >= requeues:
        run_record.finish("failed", f"preempted, and requeued {restarts} times already (hydra.launcher.max_requeues)")
        return 1
    print(f"saved; the job starts again (number {restarts + 1})", flush=True)
    fault = queue.requeue()
    if fault:
        run_record.finish("failed", f"preempted, and SLURM did not requeue it: {fault}")
        print(f"error: SLURM did not requeue the job: {fault}", file=sys.stderr)
    return int(bool(fault))


class _Nobody:
    """Stands in for the record of a run where there is none to close."""

    def finish(self, status: str, error: str | None = None) -> None:
        print(f"{status}: {error}", file=sys.stderr, flush=True)


def submitted(sweep: Path) -> int:
    """Print what was submitted, and how to follow it."""
    ids = cluster.submitted(sweep)
    for name, job in ids.items():
        print(f"job {name}: SLURM {job}, log {queue.log_file(sweep, job)}")
    print(f"sweep {sweep}\nfollow it: medtrain status {sweep}")
    return 0
