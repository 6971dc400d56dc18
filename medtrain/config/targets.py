"""What follows in a configuration from the kind of target that `data.target` names: its loss, and what chooses."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from medtrain.config import search
from medtrain.io.yaml_file import read_yaml

AUTO = "auto"


def settle(cfg: DictConfig, given: Collection[str]) -> None:
    """Take the loss and the monitored metric that a kind has, where nobody has named others.

    Args:
        given: keys and groups that the command line names.

    Raises:
        UsageError: there is no such kind.
    """
    wanted = (cfg.get("data") or {}).get("target") or AUTO
    if wanted == AUTO:
        return
    from medtrain.target import named_kind  # late: most command lines need no target, and start without numpy

    kind: Any = named_kind(wanted)
    usual = _option("loss", "cross_entropy")
    with open_dict(cfg):
        if not any(key == "loss" or key.startswith("loss.") for key in given) and cfg.get("loss") == usual:
            cfg.loss = OmegaConf.create(_option("loss", kind.usual_loss))
        if cfg.get("task") is not None and "task.monitor" not in given:
            former, best = str(cfg.task.get("monitor")), next(iter(kind.monitors))
            if former not in kind.monitors or former == "val_auroc":
                cfg.task.monitor = best
                _replace(cfg, former, best)
        for name, node in (cfg.get("callbacks") or {}).items():
            if node and node.get("monitor") in kind.monitors and f"callbacks.{name}.mode" not in given:
                node.mode = kind.monitors[node.monitor]


def _replace(cfg: DictConfig, former: str, best: str) -> None:
    for node in (*(cfg.get("callbacks") or {}).values(), cfg.get("scheduler")):
        if node and node.get("monitor") == former:
            node.monitor = best


def _option(group: str, name: str) -> Any:
    return read_yaml(search.packaged_folder() / group / f"{name}.yaml")
