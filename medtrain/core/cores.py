"""How many cores a job may use: of those of the machine, what its affinity, its container and SLURM leave it."""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PROC = Path("/proc/self")


def cores() -> int:
    """Count the cores that this process may use, at least 1; what it shares with its other ranks is counted whole."""
    return max(1, math.floor(min(limits().values())))


def limits(env: Mapping[str, str] = os.environ) -> dict[str, float]:
    """List what limits the cores, by who does: ``machine``, and where they say something ``affinity``, ``cgroup`` (a
    quota of processor time, which may be a fraction) and ``SLURM``."""
    known: dict[str, float | None] = {"machine": os.cpu_count() or 1, "cgroup": _quota(), "SLURM": _of_slurm(env)}
    if hasattr(os, "sched_getaffinity"):
        known["affinity"] = len(os.sched_getaffinity(0))
    return {name: value for name, value in known.items() if value}


def free_cores(seconds: float = 0.3) -> float | None:
    """Measure how many cores of the machine nobody uses, over a short time; None where the kernel doesn't tell."""
    try:
        before = _idle_ticks()
        time.sleep(seconds)
        return (_idle_ticks() - before) / os.sysconf("SC_CLK_TCK") / seconds
    except (OSError, ValueError):
        return None


def _idle_ticks() -> int:
    """Read how long all cores have been idle since the boot, waiting for disks included."""
    with open("/proc/stat", encoding="ascii") as file:
        _, _, _, _, idle, waiting = file.readline().split()[:6]
    return int(idle) + int(waiting)


def tasks_on_node(env: Mapping[str, str] = os.environ) -> int:
    """Count the processes that srun has started on this machine beside this one, itself included; 1 without srun."""
    if int(env.get("SLURM_STEP_NUM_TASKS") or 1) <= 1:
        return 1
    tasks = re.match(r"\d+", env.get("SLURM_STEP_TASKS_PER_NODE", ""))
    return int(tasks[0]) if tasks else int(env["SLURM_STEP_NUM_TASKS"])


def _of_slurm(env: Mapping[str, str]) -> float | None:
    """Read what SLURM has given: to a process of srun its task's cores, to others the job's on this machine."""
    if not env.get("SLURM_CPUS_PER_TASK") and not env.get("SLURM_CPUS_ON_NODE"):
        return None
    tasks = tasks_on_node(env)
    given = [int(env["SLURM_CPUS_ON_NODE"]) / tasks] if env.get("SLURM_CPUS_ON_NODE") else []
    if env.get("SLURM_CPUS_PER_TASK"):
        in_step = tasks > 1 or "SLURM_NTASKS_PER_NODE" not in env
        given.append(int(env["SLURM_CPUS_PER_TASK"]) * (1 if in_step else int(env["SLURM_NTASKS_PER_NODE"])))
    return min(given)


def _quota() -> float | None:
    """Find the smallest quota of processor time, in cores, of this process's control groups, version 1 or 2."""
    try:
        groups = [line.split(":", 2) for line in (PROC / "cgroup").read_text().splitlines()]
        mounts = [line.split() for line in (PROC / "mountinfo").read_text().splitlines()]
    except OSError:
        return None
    quotas = [
        quota
        for _, controllers, path in groups
        if not controllers or "cpu" in controllers.split(",")
        for folder in _folders(mounts, version_2=not controllers, path=path)
        if (quota := _quota_in(folder)) is not None
    ]
    return min(quotas, default=None)


def _folders(mounts: list[list[str]], *, version_2: bool, path: str) -> Iterator[Path]:
    """List the folders of a control group and those above it, where its hierarchy is mounted."""
    for mount in mounts:
        kind, _, options = mount[mount.index("-") + 1 :][:3]
        if kind != ("cgroup2" if version_2 else "cgroup") or not (version_2 or "cpu" in options.split(",")):
            continue
        root, top = Path(mount[3]), Path(mount[4])
        inside = Path(path).relative_to(root) if Path(path).is_relative_to(root) else Path()
        yield from (top / part for part in (inside, *inside.parents))


def _quota_in(folder: Path) -> float | None:
    try:
        if (folder / "cpu.max").is_file():
            quota, period = (folder / "cpu.max").read_text().split()
        else:
            quota, period = ((folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period"))
        return None if quota in ("max", "-1") else int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None
