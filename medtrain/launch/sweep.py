"""A sweep's jobs: each gets its folder, then runs here and now, or is made ready and submitted to a cluster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config import compose, folder, multirun, tuning
from medtrain.config.compose import Composition, resolved
from medtrain.core.errors import UsageError
from medtrain.core.verb import Verb
from medtrain.io import record
from medtrain.launch.dispatch import start
from medtrain.launch.execute import INTERRUPTED, STOPPED
from medtrain.launch.jobs import make_ready
from medtrain.launch.slurm import queue
from medtrain.launch.slurm.cluster import Cluster, Work, cluster_of, submit, submitted
from medtrain.launch.slurm.wait import wait, waiting


class Sweep:
    """The treatment of each job of a multirun (see `multirun.Jobs`).

    Args:
        verb: of the jobs.
        folder: the sweep's.
        ended: called with the sweep's folder after each job.
        remote: carries a job out on another machine.

    Attributes:
        codes: the exit codes of the jobs that ran here.
    """

    def __init__(self, verb: Verb, folder: Path, ended: Callable[[Path], None], remote: Work) -> None:
        self.verb, self.folder, self.ended, self.remote = verb, folder, ended, remote
        self.codes: list[int] = []

    def run(self, composed: DictConfig, hydra_cfg: DictConfig) -> float | None:
        """Run one job here; returns its best score, which a sweeper optimises."""
        place, cfg = self._ready(composed, hydra_cfg, busy=())
        self.codes.append(0 if cfg is None else start(self.verb, cfg, place))
        self.ended(self.folder)
        if self.codes[-1] in STOPPED:  # the person or the system wants all of it to end, not this job only
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
            submit(cluster, self.folder, ready, self.remote)
        if cluster.wait:
            wait(self.folder, [place.name for place in places], self.ended)
        return [best_score(place) for place in places]

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


def run_sweep(verb: Verb, composition: Composition, ended: Callable[[Path], None], remote: Work) -> tuple[Path, int]:
    """Run a multirun; a job that fails leaves the others running. Returns its folder and the worst exit code.

    Args:
        verb, ended, remote: see `Sweep`.
    """
    place = Path(str(composition.cfg.hydra.sweep.dir))
    named = any(token.startswith("hydra.sweep.dir=") for token in composition.tokens)
    if not named:
        place = folder.reserve(place)
    sweep = Sweep(verb, place, ended, remote)
    try:
        multirun.run(composition, place, sweep)
    except KeyboardInterrupt:
        return place, sweep.codes[-1] if sweep.codes else INTERRUPTED
    return place, max(sweep.codes, default=0)


def chosen(cfg: DictConfig) -> Cluster | None:
    """Name the cluster that a composed configuration submits to, None for jobs on this machine."""
    settings = multirun.slurm_settings(cfg)
    return None if settings is None else cluster_of(settings)


def check_space(composition: Composition) -> None:
    """Refuse a search that can't be, before its first trial (UsageError)."""
    if tuning.is_search(composition.cfg):
        words = compose.swept_words(composition)
        tuning.check_search(composition.cfg, compose.dimensions(composition.loader, words))


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
