"""One command becomes one job, in the place that its verb asks for."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from omegaconf import DictConfig, open_dict

from medtrain.config import folder
from medtrain.config.compose import Composition, resolved
from medtrain.core.verb import Place, Verb
from medtrain.io import record
from medtrain.io.files import write_json
from medtrain.launch import processes
from medtrain.launch.dispatch import start
from medtrain.launch.execute import PROBLEMS


def run(verb: Verb, composition: Composition) -> int:
    """Run a single job where its verb works; returns the exit code."""
    return _RUNS[verb.place](verb, composition)


def make_ready(verb: Verb, cfg: DictConfig, place: Path, hydra_cfg: DictConfig, overrides: list[str]) -> bool:
    """Save in a run folder what its job needs to start from there; False if the run is finished already.

    Args:
        cfg: resolved, without the hydra node.
        hydra_cfg: with it.
        overrides: the words that made the configuration.
    """
    before = record.read(place)
    if (ended := before.get("status")) in ("finished", "pruned"):
        print(f"{place} is {ended} already: nothing to do")
        return False
    with open_dict(cfg):
        cfg.verb = verb.name
    facts = {
        "verb": cfg.verb,
        "status": "starting",
        "task": cfg.task.name,
        "model": hydra_cfg.hydra.runtime.choices.get("model") or before.get("model"),
        "data": cfg.data.name,
        "seed": cfg.seed,
        "overrides": [
            o.removeprefix("++") for o in overrides if not o.startswith(("hydra.", "hydra/", "verb=", "sweep."))
        ],
        "fingerprint": folder.fingerprint(cfg),
    }
    if "before" not in before and list(place.glob("checkpoints/*")):  # to be put back if its data have changed
        facts["before"] = {"fingerprint": before.get("fingerprint"), "config": (place / "config.yaml").read_text()}
    folder.save_config(cfg, place)
    write_json(place / record.FILE, {k: v for k, v in before.items() if k != "error"} | facts)
    return True


def _print_only(verb: Verb, composition: Composition) -> int:
    return int(verb.command.main(resolved(composition.cfg)) or 0)


def _run(verb: Verb, composition: Composition) -> int:
    """Work in a run folder of its own, or go on in the one that `resume` means."""
    hydra_cfg = composition.cfg
    cfg = resolved(hydra_cfg)
    folder.absolute_paths(cfg)
    named, wanted = _is_named(composition), Path(str(hydra_cfg.hydra.run.dir))
    before = folder.to_resume(cfg, wanted.parent, wanted if named else None)
    place = before or (folder.claim(wanted) if named else folder.reserve(wanted))
    return start(verb, cfg, place) if make_ready(verb, cfg, place, hydra_cfg, composition.tokens) else 0


def _run_beside(verb: Verb, composition: Composition) -> int:
    cfg = resolved(composition.cfg)
    folder.absolute_paths(cfg)
    place = _own_folder(verb, composition)
    folder.save_config(cfg, place, of_run=False)
    return start(verb, cfg, place)


def _run_beside_later(verb: Verb, composition: Composition) -> int:
    return int(verb.command.main(resolved(composition.cfg), lambda: _own_folder(verb, composition)))


def _run_within(verb: Verb, composition: Composition) -> int:
    cfg = _fitted(verb, composition)
    return start(verb, cfg, folder.reserve(verb.command.place(cfg)))


def _run_passing(verb: Verb, composition: Composition) -> int:
    cfg = _fitted(verb, composition)
    temporary = Path(tempfile.mkdtemp(prefix="medtrain_"))
    try:
        return start(verb, cfg, temporary)
    finally:
        if not (temporary / PROBLEMS).is_file():  # which an error has named: then it stays
            shutil.rmtree(temporary, ignore_errors=True)


_RUNS: dict[Place, Callable[[Verb, Composition], int]] = {
    Place.NONE: _print_only,
    Place.RUN: _run,
    Place.BESIDE: _run_beside,
    Place.BESIDE_LATER: _run_beside_later,
    Place.WITHIN: _run_within,
    Place.PASSING: _run_passing,
}


def _fitted(verb: Verb, composition: Composition) -> DictConfig:
    """Fit the configuration to the processes that were started: faults come before any folder."""
    cfg = resolved(composition.cfg)
    folder.absolute_paths(cfg)
    if verb.ranks:
        processes.fit(cfg)
    if verb.keeps_words:
        with open_dict(cfg):
            cfg.words = list(composition.tokens)
    return cfg


def _own_folder(verb: Verb, composition: Composition) -> Path:
    """Make a new folder beside the runs: the one that the user named, else outputs/TASK/<time>_VERB."""
    cfg = composition.cfg
    if _is_named(composition):
        return folder.claim(Path(str(cfg.hydra.run.dir)))
    return folder.reserve(Path("outputs") / str(cfg.task.name) / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{verb.name}")


def _is_named(composition: Composition) -> bool:
    return any(token.startswith("hydra.run.dir=") for token in composition.tokens)
