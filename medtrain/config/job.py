"""One command becomes one job or a sweep of jobs, each with its folder and its saved, resolved configuration."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from medtrain.config import folder
from medtrain.config.compose import Composition
from medtrain.config.quote import quote_paths
from medtrain.core.errors import UsageError
from medtrain.io import record
from medtrain.io.files import write_json

Start = Callable[[DictConfig, Path], int]


def run_one(composition: Composition, start: Start) -> int:
    """Run a single job in its own folder, or go on with the one that `resume` means."""
    hydra_cfg = composition.cfg
    cfg = plain(hydra_cfg)
    folder.absolute_paths(cfg)
    named = any(token.startswith("hydra.run.dir=") for token in composition.tokens)
    wanted = Path(str(hydra_cfg.hydra.run.dir))
    found = folder.to_resume(cfg, wanted.parent, wanted if named else None)
    place = found or (folder.claim(wanted) if named else folder.reserve(wanted))
    return _job(cfg, place, hydra_cfg, composition.tokens, start)


def own_folder(composition: Composition, name: str) -> Path:
    """A new run folder for a verb that trains nothing: the one that the user named, else outputs/TASK/<time>_NAME."""
    hydra_cfg = composition.cfg
    if any(token.startswith("hydra.run.dir=") for token in composition.tokens):
        return folder.claim(Path(str(hydra_cfg.hydra.run.dir)))
    return folder.reserve(Path("outputs") / str(hydra_cfg.task.name) / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}")


def run_aside(composition: Composition, start: Start) -> int:
    """Run a verb that trains nothing in a folder of its own, beside the runs of its task."""
    cfg = plain(composition.cfg)
    folder.absolute_paths(cfg)
    place = own_folder(composition, cfg.verb)
    folder.save_config(cfg, place)
    return start(cfg, place)


class Sweep:
    """What becomes of each job of a multirun: carried out here and now, or made ready for a launcher to submit.

    Args:
        folder: the sweep's.
        start: carries a job out.
        ended: called with the sweep's folder after each job.
        remote: carries a job out on another machine.
    """

    def __init__(self, folder: Path, start: Start, ended: Callable[[Path], None], remote: Callable[..., None]) -> None:
        self.folder, self.ended, self.remote = folder, ended, remote
        self.codes: list[int] = []
        self._start = start

    def __call__(self, composed: DictConfig) -> float | None:
        """Hydra's task function: run the job that is being composed."""
        place, cfg = self._ready(composed, HydraConfig.instance().cfg, busy=())
        self.codes.append(0 if cfg is None else self._start(cfg, place))
        self.ended(self.folder)
        if self.codes[-1] in (130, 143):  # the person or the system wants all of it to end, not this job only
            raise KeyboardInterrupt
        return self.result(place)

    def prepare(self, composed: DictConfig, busy: Collection[str]) -> tuple[Path, dict[str, Any] | None]:
        """The job's folder, and its configuration, None where nothing is left to do.

        Args:
            composed: with the hydra node.
            busy: names of folders whose jobs wait or run elsewhere.
        """
        place, cfg = self._ready(composed, composed, busy)
        container: Any = None if cfg is None else OmegaConf.to_container(cfg, resolve=True)
        return place, container

    def result(self, place: Path) -> float | None:
        """The value that a sweeper optimises: the run's best monitored metric."""
        value = record.read(place).get("best_score")
        return None if value is None else float(value)

    def _ready(self, composed: DictConfig, hydra_cfg: Any, busy: Collection[str]) -> tuple[Path, DictConfig | None]:
        place = self.folder / str(hydra_cfg.hydra.sweep.subdir)
        cfg = plain(composed)
        folder.absolute_paths(cfg)
        if cfg.sweep.retry is None:
            found = folder.to_resume(cfg, place.parent, place if cfg.resume == "auto" else None)
            place = found or folder.claim(place)
        elif place.name in busy or record.is_alive(record.read(place)):
            print(f"{place} waits or runs: left alone")
            return place, None
        else:
            folder.retake(cfg, place)
        return place, _ready(cfg, place, hydra_cfg, list(hydra_cfg.hydra.overrides.task))


def run_sweep(
    composition: Composition, start: Start, ended: Callable[[Path], None], remote: Callable[..., None]
) -> tuple[Path, int]:
    """Run a multirun; a job that fails leaves the others running. Returns its folder and the worst exit code.

    Args:
        ended, remote: see `Sweep`.
    """
    place = Path(str(composition.cfg.hydra.sweep.dir))
    named = any(token.startswith("hydra.sweep.dir=") for token in composition.tokens)
    if not named:
        place = folder.reserve(place)
    tokens = [t for t in composition.tokens if not t.startswith("hydra.sweep.dir=")]
    tokens += quote_paths([f"hydra.sweep.dir={place}"], multirun=False)
    sweep = Sweep(place, start, ended, remote)
    hydra = Hydra(task_name="medtrain", config_loader=composition.loader)
    try:
        hydra.multirun(composition.primary, sweep, tokens, with_log_configuration=False)
    except KeyboardInterrupt:
        return place, sweep.codes[-1] if sweep.codes else 130
    except HydraException as error:
        raise UsageError(str(error).split("\n")[0]) from error
    return place, max(sweep.codes, default=0)


def plain(cfg: DictConfig) -> DictConfig:
    """A resolved copy without the hydra node.

    Raises:
        UsageError: an interpolation that leads nowhere.
    """
    container: Any = OmegaConf.to_container(cfg, resolve=False)
    container.pop("hydra", None)
    copy = OmegaConf.create(container)
    try:
        OmegaConf.resolve(copy)
    except OmegaConfBaseException as error:
        raise UsageError(str(error).split("\n")[0]) from error
    return copy


def _ready(cfg: DictConfig, place: Path, hydra_cfg: DictConfig, overrides: list[str]) -> DictConfig | None:
    """Save what a job needs to start from its folder; None if it is finished already."""
    before = record.read(place)
    if before.get("status") == "finished":
        print(f"{place} is finished already: nothing to do")
        return None
    with open_dict(cfg):
        cfg.verb = "train"
    facts = {
        "verb": cfg.verb,
        "status": "starting",
        "task": cfg.task.name,
        "model": hydra_cfg.hydra.runtime.choices.get("model") or before.get("model"),
        "data": cfg.data.name,
        "seed": cfg.seed,
        "overrides": [o for o in overrides if not o.startswith(("hydra.", "hydra/", "verb=", "sweep."))],
        "fingerprint": folder.fingerprint(cfg),
    }
    folder.save_config(cfg, place)
    write_json(place / record.FILE, {k: v for k, v in before.items() if k != "error"} | facts)
    return cfg


def _job(cfg: DictConfig, place: Path, hydra_cfg: DictConfig, overrides: list[str], start: Start) -> int:
    ready = _ready(cfg, place, hydra_cfg, overrides)
    return 0 if ready is None else start(ready, place)
