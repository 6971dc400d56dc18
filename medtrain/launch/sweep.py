"""A sweep's jobs: each gets its folder, then runs here and now, or is made ready and submitted to a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from medtrain.config import compose, folder, multirun, trials, tuning
from medtrain.config.compose import Composition, resolved
from medtrain.core.errors import UsageError
from medtrain.core.notice import notice
from medtrain.core.verb import Verb
from medtrain.io import record
from medtrain.launch import workers
from medtrain.launch.dispatch import start_apart
from medtrain.launch.execute import INTERRUPTED, PREEMPTED, STOPPED
from medtrain.launch.jobs import make_ready
from medtrain.launch.slurm import job as slurm_job
from medtrain.launch.slurm import queue
from medtrain.launch.slurm.cluster import Cluster, Work, cluster_of, submit, submit_workers, submitted, worker_name
from medtrain.launch.slurm.wait import wait, waiting


class Remote(NamedTuple):
    """How work is done on other machines.

    Args:
        job: carries a job out there.
        command: carries a command line out.
    """

    job: Work
    command: Callable[[list[str]], int]


class Sweep:
    """The treatment of each job of a multirun (see `multirun.Jobs`).

    Args:
        verb: of the jobs.
        folder: the sweep's.
        ended: called with the sweep's folder after each job.
        remote: how work is done on other machines.

    Attributes:
        codes: the exit codes of the jobs that ran here.
        plain: a configuration that stands for all jobs.
    """

    def __init__(self, verb: Verb, folder: Path, ended: Callable[[Path], None], remote: Remote) -> None:
        self.verb, self.folder, self.ended, self.remote = verb, folder, ended, remote
        self.codes: list[int] = []
        self.plain: dict[str, Any] = {}

    def run(self, composed: DictConfig, hydra_cfg: DictConfig) -> float | None:
        """Run one job here; returns its best score, which a sweeper optimises."""
        place, cfg = self._ready(composed, hydra_cfg, busy=())
        self.codes.append(0 if cfg is None else start_apart(self.verb, cfg, place))
        self.ended(self.folder)
        if self.codes[-1] in (
            *STOPPED,
            PREEMPTED,
        ):  # the person or the system wants all of it to end, not this job only
            raise KeyboardInterrupt
        return best_score(place)

    def submit(self, composed: Iterable[DictConfig], settings: Mapping[str, Any]) -> list[float | None]:
        """Submit all jobs together, and wait for them if the settings say so; returns their best scores so far.

        Args:
            composed: a configuration a job, with the hydra node; made one by one as they are taken.
            settings: the keys of `Cluster`.
        """
        cluster = cluster_of(settings)
        known = queue.states(submitted(self.folder).values()) or {}
        queue.settle(self.folder, known)
        places: list[Path] = []
        ready: list[tuple[Path, dict[str, Any]]] = []
        for cfg in composed:
            place, job = self._ready(cfg, cfg, waiting(self.folder, known))
            places.append(place)
            if job is not None:
                container: Any = OmegaConf.to_container(job, resolve=True)
                ready.append((place, container))
        if ready:
            submit(cluster, self.folder, ready, self.remote.job)
        if cluster.wait:
            wait(self.folder, [place.name for place in places], self.ended)
        return [best_score(place) for place in places]

    def busy(self, names: Iterable[str]) -> list[str]:
        """Name the workers of a search that still wait or run on SLURM."""
        known = queue.states(submitted(self.folder).values()) or {}
        return [name for name in names if worker_name(name) in waiting(self.folder, known)]

    def work(
        self,
        names: Sequence[str],
        variables: Mapping[str, str],
        settings: Mapping[str, Any] | None,
        leader: multirun.Leader,
    ) -> None:
        """Let workers of a search carry out its trials, here or on SLURM; see `multirun.Jobs`."""
        if settings is None:
            workers.run(names, self.folder, variables, devices_of(self.plain["trainer"]), leader)
            return
        cluster, known = cluster_of(settings), queue.states(submitted(self.folder).values()) or {}
        there = waiting(self.folder, known)
        new = [name for name in names if worker_name(name) not in there]
        if new:
            work = partial(slurm_job.work, self.remote.command, workers.words_of(self.folder), variables)
            submit_workers(cluster, self.folder, new, self.plain, work)
        ended = wait(self.folder, [worker_name(name) for name in names], self.ended, leader.look)
        for name in names:
            if (state := ended.get(worker_name(name))) in queue.CRASHED:  # of others a trial can be gone on with
                leader.fallen(name, f"SLURM: {state}")

    def _ready(
        self, composed: DictConfig, hydra_cfg: DictConfig, busy: Collection[str]
    ) -> tuple[Path, DictConfig | None]:
        """Give the job its folder; return that and its configuration, None where nothing is left to do.

        Args:
            busy: names of folders whose jobs wait or run elsewhere.
        """
        place = self.folder / str(hydra_cfg.hydra.sweep.subdir)
        cfg = resolved(composed)
        folder.absolute_paths(cfg)
        if cfg.sweep.retry is None:
            before = folder.to_resume(cfg, place.parent, place if cfg.resume == "auto" else None)
            place = before or folder.claim(place)
        elif place.name in busy or record.is_alive(fields := record.look(place)):
            print(f"{place} waits or runs: left alone")
            return place, None
        elif fields.get("status") == record.DAMAGED:
            print(f"{place} is left alone: {fields['error']}")
            self.codes.append(1)
            return place, None
        else:
            folder.retake(cfg, place)
        is_ready = make_ready(self.verb, cfg, place, hydra_cfg, list(hydra_cfg.hydra.overrides.task))
        return place, cfg if is_ready else None


def run_sweep(verb: Verb, composition: Composition, ended: Callable[[Path], None], remote: Remote) -> tuple[Path, int]:
    """Run a multirun; a job that fails leaves the others running. Returns its folder and the worst exit code.

    Args:
        verb, ended, remote: see `Sweep`.
    """
    place = Path(str(composition.cfg.hydra.sweep.dir))
    named = any(token.startswith("hydra.sweep.dir=") for token in composition.tokens)
    if not named:
        place = folder.reserve(place)
    sweep = Sweep(verb, place, ended, remote)
    plain: Any = OmegaConf.to_container(resolved(composition.cfg))
    sweep.plain = plain
    try:
        multirun.run(composition, place, sweep)
    except KeyboardInterrupt:
        if notice.listening and notice.given is not None:
            return place, PREEMPTED
        return place, sweep.codes[-1] if sweep.codes and sweep.codes[-1] in STOPPED else INTERRUPTED
    return place, max(sweep.codes, default=0)


def chosen(cfg: DictConfig) -> Cluster | None:
    """Name the cluster that a composed configuration submits to, None for jobs on this machine."""
    settings = multirun.slurm_settings(cfg)
    return None if settings is None else cluster_of(settings)


def check_space(composition: Composition) -> None:
    """Refuse a search that can't be, before its first trial (UsageError)."""
    if tuning.is_search(composition.cfg):
        words = compose.swept_words(composition)
        trials.check(composition.cfg, compose.dimensions(composition.loader, words))
        trainer, parallel = composition.cfg.trainer, int(composition.cfg.hydra.sweeper.parallel)
        if parallel > 1 and not isinstance(trainer.devices, int) and str(trainer.devices) not in ("auto", "-1"):
            raise UsageError(
                f"trainer.devices={trainer.devices}: of trials at once each gets GPUs of its own; give a number"
            )
        if trainer.num_nodes > 1 and chosen(composition.cfg) is not None:
            raise UsageError(f"trainer.num_nodes={trainer.num_nodes}: a trial of a search runs on one machine")


def devices_of(trainer: Mapping[str, Any]) -> int:
    """Count the GPUs that a trial takes where several run at once: one, unless a number is given."""
    if trainer["accelerator"] == "cpu":
        return 0
    return int(trainer["devices"]) if str(trainer["devices"]).isdigit() else 1


def check_cluster(cfg: DictConfig, is_sweep: bool) -> bool:
    """Tell whether the job is for SLURM; if so, refuse before the first one what SLURM can't serve.

    Raises:
        UsageError: a setting; or a single training, which reaches no launcher and would run on the login node.
    """
    cluster = chosen(cfg)
    if cluster is None:
        return False
    if not is_sweep:
        raise UsageError("hydra/launcher=slurm counts in a sweep only: add -m, or take medtrain submit")
    trainer: Any = OmegaConf.to_container(cfg.trainer)
    cluster.tasks(trainer)
    return True


def best_score(place: Path) -> float | None:
    """Read the best monitored metric of a run, None where it hasn't finished."""
    fields = record.look(place)
    value = fields.get("best_score") if fields.get("status") == "finished" else None
    return None if value is None else float(value)
