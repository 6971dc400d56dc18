"""SLURM's words about jobs, and what they mean for folders whose process can't tell any more."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest

from medtrain.io import record
from medtrain.launch.slurm.queue import State, last_line, of_this_job, read, requeue, settle

OLD = "2020-01-01T00:00:00+00:00"


def job(sweep: Path, name: str, slurm: str, log: str | None = None, **facts: Any) -> Path:
    """A run folder, its job's number and log."""
    file = sweep / "slurm" / "jobs.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    known = json.loads(file.read_text()) if file.is_file() else {}
    file.write_text(json.dumps(known | {name: slurm}))
    (sweep / name).mkdir()
    (sweep / name / "run.json").write_text(json.dumps({"status": "running", "host": "far", "heartbeat": OLD} | facts))
    if log is not None:
        (sweep / "slurm" / f"{slurm}_0_log.out").write_text(log)
    return sweep / name


def test_the_lines_of_squeue_and_sacct() -> None:
    lines = (
        "12_0|RUNNING|n1|None",
        "12_1|PENDING||Resources",
        "13|CANCELLED by 1000|n2|",
        "14|OUT_OF_MEMORY|n[1-2]|",
        "",
    )
    found = read("\n".join(lines))
    assert found["12_0"] == State("RUNNING", "n1") and not found["12_0"].ended and not found["12_0"].waits
    assert found["12_1"].waits and found["12_1"].reason == "Resources"
    assert found["13"] == State("CANCELLED", "n2") and found["13"].ended
    assert found["14"].ended and found["14"].node == "n[1-2]" and len(found) == 4


@pytest.mark.parametrize(
    ("state", "status", "told"),
    [
        ("OUT_OF_MEMORY", "failed", "hydra.launcher.memory"),
        ("FAILED", "failed", "without a result"),
        ("NODE_FAIL", "failed", "node failed"),
        ("TIMEOUT", "failed", "time limit"),
        ("CANCELLED", "interrupted", "cancelled"),
        ("COMPLETED", "failed", "without a result"),
        ("RUNNING", "lost", None),
        ("COMPLETING", "lost", None),
        ("PENDING", "lost", None),
    ],
)
def test_who_died_without_a_word(tmp_path: Path, state: str, status: str, told: str | None) -> None:
    folder = job(tmp_path, "0", "7_0", log="starting\nBus error\n\n")
    settle(tmp_path, {"7_0": State(state, "n1")})
    fields = record.read(folder)
    assert record.status(fields) == status
    if told is None:
        assert "error" not in fields
    else:
        assert told in fields["error"] and "7_0" in fields["error"] and "Bus error" in fields["error"]


def test_what_a_run_says_itself_counts(tmp_path: Path) -> None:
    failed = job(tmp_path, "0", "7_0", status="failed", error="no such column")
    finished = job(tmp_path, "1", "7_1", status="finished")
    alive = job(tmp_path, "2", "7_2", heartbeat=record.now(), host=socket.gethostname() + "-other")
    settle(tmp_path, {f"7_{n}": State(state) for n, state in enumerate(("FAILED", "FAILED", "COMPLETED"))})
    assert record.read(failed)["error"] == "no such column" and record.read(finished)["status"] == "finished"
    assert record.read(alive)["status"] == "running"  # its last words may be under way


def test_the_last_line_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_bytes(
        b"x" * 20_000 + b"\nslurmstepd: error: Detected 1 oom_kill event \xff\n  \nsrun: Force Terminated StepId=2.0\n"
    )
    assert last_line(log).startswith("slurmstepd: error: Detected 1 oom_kill event")


SCONTROL = """#!/bin/sh
[ "$1" = requeue ] && { echo "$2" >> requeued; exit 0; }
case "$4" in  # the number of an array's last job means all of them
  12_1) echo "JobId=12 ArrayJobId=12 ArrayTaskId=1 JobState=RUNNING";;
  12) echo "JobId=12 ArrayTaskId=1 JobState=RUNNING"; echo "JobId=13 ArrayTaskId=0 JobState=COMPLETING";;
esac
"""


def test_the_last_job_of_an_array_asks_for_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "scontrol").write_text(SCONTROL)
    (tmp_path / "scontrol").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    for name, value in (("JOB_ID", "12"), ("ARRAY_JOB_ID", "12"), ("ARRAY_TASK_ID", "1")):
        monkeypatch.setenv(f"SLURM_{name}", value)
    assert of_this_job()["JobState"] == "RUNNING"
    assert requeue() == "" and Path("requeued").read_text() == "12_1\n"
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID")
    assert requeue() == "" and Path("requeued").read_text() == "12_1\n12\n"
