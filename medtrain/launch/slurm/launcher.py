"""Hydra's launcher for SLURM: the jobs of a sweep made ready here, submitted together, and waited for if wanted."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.core.errors import UsageError
from medtrain.core.words import suggest
from medtrain.io import record
from medtrain.launch.slurm import queue
from medtrain.launch.slurm.cluster import Cluster, submit, submitted
from medtrain.launch.slurm.queue import State

POLL_S = 5.0
UNKNOWN_FOR_S = 60.0  # so long SLURM may not know a job that was just submitted
TARGET = "hydra_plugins.medtrain.SlurmLauncher"  # Hydra takes plugins by names that begin like this only


class SlurmLauncher(Launcher):
    """Submits through `cluster.submit`; its arguments are the keys of `Cluster`."""

    def __init__(self, **settings: Any) -> None:
        self.cluster = cluster_of(settings)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        """Args: task_function: a `job.Sweep`, asked to make jobs ready rather than to run them."""
        self.context, self.sweep, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        setup_globals()
        known = queue.states(submitted(self.sweep.folder).values()) or {}
        queue.settle(self.sweep.folder, known)
        ready, returns = [], []
        for number, overrides in enumerate(job_overrides, initial_job_idx):
            cfg = self.context.config_loader.load_sweep_config(self.config, list(overrides))
            with open_dict(cfg):
                cfg.hydra.job.id = cfg.hydra.job.num = number
            HydraConfig.instance().set_config(cfg)
            place, job = self.sweep.prepare(cfg, waiting(self.sweep.folder, known))
            ready += [(place, job)] if job is not None else []
            returns.append((place, JobReturn(overrides=overrides, cfg=cfg, status=JobStatus.COMPLETED)))
        if ready:
            submit(self.cluster, self.sweep.folder, ready, self.sweep.remote)
        if self.cluster.wait:
            wait(self.sweep.folder, [place.name for place, _ in returns], self.sweep.ended)
        for place, returned in returns:
            returned.return_value = self.sweep.result(place)
        return [returned for _, returned in returns]


Plugins.instance().class_name_to_class[TARGET] = SlurmLauncher


def cluster_of(settings: Mapping[str, Any]) -> Cluster:
    """The settings, lists as plain ones."""
    plain = {k: OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in settings.items()}
    for key in plain.keys() - (known := [each.name for each in fields(Cluster)]):
        raise UsageError(f"hydra.launcher.{key}: no such key; {suggest(key, known)}")
    return Cluster(**plain)  # type: ignore[arg-type]


def chosen(cfg: DictConfig) -> Cluster | None:
    """The cluster that a composed configuration submits to, None for jobs on this machine."""
    node = cfg.hydra.launcher
    return cluster_of({k: v for k, v in node.items() if k != "_target_"}) if node.get("_target_") == TARGET else None


def check(cfg: DictConfig, multirun: bool) -> bool:
    """Is the job for SLURM? If so, find before the first one what it can't serve.

    Raises:
        UsageError: a setting; or a single training, which reaches no launcher and would run on the login node.
    """
    cluster = chosen(cfg)
    if cluster is None:
        return False
    if not multirun:
        raise UsageError("hydra/launcher=slurm counts in a sweep only: add -m, or take medtrain submit")
    trainer: Any = OmegaConf.to_container(cfg.trainer)
    cluster.tasks(trainer)
    return True


def waiting(sweep: Path, known: Mapping[str, State]) -> set[str]:
    """The folders of a sweep whose jobs wait or run."""
    return {name for name, job in submitted(sweep).items() if job in known and not known[job].ended}


def wait(sweep: Path, names: Sequence[str], changed: Callable[[Path], None]) -> None:
    """Return when none of these jobs waits or runs any more; tell each change.

    Args:
        changed: called with the sweep's folder when a job has ended.

    Raises:
        KeyboardInterrupt: the person waits no longer; the jobs go on.
    """
    told: dict[str, str] = {}
    since = time.monotonic()
    try:
        while True:
            ids = {name: job for name, job in submitted(sweep).items() if name in names}
            known = queue.states(ids.values())
            if known is not None:
                queue.settle(sweep, known)
            patient = known is None or time.monotonic() - since < UNKNOWN_FOR_S
            open_jobs = [name for name, job in ids.items() if not _over(sweep / name, (known or {}).get(job), patient)]
            for name, job in ids.items():
                words = _words(sweep / name, (known or {}).get(job), name in open_jobs)
                if told.get(name) != words:
                    print(f"job {name} (SLURM {job}): {words}", flush=True)
                    changed(sweep)
                told[name] = words
            if not open_jobs:
                return
            time.sleep(POLL_S)
    except KeyboardInterrupt:
        print(f"the jobs go on; see: medtrain status {sweep}; end them: scancel {' '.join(_arrays(sweep))}", flush=True)
        raise


def _over(folder: Path, state: State | None, patient: bool) -> bool:
    """Has a job ended? Between two starts of a requeued job SLURM's word counts, not the folder's."""
    if state is not None:
        return state.ended and (state.name != "COMPLETED" or not record.is_alive(record.read(folder)))
    return not patient or record.read(folder).get("status") in queue.ENDED


def _words(folder: Path, state: State | None, is_open: bool) -> str:
    fields = record.read(folder)
    if not is_open or state is None:
        return record.status(fields) + (f": {fields['error']}" if fields.get("error") else "")
    if state.waits:
        return (
            f"{'preempted, ' * (fields.get('status') == 'preempted')}waiting{f' ({state.reason})' * bool(state.reason)}"
        )
    return f"{state.name.lower()} on {state.node}"


def _arrays(sweep: Path) -> list[str]:
    return sorted({job.split("_")[0] for job in submitted(sweep).values()})
