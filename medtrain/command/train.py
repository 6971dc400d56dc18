"""train: fit, choose on validation, test the chosen checkpoint once, report."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from omegaconf import DictConfig

from medtrain import launch
from medtrain.callbacks.checkpoint import load, network_weights
from medtrain.command import build
from medtrain.command.evaluate import build_report, evaluate, run_loader, write
from medtrain.command.gate import attach_gate
from medtrain.core.errors import DataError, MedtrainError, UsageError
from medtrain.core.labels import LabelCounts, count_labels
from medtrain.core.notice import notice
from medtrain.core.spec import DataSpec
from medtrain.io.files import sha256, write_text
from medtrain.io.record import RunRecord
from medtrain.launch.execute import unexpected
from medtrain.metric import auroc, parse_policy
from medtrain.model import warm_start
from medtrain.report import Imbalance, imbalance, imbalance_table, metrics_table
from medtrain.task.base import Task

log = logging.getLogger("medtrain")

HINT_FROM = 10  # the imbalance factor from which on the opening says what helps


def main(cfg: DictConfig, folder: Path) -> float | None:
    """Train into `folder`; returns the best monitored value, for a sweeper."""
    with recorded(cfg, folder) as record:
        trainer = build.trainer(cfg, folder, training=True, report=record.update if record else None)
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        data = build.data(cfg)
        data.prepare()
        check_validation(cfg, data)
        task = build.task(cfg, data.spec, training=True, counts=train_counts(data))
        task.truth = data.truth
        if record:
            note_data(record, data, trainer)
            if (memory := build.memory(cfg, data.spec)) is not None:
                record.update(model_memory=memory)
            write_text(folder / "splits.csv", data.cases[["case", "patient", "split", "fold"]].to_csv(index=False))
            build.say(opening(cfg, data, folder))
            tell_imbalance(cfg, data.spec, record.fields["imbalance"])
            if not task.transfer.idle:
                build.say(task.transfer.describe(task.model, cfg.optimizer.get("lr") or 1.0))
        last = folder / "checkpoints" / "last.ckpt"
        resumed = last.is_file()
        if resumed:
            go_on_from(trainer, last)
        elif cfg.init_from:
            start_from(cfg, task)
        fit(trainer, task, data, str(last) if resumed else None)
        best, scored = best_checkpoint(folder), trainer.checkpoint_callback
        weights = load(best)["state_dict"]
        if build.sharded(cfg):  # what is judged is whole on each device
            trainer = build.trainer(cfg, folder, training=False)
            task = build.task(cfg, data.spec, training=False)
            task.truth = data.truth
            weights = network_weights(weights)
        task.load_state_dict(weights)
        attach_gate(cfg, trainer, task, data.cases)
        run_loader(trainer, task, data.val_dataloader)
        decision = task.fit_decision(task.results, cfg.eval.threshold)
        if record:
            decision.save(folder / "decision.json", sha256(best))
            for name, content in task.evaluate(task.results, data.cases, decision, bootstrap=0).files.items():
                write(folder / name.replace("test_", "val_", 1), content)
        outcome = evaluate(cfg, trainer, task, data, decision, folder, split="test")
        score = getattr(scored, "best_model_score", None)
        value = float(score) if score is not None and isfinite(score) else None
        if record:
            record.update(best_score=value, tests_counted=int(record.fields.get("tests_counted") or 0) + 1)
            record.finish("finished")
            report = build_report(cfg, data, folder)
            build.say(metrics_table(outcome, data.synthetic, folder, report))
        return value


@contextmanager
def recorded(cfg: DictConfig, folder: Path) -> Iterator[RunRecord | None]:
    """The run record of rank 0 (None on other ranks), closed with the status that the block ends in."""
    if launch.global_rank() != 0:
        yield None
        return
    record = RunRecord(folder, verb=cfg.verb, seed=cfg.seed).start()
    try:
        yield record
    except (KeyboardInterrupt, SystemExit):
        record.finish("interrupted" if notice.given is None else "preempted")
        raise
    except Exception as error:
        if notice.given is not None:
            record.finish("preempted")
            raise
        record.finish("failed", str(error) if isinstance(error, MedtrainError) else unexpected(error))
        raise


def check_validation(cfg: DictConfig, data: Any) -> None:
    """Can the validation part choose at all?

    Raises:
        UsageError: a threshold policy that the labels have no use for.
        DataError: the monitored AUROC is undefined there.
    """
    parse_policy(cfg.eval.threshold, data.spec.label_kind)
    if data.spec.label_kind == "boxes":
        check_boxes(data)
        return
    monitors = [node.get("monitor") for node in cfg.callbacks.values() if node]
    if "val_auroc" not in monitors or data.targets is None:
        return
    target = data.targets[(data.cases["split"] == "val").to_numpy()]
    if not isfinite(auroc(np.zeros((len(target), len(data.spec.classes))), target)):
        raise DataError(
            f"validation ({len(target)} cases) does not hold cases of every class, so val_auroc is undefined and "
            "can't choose a checkpoint",
            advice="give it more cases (the split column), or set callbacks.best.monitor=val_loss "
            "callbacks.best.mode=min callbacks.early_stopping=null",
        )


def check_boxes(data: Any) -> None:
    """Is there anything to find in the validation part?

    Raises:
        DataError: no.
    """
    shown = data.targets[(data.cases["split"] == "val").to_numpy()]
    if not (shown == 1).any():
        raise DataError(
            f"validation ({len(shown)} cases) holds no box, so val_map50 is undefined and can't choose a checkpoint",
            advice="give it more cases (the split column), or another data.split_seed",
        )


def note_data(record: RunRecord, data: Any, trainer: pl.Trainer) -> None:
    """What the record says of the data and the machine."""
    record.update(
        spec=data.spec.to_dict(),
        fingerprints=data.fingerprints,
        excluded=data.excluded,
        **({"held_out": data.held_out} if data.held_out else {}),
        imbalance=imbalance_of(data),
        synthetic=data.synthetic,
        world_size=trainer.world_size,
        devices={
            "accelerator": type(trainer.accelerator).__name__.removesuffix("Accelerator").lower(),
            "count": trainer.world_size,
            "name": device_name(trainer),
            "cpus": os.cpu_count(),
        },
        precision=str(trainer.precision),
    )


def train_counts(data: Any) -> LabelCounts | None:
    """The labels of the training split, for losses that weigh classes."""
    if data.targets is None:
        return None
    return count_labels(data.spec.label_kind, len(data.spec.classes), data.targets[data.rows("train")])


def imbalance_of(data: Any) -> Imbalance:
    """{split: {class: counts, factor and weight}}, for the record; {} for data without class labels."""
    if data.targets is None:
        return {}
    return imbalance(data.spec, data.targets, data.cases["patient"].to_numpy(), data.cases["split"].to_numpy())


def tell_imbalance(cfg: DictConfig, spec: DataSpec, found: Imbalance) -> None:
    """The table, what is lacking, and what to do if nothing is done yet."""
    if "train" not in found:
        return
    build.say(imbalance_table(spec, found))
    if absent := [name for name, row in found["train"].items() if not row["images"]]:
        shown = ", ".join(absent[:5]) + ", ..." * (len(absent) > 5)
        build.warn(f"no image of the training split has {shown}: the model can't learn it")
    worst = max((row["factor"] or 0 for row in found["train"].values()), default=0)
    plain = (cfg.loss._target_, cfg.sampler._target_) == ("medtrain.loss.cross_entropy", "medtrain.sampler.Shuffle")
    if worst >= HINT_FROM and plain:
        build.say(f"imbalance factor {worst:,.0f}: sampler=balanced or loss=balanced_cross_entropy counts it in")


def device_name(trainer: pl.Trainer) -> str:
    import platform

    import torch

    if trainer.strategy.root_device.type == "cuda":
        return torch.cuda.get_device_name(trainer.strategy.root_device)
    return platform.processor() or platform.machine()


def opening(cfg: DictConfig, data: Any, folder: Path) -> str:
    """A few lines on what is about to happen."""
    sizes = data.cases["split"].value_counts()
    parts = [f"{sizes.get(s, 0):,} {s}" for s in ("train", "val", "test")]
    mark = "synthetic data, " if data.synthetic else ""
    classes = ", ".join(data.spec.classes)
    held = data.held_out and "\nheld out: site {site} (data.fold={fold} of {sites} sites)".format(**data.held_out)
    return (
        f"{cfg.task.name} on {cfg.data.name} ({mark}{data.cases['patient'].nunique():,} patients; "
        f"images: {', '.join(parts)})\n{data.spec.label_kind}: {classes}; run folder {folder}{held or ''}"
    )


def go_on_from(trainer: pl.Trainer, last: Path) -> None:
    """Tell the loggers where the resumed run will start to write.

    Raises:
        UsageError: another number of processes, which would deal out the rest of the epoch otherwise.
    """
    saved = load(last)
    progress, step = saved["loops"]["fit_loop"], int(saved["global_step"])
    done = int(progress["epoch_progress"]["current"]["processed"])
    within = int(progress["epoch_loop.batch_progress"]["current"]["processed"]) if done == int(saved["epoch"]) else 0
    others = saved["medtrain"].get("world_size", trainer.world_size)
    if within and others != trainer.world_size:
        raise UsageError(
            f"{last}: {others} processes wrote it in the middle of an epoch, and {trainer.world_size} would not see "
            "what is left of it; go on with as many (trainer.devices)"
        )
    for logger in trainer.loggers:
        if hasattr(logger, "rewind"):
            logger.rewind(done, step)
    build.say(f"going on after epoch {done}" + f" and {within} batches of the next" * (within > 0) + f" ({last})")


def start_from(cfg: DictConfig, task: Task) -> None:
    """Warm start: the weights of a run or a checkpoint, a head of other classes left fresh."""
    file = build.checkpoint_of(cfg.init_from)
    saved = load(file)
    skipped = warm_start(task.model, saved.get("state_dict", saved))
    build.say(f"weights from {file}" + (f"; left fresh: {', '.join(skipped[:4])}" if skipped else ""))


def fit(trainer: pl.Trainer, task: Task, data: Any, checkpoint: str | None) -> None:
    """Lightning's fit; a run stopped by a person or a signal raises instead of going on to the test."""
    started = time.monotonic()
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    log.info("fit took %.1f s", time.monotonic() - started)


def best_checkpoint(folder: Path) -> Path:
    """The checkpoint that validation chose; the last one where nothing chooses."""
    for name in ("best.ckpt", "last.ckpt"):
        if (folder / "checkpoints" / name).is_file():
            return folder / "checkpoints" / name
    raise MedtrainError(
        f"{folder}/checkpoints holds no checkpoint: are callbacks.best and callbacks.last switched off?"
    )
