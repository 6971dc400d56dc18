"""A sweep as Hydra goes through it: each combination is composed, then handed to what the rooms above do with jobs.

Hydra's own launcher takes the jobs one after another; `SlurmLauncher` hands them over together.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus, setup_globals
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.config import search
from medtrain.config.compose import Composition
from medtrain.config.quote import quote_paths
from medtrain.core.errors import UsageError

TARGET = "hydra_plugins.medtrain.SlurmLauncher"  # Hydra takes plugins by names that begin like this only


class Jobs(Protocol):
    """The treatment of the jobs of a sweep; each method returns the value that a sweeper optimises."""

    def run(self, composed: DictConfig, hydra_cfg: DictConfig) -> float | None:
        """Carry one job out here; `hydra_cfg` has the hydra node."""

    def submit(self, composed: Iterable[DictConfig], settings: Mapping[str, Any]) -> list[float | None]:
        """Hand all jobs to a cluster; `settings` are the keys of ``hydra.launcher``."""

    def busy(self, names: Iterable[str]) -> Iterable[str]:
        """Name the workers of a search that still run, or wait, on a cluster."""

    def work(
        self, names: Sequence[str], variables: Mapping[str, str], settings: Mapping[str, Any] | None, leader: Leader
    ) -> None:
        """Let workers of a search carry out its trials, and wait for them.

        Args:
            names: of the workers.
            variables: of their environment.
            settings: the keys of ``hydra.launcher`` where they are jobs on a cluster, None for processes here.
        """


class Leader(Protocol):
    """What a search says and does while its workers work."""

    def look(self) -> None:
        """Say what has changed."""

    def fallen(self, name: str, how: str) -> bool:
        """Clear up after a worker that has died; tells whether another is to take its place."""


def run(composition: Composition, folder: Path, jobs: Jobs) -> None:
    """Go through a sweep whose folder is there.

    Raises:
        UsageError: what Hydra doesn't take.
    """
    tokens = [t for t in composition.tokens if not t.startswith("hydra.sweep.dir=")]
    tokens = _below_groups(tokens) + quote_paths([f"hydra.sweep.dir={folder}"], multirun=False)
    hydra = Hydra(task_name="medtrain", config_loader=composition.loader)
    try:
        hydra.multirun(composition.primary, _Task(jobs), tokens, with_log_configuration=False)
    except HydraException as error:
        raise UsageError(str(error).split("\n")[0]) from error


def _below_groups(tokens: Sequence[str]) -> list[str]:
    """Let keys of a group that is chosen come into being with its option.

    Hydra first composes a sweep without what is swept: `encoder.weights` has no place there while `encoder=a,b` waits.
    """
    chosen = {token.partition("=")[0] for token in tokens} & set(search.option_files())
    keys = {token: token.partition("=")[0] for token in tokens}
    return [f"++{token}" if "." in key and key.partition(".")[0] in chosen else token for token, key in keys.items()]


def slurm_settings(cfg: DictConfig) -> dict[str, Any] | None:
    """Read the keys of ``hydra.launcher`` where jobs are submitted to SLURM, None where they run on this machine."""
    node = cfg.hydra.launcher
    return _plain_items({k: v for k, v in node.items() if k != "_target_"}) if node.get("_target_") == TARGET else None


class _Task:
    """Hydra's task function: it is called with a configuration without the hydra node."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs = jobs

    def __call__(self, composed: DictConfig) -> float | None:
        hydra_cfg: Any = HydraConfig.instance().cfg
        return self.jobs.run(composed, hydra_cfg)


class SlurmLauncher(Launcher):
    """A launcher that composes the jobs and hands them over; it takes configs/hydra/launcher/slurm.yaml's keys."""

    def __init__(self, **settings: Any) -> None:
        self.settings = _plain_items(settings)

    def setup(self, *, hydra_context: Any, task_function: Any, config: DictConfig) -> None:
        self.loader, self.jobs, self.config = hydra_context.config_loader, task_function.jobs, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[JobReturn]:
        setup_globals()
        composed: list[DictConfig] = []

        def compose_each() -> Iterator[DictConfig]:
            for number, overrides in enumerate(job_overrides, initial_job_idx):
                cfg = self.loader.load_sweep_config(self.config, list(overrides))
                with open_dict(cfg):
                    cfg.hydra.job.id = cfg.hydra.job.num = number
                HydraConfig.instance().set_config(cfg)  # its interpolations are resolved before the next is composed
                composed.append(cfg)
                yield cfg

        values = self.jobs.submit(compose_each(), self.settings)
        returns = []
        for overrides, cfg, value in zip(job_overrides, composed, values, strict=True):
            returned = JobReturn(overrides=overrides, cfg=cfg, status=JobStatus.COMPLETED)
            returned.return_value = value
            returns.append(returned)
        return returns


Plugins.instance().class_name_to_class[TARGET] = SlurmLauncher


BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
_Basic: Any = Plugins.instance().class_name_to_class[BASIC]  # Hydra loads plugins anew: it isn't the module's


class _Sweeper(_Basic):
    """Hydra's sweeper, but for composing all jobs only to see that it can be done: `compose` has checked them."""

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Check nothing more."""


Plugins.instance().class_name_to_class[BASIC] = _Sweeper


def _plain_items(settings: Mapping[Any, Any]) -> dict[str, Any]:
    """Turn lists among the settings into plain ones."""
    return {str(k): OmegaConf.to_container(v) if OmegaConf.is_config(v) else v for k, v in settings.items()}
