"""The shipped options, and what else a command line needs to name each of them."""

from __future__ import annotations

from typing import Any

import yaml
from omegaconf import OmegaConf

from medtrain.config import search

OF_DATA = {"lidc_nodules": ["data.table=x.csv"], "bccd": ["data.root=x"]}  # experiments on real data


def all_options() -> list[tuple[str, str]]:
    return [(group, option) for group, options in search.option_files().items() for option in options]


def read(group: str, option: str) -> dict[str, Any]:
    """An option with those of its own group that it builds on, shared files (``_NAME``) among them."""
    shared = search.packaged_folder() / group / f"{option}.yaml"
    file = search.option_files()[group].get(option, shared)
    own: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8")) or {}
    bases = [base for base in own.pop("defaults", ["_self_"]) if isinstance(base, str)]
    parts = [own if base == "_self_" else read(group, base) for base in bases or ["_self_"]]
    node: Any = OmegaConf.to_container(OmegaConf.merge(*parts))
    return node


def words(group: str, option: str) -> list[str]:
    """The option, a task of its kind, and a value for each key that has none."""
    if group in ("task", "experiment"):
        return [f"{group}={option}", *OF_DATA.get(option, [])]
    node, tasks = read(group, option), sorted(search.option_files()["task"])
    kinds = node.get("kind", "image")
    fits = [task for task in tasks if read("task", task)["task"]["kind"] in kinds]
    assert fits, f"no task is of the kind {kinds}"
    found = [f"task={fits[-1]}", f"{group}={option}"]  # xray_cls of those that take images
    if (group, option) == ("model", "custom"):
        return [*found, "model._target_=torchvision.models.resnet18"]
    return [*found, *(f"{group}.{key}=x" for key, value in node.items() if value == "???")]
