"""A user's own option of data over a packaged task: what the file sets stands, also where the task leaves it open.

Hydra puts a task over data, since a task knows what it needs of them: a segmentation sets to null what is planned. A
user's file that sets such a key means it.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from medtrain.config import search

GROUPS = ("data", "task", "experiment")


def restore(cfg: DictConfig, words: Collection[str]) -> None:
    """Set again what a user's option of data sets and a packaged task has overwritten.

    Args:
        cfg: composed, with the hydra node.
        words: the keys of the command line, which stand before both.
    """
    choices: Any = OmegaConf.to_container(cfg.hydra.runtime.choices)
    files = search.option_files()
    option, task, experiment = (files.get(group, {}).get(str(choices.get(group))) for group in GROUPS)
    if option is None or _packaged(option) or task is None or not _packaged(task):
        return
    later = set() if experiment is None else set(_keys(experiment).get("data") or {})
    overwritten = (_keys(task).get("data") or {}).keys() - later - {word.removeprefix("data.") for word in words}
    own = _own_keys(option, files["data"])
    for key in overwritten & own.keys():
        OmegaConf.update(cfg, f"data.{key}", own[key], merge=False)


def _packaged(file: Path) -> bool:
    return file.is_relative_to(search.packaged_folder())


def _keys(file: Path) -> dict[str, Any]:
    """Read the keys of a file, unresolved."""
    held: Any = OmegaConf.to_container(OmegaConf.load(file), resolve=False)
    return held if isinstance(held, dict) else {}


def _own_keys(option: Path, files: dict[str, Path]) -> dict[str, Any]:
    """Read what a user's option sets, and those of the user's that it is made of, the later over the earlier."""
    body = _keys(option)
    made: dict[str, Any] = {}
    for item in body.pop("defaults", None) or []:
        name = str(item)
        if name in files and files[name] != option and not _packaged(files[name]):
            made |= _own_keys(files[name], files)
    return made | body
