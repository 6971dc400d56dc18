"""From a configuration to parts: data, task, trainer. What train, test and predict have in common."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import nn

from medtrain import launch
from medtrain.augment import Views2d, Views3d
from medtrain.callbacks import Mining, Preemption, Progress, Speed, WholeCheckpointIO
from medtrain.config import allowed
from medtrain.core.errors import UsageError
from medtrain.core.labels import LabelCounts
from medtrain.core.notice import notice
from medtrain.core.spec import DataSpec
from medtrain.data import source
from medtrain.data.base import Data, Inputs
from medtrain.launch import ranks
from medtrain.model import Ensemble, build_model, check_passes, kept_bytes, score_instances
from medtrain.report.progress import bar
from medtrain.task.base import Task

log = logging.getLogger("medtrain")

DIMS = {"image": 2, "volume": 3}
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
TASKS = dict.fromkeys(("image", "volume"), "medtrain.task.classification:Classification") | {
    "bag": "medtrain.task.mil:MultipleInstance",
    "boxes": "medtrain.task.detection:Detection",
}
"""The LightningModule for each kind of cases, which the options of task, data and model name."""


def plain(node: Any) -> Any:
    """A node as plain dicts, lists and values."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def warn(text: str) -> None:
    """Tell people once, whatever the number of ranks; the log has it too."""
    log.warning(text)
    if launch.global_rank() == 0:
        print(f"warning: {text}", flush=True)


def checkpoint_of(init_from: str) -> Path:
    """The file that `init_from` means: a checkpoint, or the best one of a run.

    Raises:
        UsageError: nothing there.
    """
    path = Path(init_from)
    file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"init_from={path}: no checkpoint there; give a run folder or a .ckpt file")
    return file


def data(cfg: DictConfig, **more: Any) -> Any:
    """The data module, not yet prepared; `more` as its constructor takes it."""
    kind = source(cfg.data.name)
    more |= data_parts(cfg, kind)
    sampler = allowed.partial("sampler", cfg.sampler) if cfg.get("sampler") is not None else None
    usual = {"build_sampler": sampler, "seed": cfg.seed, "report": warn, "progress": bar("preparing data")}
    return kind(plain(cfg.data), **usual, groups=plain(cfg.eval.get("groups")) or [], **more)


def inputs(cfg: DictConfig, spec: DataSpec, progress: Callable[[int, int], None] | None = None) -> Inputs:
    """The cases of `cfg.input`, without labels, as a trained model takes them."""
    kind = source(cfg.data.name)
    found: Inputs = kind.for_inputs(plain(cfg.data), spec, cfg.input, progress, **data_parts(cfg, kind))
    return found


def data_parts(cfg: DictConfig, kind: type[Data]) -> dict[str, Any]:
    """What a source takes of other groups."""
    makers = {"encoder": lambda: allowed.build("encoder", cfg.encoder)}
    return {name: makers[name]() for name in kind.takes}


def task(
    cfg: DictConfig,
    spec: DataSpec,
    *,
    training: bool,
    counts: LabelCounts | None = None,
    members: list[dict[str, Any]] | None = None,
) -> Task:
    """The LightningModule; without loss, optimizer and augmentation where nothing is trained.

    Args:
        counts: labels of the training split, for losses that weigh classes.
        members: the model node of each member of an ensemble, which then stand in for `cfg.model`.
    """
    if spec.dims != DIMS.get(cfg.task.kind, spec.dims):
        what = {2: "images", 3: "volumes"}.get(spec.dims, "other cases")
        raise UsageError(f"data={cfg.data.name} holds {what}, task={cfg.task.name} is for {cfg.task.kind}s")
    kind = task_class(cfg)
    makers: dict[str, Callable[[], Any]] = {
        "loss": lambda: allowed.build("loss", cfg.loss, spec=spec, counts=counts) if training else None,
        "augment": lambda: allowed.build("augment", cfg.augment, spec=spec) if training else None,
        "pool": lambda: cfg.task.pool,
        "merge": lambda: cfg.task.merge,
        "iou": lambda: cfg.eval.iou,
        "mixup": lambda: cfg.task.get("mixup") or 0.0,
        "entropy": lambda: cfg.task.get("entropy") or 0.0,
        "views": lambda: views(cfg, spec),
        "mc_dropout": lambda: cfg.eval.get("mc_dropout") or 0,
    }
    parts = {name: makers[name]() for name in kind.takes}
    if training:
        parts["optimizer"] = allowed.partial("optimizer", cfg.optimizer)
        parts["transfer"] = allowed.build("transfer", cfg.transfer) if cfg.get("transfer") else None
        parts["scheduler"] = allowed.partial("scheduler", cfg.scheduler)
    network = model(cfg, spec, training, members)
    if cfg.trainer.channels_last and spec.dims in LAYOUTS:
        network = network.to(memory_format=LAYOUTS[spec.dims])
    built = kind(spec, network, seed=cfg.seed, facts={"task": cfg.task.name}, **parts)
    if cfg.trainer.compile:
        built.model.compile()
    return built


def task_class(cfg: DictConfig) -> type[Task]:
    """The class of the LightningModule.

    Raises:
        UsageError: `cfg` asks for what this task cannot do.
    """
    module, _, name = TASKS[cfg.task.kind].partition(":")
    found: type[Task] = getattr(importlib.import_module(module), name)
    for part, key in (("views", "eval.tta"), ("mc_dropout", "eval.mc_dropout")):
        if part not in found.takes and (asked := OmegaConf.select(cfg, key)):
            raise UsageError(f"{key}={asked}: task={cfg.task.name} does without; leave it out")
    return found


def model(cfg: DictConfig, spec: DataSpec, training: bool, members: list[dict[str, Any]] | None) -> nn.Module:
    """The network, or those of an ensemble; nothing is downloaded for one whose weights are about to be loaded.

    Raises:
        UsageError: eval.mc_dropout for a network without dropout, or for an ensemble.
    """
    passes = cfg.eval.get("mc_dropout") or 0
    if members and passes:
        raise UsageError(
            f"eval.mc_dropout={passes}: an ensemble's uncertainty is the spread of its members; leave it out"
        )
    nodes = [plain(cfg.model)] if members is None else members
    bare = [node if training or "weights" not in node else node | {"weights": "none"} for node in nodes]
    networks = [build_model(*allowed.builder("model", node), spec) for node in bare]
    if cfg.task.get("pool") == "attention":
        networks = [score_instances(network) for network in networks]
    check_passes(networks[0], passes)
    return Ensemble(networks) if members else networks[0]


def memory(cfg: DictConfig, spec: DataSpec) -> dict[str, float] | None:
    """MB that a batch keeps for the backward pass, and would without checkpointing; None where there is none of it.

    Counted on the device ``meta``: exact for 32-bit numbers, and free. Half precision keeps about half of both.
    """
    node = plain(cfg.model)
    if not node.get("checkpointing") or "weights" not in node:
        return None
    with torch.device("meta"):
        samples = int(cfg.data.batch_size) * int(cfg.data.get("patches_per_volume") or 1)
        x = torch.empty(samples, spec.channels, *spec.size)
        kept, without = (
            kept_bytes(build_model(*allowed.builder("model", node | {"weights": "none", **on}), spec), x) / 1e6
            for on in ({}, {"checkpointing": False})
        )
    found = {"kept_mb": round(kept, 1), "without_checkpointing_mb": round(without, 1)}
    return found | {"saved": round(1 - kept / without, 3)}


def views(cfg: DictConfig, spec: DataSpec) -> nn.Module | None:
    """The views of test-time augmentation; flipped only where training flips too."""
    if cfg.eval.tta <= 1:
        return None
    if spec.dims == 3:
        sides = ("head_feet", "front_back", "left_right")
        return Views3d(cfg.eval.tta, [bool(cfg.augment.get(f"flip_{side}")) for side in sides])
    return Views2d(cfg.eval.tta, bool(cfg.augment.get("flip_horizontal")), bool(cfg.augment.get("flip_vertical")))


def trainer(cfg: DictConfig, folder: Path, *, training: bool, report: Callable[..., None] | None = None) -> pl.Trainer:
    """The Lightning trainer.

    Raises:
        UsageError: settings that this machine can't serve.
    """
    callbacks: list[pl.Callback] = [Speed(report), Progress(), Mining()] if training else [Progress()]
    loggers: list[Any] = []
    if training:
        callbacks += [allowed.build("callbacks", n) for n in cfg.callbacks.values() if n]
        callbacks += [Preemption(notice)] if notice.listening else []
        loggers = [allowed.build("logger", n, folder=str(folder), config=plain(cfg)) for n in cfg.logger.values() if n]
        for callback in callbacks:
            if isinstance(callback, pl.callbacks.ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(folder / "checkpoints")
    settings = {k: v for k, v in plain(cfg.trainer).items() if k not in ("channels_last", "compile")}
    if not training:
        settings |= {"accumulate_grad_batches": 1, "gradient_clip_val": None, "max_time": None}
        settings |= {"strategy": "auto"} if sharded(cfg) else {}  # without gradients and optimizer the whole fits
    if str(cfg.trainer.precision) in ("16", "16-mixed") and not uses_cuda(cfg):
        if training:
            raise UsageError("trainer.precision=16-mixed needs a CUDA GPU; without one take bf16-mixed or 32-true")
        settings["precision"] = "32-true"
    try:
        return pl.Trainer(
            **settings,
            callbacks=callbacks,
            logger=loggers or False,
            plugins=[WholeCheckpointIO(), *ranks.environment()],
            default_root_dir=str(folder),
            enable_checkpointing=training,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
            use_distributed_sampler=False,
        )
    except (MisconfigurationException, ValueError, TypeError, RuntimeError) as error:
        first = str(error).split("\n")[0]
        raise UsageError(
            f"trainer: {first} (accelerator={cfg.trainer.accelerator}, devices={cfg.trainer.devices})"
        ) from error


def sharded(cfg: DictConfig) -> bool:
    """Does each device hold but a part of the network (FSDP)?"""
    return str(cfg.trainer.strategy).startswith("fsdp")


def uses_cuda(cfg: DictConfig) -> bool:
    """Will the trainer take CUDA devices?"""
    return torch.cuda.is_available() and cfg.trainer.accelerator in ("auto", "gpu", "cuda")


@rank_zero_only
def say(text: Any = "") -> None:
    """Print on rank 0."""
    from rich.console import Console

    # lines are never cut or broken: people copy paths from them
    Console().print(text, highlight=False, soft_wrap=isinstance(text, str), crop=False)
