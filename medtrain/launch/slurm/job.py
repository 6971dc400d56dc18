"""A job on SLURM: what its processes do, what follows a preemption, and what a submission prints."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from medtrain.core.notice import notice
from medtrain.core.verb import LookUp
from medtrain.io import record
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


def preempted(folder: Path, requeues: int) -> int:
    """Start the job again, if it is not wanted gone; returns the exit code."""
    job = queue.of_this_job()
    state, restarts = job.get("JobState", ""), int(os.environ.get("SLURM_RESTART_COUNT") or 0)
    run_record = record.RunRecord(folder)
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


def submitted(sweep: Path) -> int:
    """Print what was submitted, and how to follow it."""
    ids = cluster.submitted(sweep)
    for name, job in ids.items():
        print(f"job {name}: SLURM {job}, log {queue.log_file(sweep, job)}")
    print(f"sweep {sweep}\nfollow it: medtrain status {sweep}")
    return 0
