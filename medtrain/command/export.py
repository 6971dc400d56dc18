"""export: a trained network as a folder that answers without medtrain, written only if it is proven to answer alike."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from omegaconf import DictConfig

from medtrain import __version__
from medtrain.command import build
from medtrain.command.export_proof import prove, request_of
from medtrain.command.trained import Trained, open_run
from medtrain.config.folder import reserve
from medtrain.core.errors import UsageError
from medtrain.core.words import suggest
from medtrain.data.settings import case_column
from medtrain.export import folder as export_folder
from medtrain.export import formats
from medtrain.export.card import model_card
from medtrain.export.parity import agreement
from medtrain.export.portable import Portable
from medtrain.io import record
from medtrain.io.files import sha256, write_text
from medtrain.model import columns_learned
from medtrain.task.base import Task


def main(cfg: DictConfig, folder: Path) -> None:
    """Write the export of a run; nothing is left of one that does not predict as the run does.

    Raises:
        UsageError: it can't be exported as wanted. MedtrainError: it predicts something else.
    """
    form = format_of(cfg.format or "onnx")
    form.check(cfg.export.opset)
    run = open_run(cfg.run)
    run.spec.target.check_verb("export")
    if name := case_column(build.plain(cfg.data)):
        raise UsageError(f"export: there is none of runs with several images a case (data.columns.case={name}) yet")
    refuse_unfinished(run.folder)
    if cfg.eval.get("gate"):
        raise UsageError(f"eval.gate={cfg.eval.gate}: a gate is not exported along; leave it out: eval.gate=null")
    wanted = destination(cfg)
    half = cfg.export.precision == "fp16"
    task = run.task(cfg)
    portable = task.portable(request_of(cfg, run, half))
    identity = identity_of(cfg, run)
    with export_folder.staged(wanted.parent) as staged:
        networks = {
            name: form.write(part, file := staged / f"{name}{form.SUFFIX}", cfg.export.opset, identity)
            | {"sha256": sha256(file)}
            for name, part in portable.parts.items()
        }
        facts = facts_of(cfg, task, portable, identity, networks) | {"decision": decision_of(run)}
        made = export_folder.program(facts)
        export_folder.fill(staged, made, facts)
        parity = prove(cfg, run, portable, staged, facts, folder)
        write_text(staged / export_folder.CARD, model_card(run.folder, facts, parity))
        os.rename(staged, target := reserve_empty(wanted, cfg.output is not None))
    build.say(f"{parity['cases']} cases: {agreement(parity)}; {parity['speed']:.1f} times as fast as torch on this CPU")
    for text in parity["changed"]:
        build.say(f"  changed: {text}")
    if count := len(parity["unsteady"]):
        build.say(f"  {count} boxes below the threshold have no counterpart, as ties decide about them: parity.json")
    build.say(f"export  {target}")


def format_of(name: str) -> ModuleType:
    """Find the module of a format (UsageError where there is none)."""
    names = export_folder.names_in(formats)
    if name not in names:
        raise UsageError(f"format={name}: no such format of export; {suggest(name, names)}")
    return import_module(f"{formats.__name__}.{name}")


def refuse_unfinished(run: Path) -> None:
    """Refuse a run that has a best checkpoint, but is not done (UsageError)."""
    fields = record.look(run)
    if fields and (state := record.status(fields)) != "finished":
        raise UsageError(f"run={run}: not finished ({state}); medtrain resume={run} goes on with it")


def destination(cfg: DictConfig) -> Path:
    """Name the folder that is wanted (UsageError where the one that the user names holds something)."""
    if cfg.output is None:
        return Path(cfg.run) / f"export_{cfg.format or 'onnx'}"
    target = Path(cfg.output)
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UsageError(f"output={target}: there is something already; name a new folder")
    return target


def reserve_empty(wanted: Path, named: bool) -> Path:
    """Give the empty folder that the export takes the place of; in a run, one with a suffix where there is one."""
    if not named:
        return reserve(wanted)
    wanted.mkdir(exist_ok=True)
    return wanted


def identity_of(cfg: DictConfig, run: Trained) -> dict[str, str]:
    """Say what a network file alone can be known by."""
    checkpoint = sha256(run.folder / "checkpoints" / "best.ckpt")
    return {
        "run": run.folder.absolute().name,
        "task": str(cfg.task.name),
        "checkpoint_sha256": checkpoint,
        "version": __version__,
    }


def facts_of(
    cfg: DictConfig, task: Task, portable: Portable, identity: Mapping[str, str], networks: dict[str, Any]
) -> dict[str, Any]:
    """Put model.json together, but for the decision.

    Args:
        task: as it is evaluated.
    """
    columns = build.plain(cfg.data.get("columns")) or {}
    rows = {
        "columns": {role: columns.get(role) for role in ("path", "patient", "case")},
        "patient_pattern": cfg.data.get("patient_pattern"),
        "path_format": cfg.data.get("path_format"),
        "merge_case": bool(cfg.data.get("merge_case")),
        "covariates": covariates_of(task),
    }
    return {
        "$schema": export_folder.SCHEMA,
        "format": cfg.format or "onnx",
        "medtrain": identity["version"],
        "run": identity["run"],
        "task": identity["task"],
        "checkpoint_sha256": identity["checkpoint_sha256"],
        "program": portable.program,
        "reads": portable.reads,
        "writes": portable.writes,
        "precision": cfg.export.precision,
        "networks": networks,
        "target": task.spec.target.to_dict() | {"positive": task.spec.target.positive},
        "rows": rows,
        "batch_size": int(cfg.data.batch_size or 1),  # a plan chooses that of masks, which go one by one
        **portable.facts,
    }


def covariates_of(task: Task) -> list[dict[str, Any]]:
    """Say how columns beside cases are coded, and by which mean and deviation each network scales numbers."""
    own = columns_learned(task.model)
    return [
        {key: value for key, value in column.to_dict().items() if key not in ("mean", "std")}
        | {"scales": [[of[place].mean, of[place].std] for of in own]}
        for place, column in enumerate(task.spec.covariates)
    ]


def decision_of(run: Trained) -> dict[str, Any]:
    """Give what model.json says of a run's decision."""
    return {key: value for key, value in run.decision.to_dict().items() if key not in ("validation", "sets")}
