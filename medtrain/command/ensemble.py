"""ensemble: the runs of a cross-validation, or of one split, as one model; judged on cases that its parts never saw.

Nothing is predicted anew: the runs have written what they say of their validation and test cases. Thresholds are
fitted on the former alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig

from medtrain.callbacks.checkpoint import WholeCheckpointIO, load
from medtrain.command import build
from medtrain.command.counted import count_ensemble
from medtrain.command.evaluate import write_outcome
from medtrain.command.members import Member, Unit, read_members, units_of
from medtrain.command.own_data import TRAINED_ON
from medtrain.command.recorded import recorded
from medtrain.command.table_alone import join_tables_alone
from medtrain.config.folder import save_config
from medtrain.config.runs import run_folders
from medtrain.core.covariates import united
from medtrain.core.warned import kept_warnings
from medtrain.data.used import TUNED_ON
from medtrain.io.files import sha256, write_text
from medtrain.metric import EvalOptions
from medtrain.report import metrics_table, write_report
from medtrain.report.cross_validation import pooling_warning
from medtrain.report.words import label, number
from medtrain.target import Decision


def main(cfg: DictConfig, make_folder: Callable[[], Path]) -> int:
    """Write an ensemble into a folder that is made once all runs are found fit."""
    members = read_members(run_folders(build.plain(cfg.runs) or ""))
    units = units_of(members)
    judging = partial(build.task_class(cfg).judge_of_files, evaluation=build.plain(cfg.eval))
    judge = judging(members[0].spec)
    folds, warnings = [], []
    for unit in units:
        with kept_warnings() as own:
            runs = [member.folder for member in unit.members]
            folds.append(judge.fold(unit.repeat, unit.fold, runs, cfg.eval.threshold))
        warnings += [] if unit.fold is None else [f"{unit.name}: {text}" for text in own]
    splits, options = _splits(units), EvalOptions.read(cfg.eval)
    order = splits.loc[splits["split"] == "test", "case"].tolist()
    with kept_warnings() as fitted:
        decision = judge.fit_whole(folds, order, cfg.eval.threshold, options)
    decision = replace(decision, warnings=fitted)
    folder = make_folder()
    with recorded(cfg, folder) as record:
        assert record is not None
        record.update(
            **_facts(members),
            tests_counted=count_ensemble([[member.folder for member in unit.members] for unit in units]),
        )
        save_config(_config(cfg), folder)
        write_text(folder / "splits.csv", splits.to_csv(index=False))
        write_text(folder / TRAINED_ON, _learned(members).fillna("").to_csv(index=False))
        checkpoint = _write_weights(members, folder / "checkpoints" / "best.ckpt")
        outcome = judge.judge(folds, decision, order, options)
        by_fold = _by_fold(units, outcome.metrics.get("cross_validation"))
        decision.save(folder / "decision.json", sha256(checkpoint), members=_described(members), folds=by_fold)
        if units[0].fold is not None:
            outcome.metrics["decision"] = _decided_by_fold(decision, by_fold)
        outcome.warnings.extend([*_warnings(cfg, outcome.metrics), *warnings])
        metrics = write_outcome(folder, outcome, decision, split="test")
        record.finish("finished")
        alone = join_tables_alone(cfg, judging, units, order, folder)
        report = write_report(folder)
    build.say(metrics_table(metrics, bool(record.fields["synthetic"]), folder, report))
    for line in alone:
        build.say(line)
    _tell_spread(units, metrics)
    return 0


def _warnings(cfg: DictConfig, metrics: dict[str, Any]) -> list[str]:
    """Say what makes the metrics mean less than they say: apart from the warnings of decisions."""
    warnings = [apart] if (apart := pooling_warning(metrics)) else []
    if columns := build.plain(cfg.eval.get("groups")):
        warnings.append(f"eval.groups={columns}: an ensemble reads no table of data; it is not broken down by groups")
    return warnings


def _by_fold(units: Sequence[Unit], judged: dict[str, Any] | None) -> list[dict[str, Any]]:
    """List how the cases of each fold were decided; none where the runs share a split."""
    return [
        {key: fold[key] for key in ("repeat", "fold", "thresholds")}
        | {"temperatures": [member.decision.temperature for member in unit.members]}
        for unit, fold in zip(units, judged["folds"] if judged else (), strict=False)
    ]


def _decided_by_fold(decision: Decision, by_fold: list[dict[str, Any]]) -> dict[str, Any]:
    """Say how the cases were decided: thresholds that are not the same in all folds decided no case."""
    limits = [fold["thresholds"] for fold in by_fold]
    common = limits[0] if all(own == limits[0] for own in limits) else {}
    return {"policy": decision.policy, "temperature": decision.temperature, "thresholds": common, "folds": by_fold}


def _splits(units: Sequence[Unit]) -> pd.DataFrame:
    """Make the common split; of a cross-validation all cases as tested, in the folds of the first repeat."""
    splits = units[0].members[0].splits
    return splits if units[0].fold is None else splits.assign(split="test")


def _learned(members: Sequence[Member]) -> pd.DataFrame:
    """List each case that trained or tuned any of the members, once."""
    used = pd.concat([member.splits[member.splits["split"].isin(TUNED_ON)] for member in members])
    return used.assign(split="train").drop_duplicates()


def _config(cfg: DictConfig) -> DictConfig:
    """Make what test, predict and explain start from: the first member's data and task, no network."""
    cfg.runs, cfg.eval.mc_dropout = None, 0
    if "fold" in cfg.data:
        cfg.data.fold = None
    return cfg


def _facts(members: Sequence[Member]) -> dict[str, Any]:
    first = members[0].fields
    names = Counter(str(member.fields.get("model")) for member in members)
    return {
        **{key: first[key] for key in ("task", "data", "encoder", "control") if key in first},
        "spec": first["spec"] | _united(members),
        "model": "ensemble of " + ", ".join(f"{count} {name}" for name, count in names.items()),
        "seed": members[0].cfg.seed,
        "members": _described(members),
        "fingerprints": {k: v for k, v in first["fingerprints"].items() if k != "split" or members[0].parts is None},
        "synthetic": any(member.fields.get("synthetic") for member in members),
    }


def _united(members: Sequence[Member]) -> dict[str, Any]:
    """Give what a spec has of all members: columns beside the images, the axes that any of them was planned not to
    mirror, and the spacings where they are several."""
    specs = [member.spec for member in members]
    spacings = list(dict.fromkeys(spec.spacing for spec in specs if spec.spacing))
    return {
        "covariates": [column.to_dict() for column in united([spec.covariates for spec in specs])],
        "directed": sorted({axis for spec in specs for axis in spec.directed}),
        "spacings": [list(spacing) for spacing in spacings] if len(spacings) > 1 else [],
    }


def _described(members: Sequence[Member]) -> list[dict[str, Any]]:
    return [
        {
            "run": member.name,
            "model": member.fields.get("model"),
            "seed": member.cfg.seed,
            "split_seed": member.cfg.data.get("split_seed"),
            "fold": member.fold,
            "temperature": member.decision.temperature,
            "thresholds": member.decision.thresholds,
        }
        for member in members
    ]


def _write_weights(members: Sequence[Member], file: Path) -> Path:
    """Write all weights, each member's temperature and model node into one checkpoint of plain values."""
    state: dict[str, Any] = {}
    for i, member in enumerate(members):
        weights = load(member.folder / "checkpoints" / "best.ckpt")["state_dict"]
        own = {key.removeprefix("model."): value for key, value in weights.items() if key.startswith("model.")}
        state |= {f"model.members.{i}.{key}": value for key, value in own.items()}
    state["model.temperatures"] = torch.tensor([m.decision.temperature for m in members], dtype=torch.float64)
    nodes = [build.plain(member.cfg.model) for member in members]
    specs = [  # each member's outputs are read as its own decision says
        replace(member.spec, target=member.spec.target.decided_by(member.decision)).to_dict() for member in members
    ]
    facts = {
        "spec": specs[0] | _united(members),
        "task": members[0].cfg.task.name,
        "members": nodes,
        "member_specs": specs,
    }
    WholeCheckpointIO().save_checkpoint({"state_dict": state, "medtrain": facts}, file)
    return file


def _tell_spread(units: Sequence[Unit], metrics: dict[str, Any]) -> None:
    """Print how far folds, and repeats, are apart."""
    repeats = len({unit.repeat for unit in units})
    for key, what in (("folds", f"{len(units)} folds"), ("repeats", f"{repeats} cross-validations")):
        shown = [
            f"{label(name)} {number(entry['mean'])} (SD {number(entry['sd'])})"
            for name, entry in (metrics.get(key) or {}).items()
            if name in ("auroc", "balanced_accuracy", "map50", "map")
        ]
        if shown:
            build.say(f"mean of {what}: {', '.join(shown)}")
