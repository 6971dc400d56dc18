"""The request of a job to SLURM, and its submission; the engine is submitit.

A line that nobody asked for is not written: partitions, accounts and limits are the cluster's own affair.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.words import suggest
from medtrain.io.files import read_json, sha256, write_json

FOLDER = "slurm"  # in the sweep's: what submitit writes, and the jobs' logs
JOBS = f"{FOLDER}/jobs.json"  # {a job's folder: its id in SLURM}
_TIME = re.compile(r"\d+|\d+:\d\d:\d\d|\d+-\d\d?(:\d\d){0,2}")
_MEMORY = re.compile(r"\d+(\.\d+)?[KMGT]B?", re.IGNORECASE)
_WRITTEN_HERE = ("array", "nodes", "ntasks", "ntasks-per-node", "signal", "output", "error", "open-mode", "requeue")

Plain = dict[str, Any]
Work = Callable[[str, float, int, str], None]  # a job: its folder, patience, requeues, configuration's SHA-256


@dataclass(frozen=True)
class Cluster:
    """The keys of ``hydra.launcher``; see configs/hydra/launcher/slurm.yaml.

    Raises:
        UsageError: a value that SLURM would read otherwise than people do, or not at all.
    """

    partition: str | None = None
    account: str | None = None
    time: int | str | None = None
    memory: str | None = None
    gpus: int | str | None = None
    cpus: int | None = None
    extra: Sequence[str] = ()
    setup: Sequence[str] = ()
    parallel: int | None = None
    warn_s: int = 120
    max_requeues: int = 100
    wait: bool = field(default=True, compare=False)

    def __post_init__(self) -> None:
        here = "hydra.launcher"
        if self.time is not None and not _TIME.fullmatch(str(self.time)):
            raise UsageError(f"{here}.time={self.time}: give minutes, hours as 12:00:00, or days as 2-00:00:00")
        if self.memory is not None and not _MEMORY.fullmatch(str(self.memory)):
            raise UsageError(f"{here}.memory={self.memory}: give it with its unit, such as 32G")
        if self.gpus is not None and not re.fullmatch(r"([\w.-]+:)?[1-9]\d*", str(self.gpus)):
            raise UsageError(f"{here}.gpus={self.gpus}: give a number, or a type and a number such as a100:8")
        for name, least in (("cpus", 1), ("parallel", 1), ("warn_s", 1), ("max_requeues", 0)):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or value < least):
                raise UsageError(f"{here}.{name}={value}: give a whole number, at least {least}")
        for name in ("extra", "setup"):
            if isinstance(getattr(self, name), str):
                raise UsageError(f"{here}.{name}={getattr(self, name)}: give a list, in brackets")
        self._options()

    @property
    def gpu_count(self) -> int:
        return int(str(self.gpus).rpartition(":")[2]) if self.gpus is not None else 0

    def tasks(self, trainer: Plain) -> int:
        """Count the processes a node: one a device.

        Raises:
            UsageError: more devices than GPUs.
        """
        devices, on_cpu = trainer["devices"], trainer["accelerator"] == "cpu"
        if devices in ("auto", -1, "-1"):
            return 1 if on_cpu else max(1, self.gpu_count)
        listed = devices.split(",") if isinstance(devices, str) and "," in devices else devices
        count = len(listed) if isinstance(listed, list) else int(devices)
        if self.gpus is not None and not on_cpu and count > self.gpu_count:
            raise UsageError(f"trainer.devices={devices}: more than hydra.launcher.gpus={self.gpus}")
        return count

    def options(self, cfg: Plain, name: str, node_cpus: int | None) -> Plain:
        """Write the sbatch options of a job, in submitit's names.

        Args:
            cfg: the job's configuration.
            name: of the job.
            node_cpus: CPUs of a node, None where unknown.
        """
        tasks = self.tasks(cfg["trainer"])
        cpus = self.cpus or min(1 + int(cfg["data"]["num_workers"]), max(1, (node_cpus or 1_000_000) // tasks))
        limits = {
            "partition": self.partition,
            "account": self.account,
            "time": self.time,
            "mem": self.memory,
            "gpus_per_node": self.gpus,
        }
        setup = ["export SRUN_CPUS_PER_TASK=$SLURM_CPUS_PER_TASK"]  # srun takes it from sbatch only in some versions
        return limits | {
            "wckey": None,
            "job_name": name,
            "nodes": int(cfg["trainer"]["num_nodes"]),
            "ntasks_per_node": tasks,
            "cpus_per_task": cpus,
            "signal_delay_s": self.warn_s,
            "stderr_to_stdout": True,
            "srun_args": ["--kill-on-bad-exit=1"],
            "setup": setup + list(self.setup),
            "array_parallelism": self.parallel or 1000,
            "additional_parameters": {"requeue": True} | self._options(),
        }

    def _options(self) -> Plain:
        """Read the extra options; a value of True is an option without one."""
        options: Plain = {}
        for line in self.extra:
            key, equals, value = str(line).removeprefix("#SBATCH").strip().lstrip("-").partition("=")
            if not re.fullmatch(r"[a-z][a-z-]+", key) or key in _WRITTEN_HERE:
                raise UsageError(f"hydra.launcher.extra: '{line}' is no option that can be added; write [qos=long]")
            options[key] = value if equals else True
        return options


def cluster_of(settings: Mapping[str, Any]) -> Cluster:
    """Make a cluster of the keys of ``hydra.launcher``.

    Raises:
        UsageError: a key that there is not, or a value that SLURM can't take.
    """
    known = [field.name for field in fields(Cluster)]
    for key in settings.keys() - set(known):
        raise UsageError(f"hydra.launcher.{key}: no such key; {suggest(key, known)}")
    return Cluster(**settings)


def submitted(sweep: Path) -> dict[str, str]:
    """Read {folder: id in SLURM} of a sweep, {} of a local one."""
    return dict(read_json(sweep / JOBS)) if (sweep / JOBS).is_file() else {}


def node_cpus(partition: str | None) -> int | None:
    """Ask for the CPUs of the largest node of a partition (of all, if None); None if SLURM doesn't say."""
    words = ["sinfo", "-h", "-o", "%c", *(["-p", partition] if partition else [])]
    try:
        answer = subprocess.run(words, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    return max((int(word.rstrip("+")) for word in answer.split() if word.rstrip("+").isdigit()), default=None)


def worker_name(name: str) -> str:
    """Name the worker of a search among the jobs of a sweep."""
    return f"worker_{name}"


def submit(cluster: Cluster, sweep: Path, jobs: Sequence[tuple[Path, Plain]], work: Work) -> None:
    """Submit jobs, those that ask for the same as one array.

    Args:
        jobs: the folder and the configuration of each.
        work: what a job does in its folder.

    Raises:
        MedtrainError: SLURM is not there, or refuses.
    """
    cpus, groups = node_cpus(cluster.partition), list[tuple[Plain, dict[str, tuple[Any, ...]]]]()
    for folder, cfg in jobs:
        options = cluster.options(cfg, f"medtrain_{sweep.name}", cpus)
        arguments = (
            str(folder.absolute()),
            cluster.warn_s / 2,
            cluster.max_requeues,
            sha256(folder / "config.yaml"),
        )
        same = next((members for known, members in groups if known == options), None)
        if same is None:
            groups.append((options, {folder.name: arguments}))
        else:
            same[folder.name] = arguments
    _send(sweep, groups, work)


def submit_workers(cluster: Cluster, sweep: Path, names: Sequence[str], cfg: Plain, work: Callable[..., None]) -> None:
    """Submit workers of a search as one array; each starts the processes of its trials itself (errors as `submit`).

    Args:
        names: of the workers.
        cfg: a configuration that stands for all trials.
        work: what a worker does, called with its name, its patience and how often it may be requeued.
    """
    options = cluster.options(cfg, f"medtrain_{sweep.name}", node_cpus(cluster.partition))
    options |= {"ntasks_per_node": 1, "cpus_per_task": options["cpus_per_task"] * options["ntasks_per_node"]}
    members = {worker_name(name): (name, cluster.warn_s / 2, cluster.max_requeues) for name in names}
    _send(sweep, [(options, members)], work)


def _send(sweep: Path, groups: Sequence[tuple[Plain, dict[str, tuple[Any, ...]]]], work: Callable[..., None]) -> None:
    """Submit an array a group, {name: arguments of `work`}, and note the jobs' ids in `JOBS`."""
    from submitit import SlurmExecutor
    from submitit.core.utils import FailedJobError, FailedSubmissionError

    if "%" in str(sweep.absolute()):
        raise UsageError(f"hydra.sweep.dir={sweep}: SLURM gives % a meaning of its own; take another name")
    ids = submitted(sweep)
    (sweep / FOLDER).mkdir(exist_ok=True)
    try:
        for options, members in groups:
            # -P: no module of the working folder
            executor = SlurmExecutor(sweep.absolute() / FOLDER, python=f"{shlex.quote(sys.executable)} -P")
            executor.update_parameters(**options)
            arguments = zip(*members.values(), strict=True)
            for name, job in zip(members, executor.map_array(work, *arguments), strict=True):
                ids[name] = job.job_id
            write_json(sweep / JOBS, ids)
    except (FailedJobError, FailedSubmissionError, OSError, subprocess.SubprocessError) as error:
        lines = [line.strip() for line in str(error).splitlines() if "sbatch: error" in line]
        raise MedtrainError(f"SLURM refused the jobs: {' '.join(lines) or error}") from error
    except RuntimeError as error:  # no srun
        raise MedtrainError("no SLURM here (srun is not to be found): submit from a cluster's login node") from error
