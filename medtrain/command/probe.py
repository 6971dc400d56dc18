"""Find the faults of a configuration that only building shows, not its keys and values alone; reads no data."""

from __future__ import annotations

import logging
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import nn

from medtrain.command import build
from medtrain.config import allowed
from medtrain.config.features import KIND, on_features
from medtrain.core.errors import UsageError
from medtrain.data.split import check_folds
from medtrain.model import build_model, check_passes
from medtrain.target import DataSpec, LabelCounts, named_kind

log = logging.getLogger("medtrain")


def probe(cfg: DictConfig) -> None:
    """Refuse, before any data are read, a trainer that can't be and arguments that a network doesn't take.

    Raises:
        UsageError: naming the key.
    """
    allowed.check_targets(cfg)
    check_sharding(cfg)
    build.data_class(cfg)  # imported here, before jobs of a sweep part
    task, data = build.task_class(cfg), build.plain(cfg.data)
    check_folds(data)
    spec = task.usual_spec(build.plain(cfg.task), data)
    if (kind := named_kind(data.get("target"))) is not None:
        spec = replace(spec, target=kind(spec.classes))
    spec = build.with_loss(cfg, spec)
    spec.target.check_policy(cfg.eval.threshold)
    build.task_options(cfg, spec)
    task.check(build.plain(cfg.task), data)
    if cfg.get("transfer"):
        allowed.build("transfer", cfg.transfer)
    if cfg.init_from:
        build.checkpoint_of(cfg.init_from)
    node = build.plain(cfg.model)
    check_learns_from_features(cfg, node)
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


def check_learns_from_features(cfg: DictConfig, node: dict[str, Any]) -> None:
    """Refuse a network for pictures or volumes where an encoder makes features of them (UsageError)."""
    kind = node.get("kind", KIND)
    if on_features(cfg) and KIND not in (kind if isinstance(kind, list) else [kind]):
        name = str(node["_target_"]).rpartition(".")[2]
        raise UsageError(
            f"model={name} takes {kind}s, of which encoder= makes features: take model=linear_probe, mlp_probe or, of "
            "the slices of volumes, gated_attention_mil; or leave encoder= out"
        )


def check_loss(cfg: DictConfig, spec: DataSpec, network: nn.Module) -> None:
    """Build the loss and let the task refuse it, if it is none for this network.

    Raises:
        UsageError: it refuses such labels, or the network's outputs are not what it takes.
    """
    ones = np.ones(len(spec.classes), np.int64)
    loss = allowed.build("loss", cfg.loss, spec=spec, counts=LabelCounts(ones, ones, 0 * ones))
    if fitting := build.task_class(cfg).fitting_loss(network, loss):
        name = str(cfg.loss._target_).rpartition(".")[2]
        raise UsageError(f"loss={name} doesn't fit this network: take loss={fitting}")


def check_sharding(cfg: DictConfig) -> None:
    """Refuse all that needs whole weights where devices hold parts of them (UsageError)."""
    if not build.sharded(cfg):
        return
    impossible = [
        f"callbacks.{name}" for name, node in cfg.callbacks.items() if node and node._target_.endswith(".EMA")
    ]
    impossible += ["trainer.gradient_clip_val"] * (cfg.trainer.gradient_clip_val is not None)
    impossible += ["trainer.compile"] * bool(cfg.trainer.compile)
    if cfg.get("transfer") and not allowed.build("transfer", cfg.transfer).idle:
        impossible.append("transfer")  # depths, norms and biases are no longer to be seen
    if impossible:
        raise UsageError(
            f"trainer.strategy={cfg.trainer.strategy} can't do {', '.join(impossible)}: leave "
            f"{'it' if len(impossible) == 1 else 'them'} out, or take trainer=ddp"
        )
