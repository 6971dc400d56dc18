"""train: fit, choose on validation, test the chosen checkpoint once, report."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING

import pytorch_lightning as pl
from omegaconf import DictConfig

from medtrain.callbacks.checkpoint import BestCheckpoint, load, network_weights
from medtrain.callbacks.pruning import pruned
from medtrain.command import build
from medtrain.command.evaluate import build_report, evaluate, run_loader, write
from medtrain.command.gate import attach_gate
from medtrain.command.opening import note_data, opening, tell_encoder, tell_imbalance, tell_target, train_counts
from medtrain.command.own_data import TO_GO_ON, refuse_changed, refuse_leaking_gate
from medtrain.command.recorded import put_back, recorded
from medtrain.command.replicates import note_replicates
from medtrain.command.table_alone import fit_table_alone, judge_table_alone
from medtrain.core.errors import DataError, MedtrainError, UsageError
from medtrain.core.warned import kept_warnings
from medtrain.data.base import Data
from medtrain.io import closed
from medtrain.io.files import sha256, write_text
from medtrain.io.record import RunRecord
from medtrain.metric import EvalOptions
from medtrain.model import read_weights, warm_start
from medtrain.report import metrics_table
from medtrain.target import DataSpec, Decision, reached
from medtrain.task.base import Task

if TYPE_CHECKING:  # training looks at no picture
    from medtrain.inspection import Inspection

log = logging.getLogger("medtrain")


def main(cfg: DictConfig, folder: Path) -> float | None:
    """Train into `folder`; returns the best monitored value, for a sweeper."""
    tests = bool(cfg.eval.get("test", True))
    with recorded(cfg, folder) as record, kept_warnings() as warned, nullcontext() if tests else closed.closing():
        trainer = build.trainer(cfg, folder, training=True, report=record.update if record else None)
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        last = folder / "checkpoints" / "last.ckpt"
        resumed = last.is_file()
        data = read_data(cfg, folder, record, resumed)
        task = build.task(cfg, data.spec, training=True, counts=train_counts(data))
        task.truth = data.truth
        if record:
            note_data(record, data, trainer)
            begin(cfg, folder, record, data, task)
        if resumed:
            go_on_from(trainer, last)
        elif cfg.init_from:
            start_from(cfg, task)
        scored = trainer.checkpoint_callback
        if isinstance(scored, BestCheckpoint):
            scored.keep = not tests
        fit(trainer, task, data, str(last) if resumed else None)
        if (ended := pruned(trainer)) is not None:
            if record:
                record.finish("pruned", f"after {ended.epoch} epochs {ended.monitor} was behind that of other trials")
            return None
        best = best_checkpoint(folder)
        chosen = load(best)
        weights = chosen["state_dict"]
        if build.sharded(cfg):  # what is judged is whole on each device
            trainer = build.trainer(cfg, folder, training=False)
            task = build.task(cfg, data.spec, training=False)
            weights = network_weights(weights)
        task.load_state_dict(weights)
        if not tests:  # before a gate, without which epochs were chosen
            note_replicates(cfg, folder, task, data, getattr(scored, "outputs", None))
        attach_gate(cfg, trainer, task, data.cases)
        decision, before = decide(cfg, trainer, task, data, warned)
        if record:
            decision = validate(cfg, task, data, decision, best)
        score = getattr(scored, "best_model_score", None)
        value = float(score) if score is not None and isfinite(score) else None
        facts = {"best_score": value, "best_epoch": int(chosen["epoch"])}
        if not tests:
            if record:
                for line in fit_table_alone(cfg, data, folder):
                    build.say(f"{line}; medtrain test compares both on the test split")
                record.update(**facts, tests_counted=0)
                record.finish("finished")
                build.say(f"{folder}: judged on validation; the test split is left alone (eval.test=false)")
            return value
        run_loader(trainer, task, data, data.test_dataloader)
        outcome = evaluate(cfg, task, data, decision, folder, split="test", warned=before)
        if record:
            record.update(**facts, tests_counted=int(record.fields.get("tests_counted") or 0) + 1)
            record.finish("finished")
            alone = fit_table_alone(cfg, data, folder) and judge_table_alone(cfg, data, folder, folder)
            report = build_report(cfg, task, data, folder)
            build.say(metrics_table(outcome, data.synthetic, folder, report))
            for line in alone:
                build.say(line)
        return value


def read_data(cfg: DictConfig, folder: Path, record: RunRecord | None, resumed: bool) -> Data:
    """Read the data of a training, and refuse those that can't be learned from or, of a resumed one, have changed."""
    data = build.data(cfg)
    with put_back(record):
        data.prepare()
        if resumed:
            refuse_changed(folder, data, TO_GO_ON)
    if not cfg.eval.get("test", True):
        others = [file for split in ("train", "val") for file in data.files_of_split(split)]
        cases = data.cases["case"][data.cases["split"] == "test"].astype(str).tolist()
        closed.settle(folder, cases, data.files_of_split("test"), others)
    data.spec = build.with_loss(cfg, data.spec)
    check_validation(cfg, data)
    refuse_leaking_gate(cfg, data)
    return data


def begin(cfg: DictConfig, folder: Path, record: RunRecord, data: Data, task: Task) -> None:
    """Write splits.csv, and say what a training begins with."""
    if (memory := build.memory(cfg, data.spec, int(data.cfg.get("batch_size") or 1))) is not None:
        record.update(model_memory=memory)
    write_text(folder / "splits.csv", data.split_table().to_csv(index=False))
    build.say(opening(cfg, data, folder))
    tell_encoder(data)
    tell_imbalance(cfg, data.spec, record.fields["imbalance"], data.noun)
    tell_target(data)
    if not task.transfer.idle:
        build.say(task.transfer.describe(task.model, cfg.optimizer.get("lr") or 1.0))


def decide(
    cfg: DictConfig, trainer: pl.Trainer, task: Task, data: Data, warned: Sequence[str]
) -> tuple[Decision, list[str]]:
    """Fit the decision on validation, for the task too; returns it and what was warned of before."""
    learned = None
    if task.spec.target.looks_back:
        run_loader(trainer, task, data, lambda: data.eval_dataloader("train"))
        learned = task.results
    run_loader(trainer, task, data, data.val_dataloader)
    before = list(warned)
    with kept_warnings() as fitted:
        decision = task.fit_decision(task.results, cfg.eval.threshold, data.cases)
    decision = decision if learned is None else task.complete_decision(decision, learned)
    task.decision = decision
    return replace(decision, warnings=list(fitted)), before


def validate(cfg: DictConfig, task: Task, data: Data, decision: Decision, best: Path) -> Decision:
    """Judge the validation split, and write the decision with what it reaches there beside the checkpoints' folder."""
    folder = best.parents[1]
    options = replace(EvalOptions.read(cfg.eval), abstention=False)
    validated = task.evaluate(task.results, data.cases, decision, options)
    reaches = reached(validated.metrics, decision.thresholds)
    decision = replace(decision, validation=reaches, warnings=[*decision.warnings, *validated.warnings])
    decision.save(folder / "decision.json", sha256(best))
    for name, content in validated.files.items():
        write(folder / name.replace("test_", "val_", 1), content)
    return decision


def check_validation(cfg: DictConfig, data: Data | Inspection) -> None:
    """Check that the validation part can choose a checkpoint and a threshold.

    Raises:
        UsageError: a threshold policy that the target has no use for.
        DataError: what is monitored is undefined there.
    """
    assert data.spec is not None
    data.spec.target.check_policy(cfg.eval.threshold)
    if data.targets is None:
        return
    monitors = [node.get("monitor") for node in cfg.callbacks.values() if node]
    fault = data.spec.target.cannot_choose(data.targets[(data.cases["split"] == "val").to_numpy()], monitors)
    if fault is not None:
        raise DataError(fault[0], advice=fault[1])


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
    try:
        warm_start(task.model, read_weights(file))
    except MedtrainError as error:
        raise MedtrainError(f"init_from={cfg.init_from}: {error}") from error
    build.say(f"weights from {file}: {task.model.loaded}")
    tell_other_scale(trained_spec(file), task.spec)


def trained_spec(file: Path) -> DataSpec | None:
    """Read what a run's checkpoint says of its data; None for weights from elsewhere."""
    if file.suffix != ".ckpt":
        return None
    facts = load(file).get("medtrain")
    return DataSpec.from_dict(facts["spec"]) if isinstance(facts, dict) and "spec" in facts else None


def tell_other_scale(trained: DataSpec | None, spec: DataSpec) -> None:
    """Warn where weights were trained on inputs of another scale than these data have."""
    if trained is None or trained.dims != spec.dims or len(trained.mean or ()) != len(spec.mean or ()):
        return
    if (trained.mean, trained.std) != (spec.mean, spec.std):
        wanted = " ".join(f"data.{key}={list(getattr(trained, key) or ())}" for key in ("mean", "std")).replace(
            ", ", ","
        )
        build.warn(f"the weights of init_from were trained with {wanted}; these data have another scale: set the same")


def fit(trainer: pl.Trainer, task: Task, data: Data, checkpoint: str | None) -> None:
    """Run Lightning's fit; a run stopped by a person or a signal raises instead of going on to the test."""
    started = time.monotonic()
    trainer.fit(task, datamodule=data, ckpt_path=checkpoint, weights_only=True if checkpoint else None)
    if trainer.interrupted:
        raise KeyboardInterrupt
    log.info("fit took %.1f s", time.monotonic() - started)


def best_checkpoint(folder: Path) -> Path:
    """Find the checkpoint that validation chose; the last one where nothing chooses."""
    for name in ("best.ckpt", "last.ckpt"):
        if (folder / "checkpoints" / name).is_file():
            return folder / "checkpoints" / name
    raise MedtrainError(
        f"{folder}/checkpoints holds no checkpoint: are callbacks.best and callbacks.last switched off?"
    )
