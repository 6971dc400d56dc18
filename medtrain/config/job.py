"""One command becomes one job or a sweep of jobs, each with its folder and its saved, resolved configuration."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from medtrain.config import folder, record
from medtrain.config.compose import Composition
from medtrain.config.quote import quote_paths
from medtrain.core.errors import UsageError
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


def run_sweep(composition: Composition, start: Start, ended: Callable[[Path], None]) -> tuple[Path, int]:
    """Run a multirun; a job that fails leaves the others running. Returns its folder and the worst exit code.

    Args:
        ended: called with the sweep's folder after each job.
    """
    sweep = Path(str(composition.cfg.hydra.sweep.dir))
    named = any(token.startswith("hydra.sweep.dir=") for token in composition.tokens)
    if not named:
        sweep = folder.reserve(sweep)
    tokens = [t for t in composition.tokens if not t.startswith("hydra.sweep.dir=")]
    tokens += quote_paths([f"hydra.sweep.dir={sweep}"], multirun=False)
    codes: list[int] = []

    def task(cfg: DictConfig) -> float | None:
        hydra_cfg: Any = HydraConfig.instance().cfg
        place = sweep / str(hydra_cfg.hydra.sweep.subdir)
        cfg = plain(cfg)
        folder.absolute_paths(cfg)
        found = folder.to_resume(cfg, place.parent, place if cfg.resume == "auto" else None)
        overrides = list(hydra_cfg.hydra.overrides.task)
        codes.append(_job(cfg, found or folder.claim(place), hydra_cfg, overrides, start))
        ended(sweep)
        if codes[-1] in (130, 143):  # the person or the system wants all of it to end, not this job only
            raise KeyboardInterrupt
        return monitored(place)

    hydra = Hydra(task_name="medtrain", config_loader=composition.loader)
    try:
        hydra.multirun(composition.primary, task, tokens, with_log_configuration=False)
    except KeyboardInterrupt:
        return sweep, codes[-1] if codes else 130
    except HydraException as error:
        raise UsageError(str(error).split("\n")[0]) from error
    return sweep, max(codes, default=0)


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


def monitored(place: Path) -> float | None:
    """The value a sweeper optimises: the run's best monitored metric."""
    value = record.read(place).get("best_score")
    return None if value is None else float(value)


def _job(cfg: DictConfig, place: Path, hydra_cfg: DictConfig, overrides: list[str], start: Start) -> int:
    before = record.read(place)
    if before.get("status") == "finished":
        print(f"{place} is finished already: nothing to do")
        return 0
    with open_dict(cfg):
        cfg.verb = "train"
    facts = {
        "verb": cfg.verb,
        "status": "starting",
        "task": cfg.task.name,
        "model": hydra_cfg.hydra.runtime.choices.get("model") or before.get("model"),
        "data": cfg.data.name,
        "seed": cfg.seed,
        "overrides": [o for o in overrides if not o.startswith(("hydra.", "verb="))],
        "fingerprint": folder.fingerprint(cfg),
    }
    folder.save_config(cfg, place)
    write_json(place / record.FILE, before | facts)
    return start(cfg, place)
