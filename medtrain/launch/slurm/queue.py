"""The state of jobs in SLURM, and what that means for run folders whose process died without a word."""

from __future__ import annotations

import getpass
import os
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from medtrain.io import record
from medtrain.launch.slurm.cluster import FOLDER, submitted

WAITING = ("PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "RESV_DEL_HOLD", "SUSPENDED", "STOPPED")
RUNNING = ("RUNNING", "COMPLETING", "SIGNALING", "STAGE_OUT", "RESIZING")
MEANING = {  # of a job that SLURM has ended
    "CANCELLED": "cancelled",
    "OUT_OF_MEMORY": "out of memory on its node; ask for more by hydra.launcher.memory=",
    "TIMEOUT": "it met its time limit before it could save",
    "NODE_FAIL": "its node failed",
    "BOOT_FAIL": "its node did not start",
    "DEADLINE": "it could not end before its deadline",
    "PREEMPTED": "preempted, and not requeued by the cluster",
}
CRASHED = ("FAILED", "OUT_OF_MEMORY")  # by what the job did, so it would again
ENDED = ("finished", "pruned", "failed", "interrupted")


@dataclass(frozen=True)
class State:
    """A job as SLURM sees it."""

    name: str
    node: str = ""
    reason: str = ""

    @property
    def waits(self) -> bool:
        return self.name in WAITING

    @property
    def ended(self) -> bool:
        return self.name not in (*WAITING, *RUNNING)


def states(ids: Iterable[str]) -> dict[str, State] | None:
    """Ask SLURM what it knows of these jobs: the controller, of older ones the accounting; None without an answer."""
    wanted = set(ids)
    if not wanted:
        return {}
    answer = _ask("squeue", "-h", "-r", "-t", "all", "-u", getpass.getuser(), "-o", "%i|%T|%N|%r")
    if answer is None:
        return None
    known = read(answer)
    missing = sorted({job.split("_")[0] for job in wanted - known.keys()})
    if missing:  # without accounting it fails, and nothing more can be known
        words = ("sacct", "-n", "-P", "-X", "-o", "JobID,State,NodeList,Reason", "-j", ",".join(missing))
        known = read(_ask(*words) or "") | known
    return {job: state for job, state in known.items() if job in wanted}


def read(answer: str) -> dict[str, State]:
    """Read the lines ``id|state|nodes|reason`` of squeue and sacct (which says ``CANCELLED by 1000``)."""
    jobs = {}
    for line in answer.splitlines():
        job, name, node, reason = [part.strip() for part in (line + "|||").split("|")[:4]]
        if job and name:
            jobs[job] = State(
                name.split()[0].rstrip("+"), *("" if w in ("None", "None assigned") else w for w in (node, reason))
            )
    return jobs


def of_this_job() -> dict[str, str]:
    """Ask the controller what it knows of the job that this process belongs to, {} if it can't be asked."""
    answer = _ask("scontrol", "-o", "show", "job", _own()) or ""
    return dict(word.split("=", 1) for word in answer.split() if "=" in word)


def _own() -> str:
    """Name the job of this process. The number of an array's last job means the whole array, so it is not enough."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else os.environ["SLURM_JOB_ID"]


def requeue() -> str:
    """Let SLURM start this job anew; what went wrong, '' if nothing. It kills what still runs of the job."""
    try:
        words = ["scontrol", "requeue", _own()]
        done = subprocess.run(words, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def log_file(sweep: Path, job: str) -> Path:
    """Name the file of what the job's first process printed."""
    return sweep / FOLDER / f"{job}_0_log.out"


def settle(sweep: Path, known: Mapping[str, State]) -> None:
    """Write into run folders what their processes could not: that SLURM ended them, and why."""
    for name, job in submitted(sweep).items():
        state, fields = known.get(job), record.look(sweep / name)
        if not fields or fields.get("status") in (*ENDED, record.DAMAGED) or state is None or not state.ended:
            continue
        if state.name != "COMPLETED" or not record.is_alive(fields):  # the file may reach this machine late
            status = "interrupted" if state.name == "CANCELLED" else "failed"
            record.RunRecord(sweep / name).finish(status, why(sweep, job, state))


def why(sweep: Path, job: str, state: State) -> str:
    """Say in one line what SLURM says, and the last line of the job's log."""
    meaning = MEANING.get(state.name, f"it ended without a result ({state.name})")
    reason = f" ({state.reason})" if state.reason and state.name not in MEANING else ""
    last = last_line(log_file(sweep, job))
    return f"SLURM job {job}: {meaning}{reason}" + (f"; last line of its log: {last}" if last else "; it has no log")


def last_line(log: Path) -> str:
    """Read the last words of a log, without what SLURM and submitit say while they clear up; '' if there are none."""
    try:
        with open(log, "rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            lines = [line.strip() for line in file.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return ""
    telling = [line for line in lines if "error:" in line or not line.startswith(("srun:", "submitit "))]
    return (telling or lines or [""])[-1][:200]


def _ask(*words: str) -> str | None:
    """Run a SLURM command and return its output; asked again where the controller is busy."""
    for pause in (0.5, 2.0, 0.0):
        try:
            return subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
        except FileNotFoundError:
            return None
        except (OSError, subprocess.SubprocessError):
            if words[0] == "sacct":  # most often there is no accounting
                return None
            time.sleep(pause)
    return None
