"""How many cores a job may use: affinity, control groups of both versions, SLURM."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from medtrain.core import cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 128 cores that says nothing else."""
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(128)), raising=False)
    for name in list(os.environ):
        if name.startswith("SLURM_"):
            monkeypatch.delenv(name)
    monkeypatch.setattr(cores, "PROC", tmp_path)
    return tmp_path


def groups(machine: Path, cgroup: str, mountinfo: str, **files: str) -> None:
    (machine / "cgroup").write_text(cgroup)
    (machine / "mountinfo").write_text(mountinfo)
    for name, content in files.items():
        file = machine / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)


def test_nothing_but_the_machine(machine: Path) -> None:
    assert cores.cores() == 128


def test_affinity(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5, 7, 9})
    assert cores.cores() == 4 and cores.limits()["affinity"] == 4


@pytest.mark.parametrize(
    ("own", "above", "count"),
    [
        ("max 100000", "max 100000", 128),
        ("400000 100000", "max 100000", 4),
        ("max 100000", "250000 100000", 2),  # a quota of 2.5: a third thread would wait half of the time
        ("50000 100000", "max 100000", 1),
        ("nonsense", "max 100000", 128),
    ],
)
def test_quota_of_version_2_counts_from_any_level(machine: Path, own: str, above: str, count: int) -> None:
    mount = f"30 23 0:26 / {machine}/v2 rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
    files = {"v2__job__task__cpu_dot_max": own, "v2__job__cpu_dot_max": above}
    groups(machine, "0::/job/task\n", mount, **files)
    assert cores.cores() == count


@pytest.mark.parametrize(("root", "path"), [("/docker/7", "/docker/7"), ("/docker/7", "/elsewhere"), ("/", "/")])
def test_quota_of_version_1_in_a_container(machine: Path, root: str, path: str) -> None:
    mount = (
        f"31 30 0:27 {root} {machine}/v1 ro - cgroup cgroup rw,cpu,cpuacct\n"
        f"32 30 0:28 / {machine}/memory ro - cgroup cgroup rw,memory\n33 30 0:5 / /dev rw - devtmpfs none rw\n"
    )
    quota = {"v1__cpu_dot_cfs_quota_us": "300000\n", "v1__cpu_dot_cfs_period_us": "100000\n"}
    groups(machine, f"4:memory:/x\n3:cpu,cpuacct:{path}\n0::/\n", mount, **quota)
    assert cores.cores() == 3
    (machine / "v1" / "cpu.cfs_quota_us").write_text("-1\n")
    assert cores.cores() == 128


@pytest.mark.parametrize(
    ("variables", "count"),
    [
        ({"SLURM_CPUS_PER_TASK": "4"}, 4),
        ({"SLURM_CPUS_ON_NODE": "16"}, 16),
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_CPUS_ON_NODE": "64"}, 2),
        # a batch script of four tasks that starts the ranks itself has the cores of all
        ({"SLURM_CPUS_PER_TASK": "2", "SLURM_NTASKS_PER_NODE": "4", "SLURM_CPUS_ON_NODE": "8"}, 8),
        # a process that srun has started has its own
        ({"SLURM_CPUS_ON_NODE": "16", "SLURM_STEP_NUM_TASKS": "8", "SLURM_STEP_TASKS_PER_NODE": "4(x2)"}, 4),
        (
            {"SLURM_CPUS_PER_TASK": "3", "SLURM_NTASKS_PER_NODE": "4", "SLURM_CPUS_ON_NODE": "12"}
            | {"SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_TASKS_PER_NODE": "4"},
            3,
        ),
        ({}, 128),
    ],
)
def test_slurm(machine: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], count: int) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cores.cores() == count


def test_the_strictest_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "8")
    assert cores.cores() == 6


def test_here() -> None:
    assert 1 <= cores.cores() <= len(os.sched_getaffinity(0))
    free = cores.free_cores(0.1)
    assert free is not None and 0 <= free <= (os.cpu_count() or 1) * 1.3
