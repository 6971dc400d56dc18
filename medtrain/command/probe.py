"""What only building shows: faults of a configuration that its keys and values alone don't tell, before any data."""

from __future__ import annotations

import logging
from contextlib import nullcontext

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from medtrain.command import build
from medtrain.config import allowed
from medtrain.core.errors import UsageError
from medtrain.core.labels import LabelCounts
from medtrain.core.spec import DataSpec
from medtrain.data.split import check_folds
from medtrain.metric import parse_policy
from medtrain.model import build_model, check_passes

log = logging.getLogger("medtrain")


def probe(cfg: DictConfig) -> None:
    """Find before any data is read what only building shows: a trainer that can't be, arguments a network refuses.

    Raises:
        UsageError: naming the key.
    """
    allowed.check_targets(cfg)
    check_sharding(cfg)
    check_folds(build.plain(cfg.data))
    spec = usual_spec(cfg)
    parse_policy(cfg.eval.threshold, spec.label_kind)
    build.task_class(cfg)
    check_pool(cfg)
    if cfg.get("transfer"):
        allowed.build("transfer", cfg.transfer)
    if cfg.init_from:
        build.checkpoint_of(cfg.init_from)
    node = build.plain(cfg.model)
    fresh = (node.get("weights") or "none") == "none"
    try:
        with torch.device("meta") if fresh else nullcontext():  # a file of weights is tried in earnest
            network = build_model(*allowed.builder("model", node), spec)
        check_passes(network, cfg.eval.get("mc_dropout") or 0)
        check_loss(cfg, spec, network)
    except (TypeError, ValueError) as error:
        raise UsageError(f"model: {node['_target_']} refuses its arguments: {error}") from error
    except NotImplementedError:  # some networks compute while they are built, which 'meta' can't
        log.info("model not probed: it needs real tensors to be built")


def check_loss(cfg: DictConfig, spec: DataSpec, network: nn.Module) -> None:
    """Can this loss be had of this network?

    Raises:
        UsageError: it refuses such labels, or a detector's outputs are not what it takes.
    """
    ones = np.ones(len(spec.classes), np.int64)
    loss = allowed.build("loss", cfg.loss, spec=spec, counts=LabelCounts(ones, ones, 0 * ones))
    if spec.label_kind == "boxes" and getattr(loss, "own_loss", None) != getattr(network, "own_loss", None):
        wanted = "own, as the network brings its loss" if getattr(network, "own_loss", False) else "detection"
        raise UsageError(
            f"loss={str(cfg.loss._target_).rpartition('.')[2]} doesn't fit this network: take loss={wanted}"
        )


def check_pool(cfg: DictConfig) -> None:
    """Can attention learn how much each patch of a case counts?

    Raises:
        UsageError: not with what stands beside `task.pool`.
    """
    if cfg.task.get("pool") != "attention":
        return
    if cfg.task.kind != "volume":
        raise UsageError("task.pool=attention weighs the patches of a volume; images take model.attention=true")
    if cfg.task.get("mixup"):
        raise UsageError("task.pool=attention learns from whole cases, task.mixup mixes patches: take one of them")
    if cfg.data.get("patch_label") == "mask":
        raise UsageError("task.pool=attention learns from the labels of cases: it takes data.patch_label=case")
    if (cfg.data.get("patches_per_volume") or 1) < 2:
        raise UsageError(
            "task.pool=attention needs several patches of a case at a time: data.patches_per_volume=4, say"
        )


def check_sharding(cfg: DictConfig) -> None:
    """Raises UsageError with all that needs whole weights where devices hold parts of them."""
    if not build.sharded(cfg):
        return
    found = [f"callbacks.{name}" for name, node in cfg.callbacks.items() if node and node._target_.endswith(".EMA")]
    found += ["trainer.gradient_clip_val"] * (cfg.trainer.gradient_clip_val is not None)
    found += ["trainer.compile"] * bool(cfg.trainer.compile)
    if cfg.get("transfer") and not allowed.build("transfer", cfg.transfer).idle:
        found.append("transfer")  # depths, norms and biases are no longer to be seen
    if found:
        raise UsageError(
            f"trainer.strategy={cfg.trainer.strategy} can't do {', '.join(found)}: leave "
            f"{'it' if len(found) == 1 else 'them'} out, or take trainer=ddp"
        )


def usual_spec(cfg: DictConfig) -> DataSpec:
    """A spec such as data of this kind could have, before they are read: two classes, the size that is asked for."""
    kind, node = cfg.task.kind, build.plain(cfg.data)
    if kind == "bag" and node.get("tiles"):
        return DataSpec("binary", ("0", "1"), 3, (node["tile_px"], node["tile_px"]))
    dims = {"volume": 3, "bag": 0}.get(kind, 2)
    size = (node.get("patch_size") if kind == "volume" else node.get("tile") or node.get("image_size")) or 64
    shape = tuple(size) if not isinstance(size, int) else (size,) * dims
    classes = ("0", "1")
    return DataSpec("boxes" if kind == "boxes" else "binary", classes, int(node.get("channels") or 1), shape[:dims])
