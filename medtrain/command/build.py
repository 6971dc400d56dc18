"""From a configuration to parts: data, task, trainer. What train, test and predict have in common."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.utilities.exceptions import MisconfigurationException
from lightning_utilities.core.rank_zero import rank_zero_only
from omegaconf import DictConfig, OmegaConf
from torch import nn

from medtrain import launch
from medtrain.callbacks import LossWatch, Mining, Preemption, Progress, Speed, WholeCheckpointIO
from medtrain.callbacks.pruning import of_trial
from medtrain.command import precision
from medtrain.config import allowed
from medtrain.config.features import on_features
from medtrain.core.errors import UsageError
from medtrain.core.notice import notice
from medtrain.data.base import Data
from medtrain.data.batches import module_of
from medtrain.data.source import declared
from medtrain.io import record
from medtrain.launch import ranks
from medtrain.model import Ensemble, build_model, check_passes, fuse, kept_bytes, tie_outputs
from medtrain.report.progress import bar
from medtrain.target import DataSpec, LabelCounts
from medtrain.task import task_of
from medtrain.task.base import Task

log = logging.getLogger("medtrain")

Node = tuple[dict[str, Any], DataSpec]  # of a member of an ensemble: its model node, and the spec that it is built from
LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}


def plain(node: Any) -> Any:
    """Turn a node into plain dicts, lists and values."""
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def warn(text: str) -> None:
    """Warn people once, whatever the number of ranks; the log has it too."""
    log.warning(text)
    if launch.global_rank() == 0:
        print(f"warning: {text}", flush=True)


def checkpoint_of(init_from: str) -> Path:
    """Find the file that `init_from` means: a checkpoint, or the best one of a run.

    Raises:
        UsageError: nothing there.
    """
    path = Path(init_from)
    file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    if not file.is_file():
        raise UsageError(f"init_from={path}: no checkpoint there; give a run folder or a .ckpt file")
    return file


def data(cfg: DictConfig, *, as_read: bool = False, **more: Any) -> Data:
    """Build the data module, not yet prepared; `more` as its constructor takes it.

    Args:
        as_read: pictures and volumes themselves, whatever an encoder would make of them.
    """
    kind = module_of(cfg.data) if as_read else data_class(cfg)
    more |= data_parts(cfg, as_read)
    sampler = allowed.partial("sampler", cfg.sampler) if cfg.get("sampler") is not None else None
    usual = {"build_sampler": sampler, "seed": cfg.seed, "report": warn, "progress": bar("preparing data")}
    return kind(plain(cfg.data), groups=plain(cfg.eval.get("groups")) or [], **usual | more)


def inputs(cfg: DictConfig, spec: DataSpec, progress: Callable[[int, int], None] | None = None) -> Data:
    """Read the cases of `cfg.input`, without labels, as a trained model takes them."""
    return data_class(cfg).for_inputs(plain(cfg.data), spec, cfg.input, progress, **data_parts(cfg))


def data_class(cfg: DictConfig) -> type[Data]:
    """Find the data module: that of the source, or of the features of its cases where an encoder makes them."""
    if not on_features(cfg):
        return module_of(cfg.data)
    from medtrain.data.batches.encoded import EncodedData  # late: it knows pictures, volumes and slides

    return EncodedData


def data_parts(cfg: DictConfig, as_read: bool = False) -> dict[str, Any]:
    """Build what the batches of a source take of other groups; see `data`."""
    names = declared(cfg.data.name).takes if as_read else parts_taken(cfg)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # an encoder without weights is the same one whenever it is built
        parts = {name: allowed.build(name, cfg[name]) for name in names}
    if "encoder" in parts and cfg.get("run"):
        _tell_another_encoder(Path(str(cfg.run)), parts["encoder"].fingerprint())
    return parts | ({"read_by": module_of(cfg.data)} if on_features(cfg) and not as_read else {})


def _tell_another_encoder(run: Path, now: str) -> None:
    """Warn where features are no longer made by the encoder that a run has learned from."""
    then = record.read(run).get("encoder")
    if then is not None and then != now:
        warn(
            f"run={run} was trained on features of an encoder {then}, which is now {now}: its weights "
            "(encoder.weights), or the library that builds it, are others: put the file back"
        )


def parts_taken(cfg: DictConfig) -> tuple[str, ...]:
    """Name the groups that the batches of a configuration take parts of."""
    return ("encoder",) if on_features(cfg) else declared(cfg.data.name).takes


def task(
    cfg: DictConfig,
    spec: DataSpec,
    *,
    training: bool,
    counts: LabelCounts | None = None,
    members: list[Node] | None = None,
) -> Task:
    """Build the LightningModule; without loss, optimizer and augmentation where nothing is trained.

    Args:
        counts: labels of the training split, for losses that weigh classes.
        members: the model node of each member of an ensemble, which then stand in for `cfg.model`, and its own spec.
    """
    check_dims(cfg, spec)
    spec = evaluated(cfg, spec)
    members = members and [(node, evaluated(cfg, own)) for node, own in members]
    kind, parts = task_class(cfg), task_options(cfg, spec)
    if training:
        parts["loss"] = allowed.build("loss", cfg.loss, spec=spec, counts=counts)
        parts["augment"] = allowed.build("augment", cfg.augment, spec=spec)
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


def with_loss(cfg: DictConfig, spec: DataSpec) -> DataSpec:
    """Let what is predicted know of the loss that outputs are made for."""
    target = spec.target.fitted_to(str(cfg.loss.get("_target_")).rpartition(".")[2])
    return evaluated(cfg, replace(spec, target=target))


def evaluated(cfg: DictConfig, spec: DataSpec) -> DataSpec:
    """Let what is predicted know of the eval node (UsageError where that can't be)."""
    return replace(spec, target=spec.target.evaluated_by(plain(cfg.eval)))


def check_dims(cfg: DictConfig, spec: DataSpec) -> None:
    """Refuse cases of other dimensions than the task's, where it says which (UsageError)."""
    wanted = cfg.task.get("dims")
    if wanted is not None and not on_features(cfg) and spec.dims != wanted:
        held, meant = ({2: "images", 3: "volumes"}.get(dims, "other cases") for dims in (spec.dims, wanted))
        raise UsageError(f"data={cfg.data.name} holds {held}, task={cfg.task.name} is for {meant}")


def task_class(cfg: DictConfig) -> type[Task]:
    """Find the class of the LightningModule."""
    return task_of(str(cfg.task.slice))


def task_options(cfg: DictConfig, spec: DataSpec) -> dict[str, Any]:
    """Read what the task takes beyond what all tasks take.

    Raises:
        UsageError: `cfg` asks for what this task cannot do.
    """
    return task_class(cfg).options(plain(cfg.task), plain(cfg.eval), plain(cfg.get("augment")) or {}, spec)


def model(cfg: DictConfig, spec: DataSpec, training: bool, members: list[Node] | None) -> nn.Module:
    """Build the network, or those of an ensemble; no download where its weights are about to be loaded.

    Raises:
        UsageError: eval.mc_dropout for a network without dropout, or for an ensemble.
    """
    passes = cfg.eval.get("mc_dropout") or 0
    if members and passes:
        raise UsageError(
            f"eval.mc_dropout={passes}: an ensemble's uncertainty is the spread of its members; leave it out"
        )
    nodes = [(plain(cfg.model), spec)] if members is None else members
    bare = [(n if training or "weights" not in n else n | {"weights": "none"}, own) for n, own in nodes]
    networks = [build_model(*allowed.builder("model", node), own) for node, own in bare]
    for (node, _), network in zip(bare, networks, strict=True):
        if hasattr(network, "loaded"):
            say(f"model.weights={node['weights']}: {network.loaded}")
        if training and isinstance(remark := getattr(network, "remark", ""), str) and remark:
            warn(remark)
    for network, (_, own) in zip(networks, nodes, strict=True):
        if own.target.tied:
            tie_outputs(network, own.n_logits)
    networks = [task_class(cfg).fit_network(network, plain(cfg.task)) for network in networks]
    for network, (node, own) in zip(networks, nodes, strict=True):
        fuse(network, own, node.get("fusion") or "concat", coded_by=spec.covariates)
    check_passes(networks[0], passes)
    if not members:
        return networks[0]
    return Ensemble(networks, specs=[own for _, own in nodes])


def memory(cfg: DictConfig, spec: DataSpec, batch: int) -> dict[str, float] | None:
    """Count the MB that a batch keeps for the backward pass, and would without checkpointing; None without it.

    Counted on the device ``meta``: exact for 32-bit numbers, and free. Half precision keeps about half of both.

    Args:
        batch: its cases, as the data have it: a plan may have chosen it.
    """
    node = plain(cfg.model)
    if not node.get("checkpointing") or "weights" not in node:
        return None
    with torch.device("meta"):
        samples = batch * int(cfg.data.get("patches_per_volume") or cfg.data.get("images_per_case") or 1)
        x = torch.empty(samples, spec.channels, *spec.size)
        with_checkpointing, without = (
            kept_bytes(build_model(*allowed.builder("model", node | {"weights": "none", **on}), spec), x) / 1e6
            for on in ({}, {"checkpointing": False})
        )
    figures = {"kept_mb": round(with_checkpointing, 1), "without_checkpointing_mb": round(without, 1)}
    return figures | {"saved": round(1 - with_checkpointing / without, 3)}


def trainer(cfg: DictConfig, folder: Path, *, training: bool, report: Callable[..., None] | None = None) -> pl.Trainer:
    """Build the Lightning trainer.

    Raises:
        UsageError: settings that this machine can't serve.
    """
    callbacks: list[pl.Callback] = (
        [Speed(report), Progress(), Mining(), LossWatch(report, warn)] if training else [Progress()]
    )
    loggers: list[Any] = []
    if training:
        callbacks += [allowed.build("callbacks", n) for n in cfg.callbacks.values() if n]
        callbacks += of_trial()
        callbacks += [Preemption(notice)] if notice.listening else []
        loggers = [allowed.build("logger", n, folder=str(folder), config=plain(cfg)) for n in cfg.logger.values() if n]
        for callback in callbacks:
            if isinstance(callback, pl.callbacks.ModelCheckpoint) and callback.dirpath is None:
                callback.dirpath = str(folder / "checkpoints")
    settings = {k: v for k, v in plain(cfg.trainer).items() if k not in ("channels_last", "compile")}
    if not training:
        settings |= {"accumulate_grad_batches": 1, "gradient_clip_val": None, "max_time": None}
        settings |= {"strategy": "auto"} if sharded(cfg) else {}  # without gradients and optimizer the whole fits
    if not settings["deterministic"] and not torch.are_deterministic_algorithms_enabled():
        settings["deterministic"] = None  # for switching off what is off torch would import its compiler
    settings["precision"] = precision.settled(cfg.trainer.precision, uses_cuda(cfg))
    if str(cfg.trainer.precision) in ("16", "16-mixed") and not uses_cuda(cfg):
        if training:
            raise UsageError("trainer.precision=16-mixed needs a CUDA GPU; without one take 32-true")
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
    """Tell whether each device holds but a part of the network (FSDP)."""
    return str(cfg.trainer.strategy).startswith("fsdp")


def uses_cuda(cfg: DictConfig) -> bool:
    """Tell whether the trainer will take CUDA devices."""
    return torch.cuda.is_available() and cfg.trainer.accelerator in ("auto", "gpu", "cuda")


@rank_zero_only
def say(text: Any = "") -> None:
    """Print on rank 0."""
    from rich.console import Console

    # lines are never cut or broken: people copy paths from them
    Console().print(text, highlight=False, soft_wrap=isinstance(text, str), crop=False)
