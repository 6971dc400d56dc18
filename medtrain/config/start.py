"""What a verb starts from: the packaged configuration, or that of a run, parts of which nothing can change any more."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.config import strangers
from medtrain.config.runs import run_folders
from medtrain.config.saved import read_saved
from medtrain.core.errors import UsageError
from medtrain.core.verb import Origin, Place, Verb
from medtrain.data.source import moved

FIXED_IN_A_RUN = (
    "task",
    "model",
    "transfer",
    "loss",
    "sampler",
    "augment",
    "encoder",
    "optimizer",
    "scheduler",
    "callbacks",
    "logger",
    "seed",
    "data.folds",
    "data.fold",
    "data.val_after",
    "eval.threshold",
    "eval.tta",
)
FREE_IN_AN_ENSEMBLE = ("eval.threshold",)  # it fits its own thresholds
FIXED_IN_TRAINING = ("model", "encoder", "seed", "data.classes") + tuple(
    f"data.{key}" for key in ("folds", "fold", "val_after", "split_seed")
)
FREE_IN_TRAINING = ("model.checkpointing",)  # the same network in less memory
# The parts of a data node that the network was built or trained for.
OF_THE_MODEL = (
    "classes",
    "positive",
    "channels",
    "image_size",
    "spacing",
    "patch_size",
    "mpp",
    "tile_px",
    "tile",
    "mean",
    "std",
)
KEPT_IF_NOT_GIVEN = ("fit", "window", "tile_overlap", "cache_dir", "batch_size", "num_workers")


def saved_of(verb: Verb, given: dict[str, str]) -> DictConfig | None:
    """Read the configuration of the run that a verb starts from; None for the packaged one.

    Args:
        given: the overrides of the command line, as text.

    Raises:
        UsageError: the verb needs a run and none is named, or an override would change what the run fixes.
    """
    _refuse_unread(verb, given)
    key = "run"
    if verb.origin is Origin.RUNS:
        _refuse_fixed(verb, given, {*FIXED_IN_A_RUN, "data", "eval.mc_dropout", "eval.groups"} - {*FREE_IN_AN_ENSEMBLE})
        if not given.get("runs"):
            raise UsageError(f"{verb.name} needs runs=..., run folders, a sweep's folder or a pattern")
        return load_settled(run_folders(_listed(given["runs"]))[0], "runs", given, training=False)
    if verb.origin is Origin.RUN:
        if not given.get("run"):
            raise UsageError(f"{verb.name} needs run=DIR, the folder of a finished training")
        _refuse_fixed(verb, given, {*FIXED_IN_A_RUN})
    elif verb.origin is Origin.PACKAGE_OR_RUN and given.get("resume") not in (None, "null", "auto", ""):
        key = "resume"
        if given.get("run"):
            raise UsageError(f"run={given['run']} and resume={given['resume']}: one of them says where to start from")
    elif verb.origin is Origin.PACKAGE or not given.get("run"):
        return None
    trains = verb.origin is Origin.PACKAGE_OR_RUN and verb.place is Place.RUN
    saved = load_settled(Path(_unquoted(given[key])), key, given, training=trains)
    if trains and saved.verb == "ensemble":
        raise UsageError(f"{key}={given[key]}: an ensemble, which isn't trained; train its members again")
    return saved


def _refuse_unread(verb: Verb, given: dict[str, str]) -> None:
    """Refuse what is said of one start, such as input=, to a verb that does not read it.

    Raises:
        UsageError: the first such key, what the verb reads, and how its folder is named where it has one.
    """
    for key, value in given.items():
        root = key.partition(".")[0]
        if root in (*strangers.OF_A_START, "init_from") and root not in (*verb.reads, "debug"):
            taken = f"of such keys it takes {', '.join(verb.reads)}" if verb.reads else "it takes no such key"
            folder = "; hydra.run.dir=FOLDER names the folder that it makes" if verb.place.has_folder else ""
            raise UsageError(f"{key}={value}: {verb.name} does nothing with it; {taken}{folder}")


def load_settled(run: Path, key: str, given: dict[str, str], *, training: bool) -> DictConfig:
    """Read a run's configuration without what it can't say for this start, which is told.

    Raises:
        UsageError: it sends or writes to a place that nobody else names.
    """
    file = run / "config.yaml"
    plain, added = read_saved(run, key)
    if added:
        notes = f"{file}: of a version without {', '.join(added)}; what that version did goes on"
        print(f"note: {notes}", file=sys.stderr)
    strangers.refuse_addresses(plain, file, given, training=training)
    for text in strangers.settle(plain, file, given):
        print(f"note: {text}", file=sys.stderr)
    return OmegaConf.create(plain)


def _refuse_fixed(verb: Verb, given: dict[str, str], fixed: set[str]) -> None:
    for key in given:
        if {key, key.split(".")[0]} & fixed and key != "task":
            raise UsageError(f"{key}={given[key]}: fixed by the run; {verb.name} can't change it")


def keep_to(saved: DictConfig, verb: Verb, cfg: DictConfig, given: dict[str, str]) -> None:
    """Hold a composed configuration, in place, to what the run that it starts from has fixed.

    Raises:
        UsageError: the overrides `given` change some of it.
    """
    for key, path in moved(cfg.data, saved.data, given).items():
        cfg.data[key] = path
    if verb.origin is Origin.RUN:
        with open_dict(cfg):  # equal names of patients in other data are a leak only where the person says so
            cfg.strict_patients = given.get("data.leakage") == "error"
        keep_what_the_model_needs(cfg, saved, given)
    elif verb.origin is Origin.PACKAGE_OR_RUN and "resume" in given:
        refuse_another_training(cfg, saved)


def refuse_another_training(cfg: DictConfig, saved: DictConfig) -> None:
    """Refuse a change of what a training that goes on can't change, before anything is written.

    Raises:
        UsageError: another network, seed or split than the run has.
    """
    then, now = _leaves(saved), _leaves(cfg)
    for key in (*now, *then):
        if key not in FREE_IN_TRAINING and now.get(key) != then.get(key):
            raise UsageError(
                f"{key}={now.get(key)}: the run that goes on has {key}={then.get(key)}, which can't change; start a "
                "new one from its weights with init_from=RUN"
            )


def _leaves(cfg: DictConfig, node: str = "") -> dict[str, Any]:
    """{key with dots: value} of all that `FIXED_IN_TRAINING` names."""
    values: dict[str, Any] = {}
    for key in [f"{node}.{k}" for k in OmegaConf.select(cfg, node)] if node else FIXED_IN_TRAINING:
        value = OmegaConf.select(cfg, key)
        values |= _leaves(cfg, key) if isinstance(value, DictConfig) else {key: value}
    return values


def _listed(text: str) -> str | list[str]:
    """What stands behind `runs=`: a text, or the items of a list in brackets."""
    if text[0] == "[" and text[-1] == "]" and not Path(text).exists():
        return [_unquoted(item.strip()) for item in text[1:-1].split(",")]
    return _unquoted(text)


def _unquoted(path: str) -> str:
    return (
        path[1:-1] if len(path) > 1 and path[0] == path[-1] and path[0] in "'\"" and not Path(path).exists() else path
    )


def keep_what_the_model_needs(cfg: DictConfig, saved: DictConfig, given: dict[str, str]) -> None:
    """Keep, where `data=GROUP` replaces the data node, what the network was made for; refuse a change of that.

    What the decision was fitted with stays too, whatever `eval=GROUP` says.
    """
    with open_dict(cfg):
        cfg.eval.threshold, cfg.eval.tta = saved.eval.threshold, saved.eval.get("tta") or 0
        for key in OF_THE_MODEL:
            if key not in saved.data or key not in cfg.data:
                continue
            if f"data.{key}" in given and cfg.data[key] != saved.data[key]:
                raise UsageError(
                    f"data.{key}={given[f'data.{key}']}: the model was trained with data.{key}={saved.data[key]}, "
                    "which can't change afterwards"
                )
            OmegaConf.update(cfg, f"data.{key}", saved.data[key], merge=False)
        for key in KEPT_IF_NOT_GIVEN:
            if key in saved.data and key in cfg.data and f"data.{key}" not in given:
                cfg.data[key] = saved.data[key]
