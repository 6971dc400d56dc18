"""ensemble: the runs of a cross-validation, or of one split, as one model; judged on cases that its parts never saw.

Nothing is predicted anew: the runs have written what they say of their validation and test cases. Thresholds are
fitted on the former alone.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from omegaconf import DictConfig

from medtrain.callbacks.checkpoint import WholeCheckpointIO, load
from medtrain.command import build
from medtrain.command.evaluate import write_outcome
from medtrain.command.members import Member, Unit, read_members, units_of
from medtrain.command.own_data import TRAINED_ON
from medtrain.command.recorded import recorded
from medtrain.config.folder import save_config
from medtrain.config.runs import run_folders
from medtrain.data.used import TUNED_ON
from medtrain.io.files import sha256, write_text
from medtrain.metric import EvalOptions
from medtrain.report import metrics_table, write_report
from medtrain.report.words import label, number
from medtrain.target import Decision
from medtrain.target.classes import ClassTarget
from medtrain.task.classification.out_of_fold import RunPredictions, end_to_end, judge_repeats

Thresholds = dict[str, float]


def main(cfg: DictConfig, make_folder: Callable[[], Path]) -> int:
    """Write an ensemble into a folder that is made once all runs are found fit."""
    members = read_members(run_folders(build.plain(cfg.runs) or ""))
    units, target = units_of(members), members[0].spec.target
    assert isinstance(target, ClassTarget)
    tuned = [RunPredictions.read([m.folder / "val_predictions.csv" for m in unit.members], target) for unit in units]
    limits = [_thresholds(fold, target, cfg.eval.threshold) for fold in tuned]
    decision = Decision(cfg.eval.threshold, 1.0, _thresholds(end_to_end(tuned), target, cfg.eval.threshold))
    tested = [_tested(unit, target, own) for unit, own in zip(units, limits, strict=True)]
    splits = _splits(units)
    folder = make_folder()
    with recorded(cfg, folder) as record:
        assert record is not None
        record.update(**_facts(members))
        save_config(_config(cfg), folder)
        write_text(folder / "splits.csv", splits.to_csv(index=False))
        write_text(folder / TRAINED_ON, _learned(members).fillna("").to_csv(index=False))
        checkpoint = _write_weights(members, folder / "checkpoints" / "best.ckpt")
        folds = [{"repeat": u.repeat, "fold": u.fold, "thresholds": own} for u, own in zip(units, limits, strict=True)]
        decision.save(folder / "decision.json", sha256(checkpoint), members=_described(members), folds=folds)
        judged = zip(units, tested, strict=True)
        repeats = [[one for _, one in pairs] for _, pairs in groupby(judged, lambda pair: pair[0].repeat)]
        order = splits.loc[splits["split"] == "test", "case"].tolist()
        outcome = judge_repeats(target, repeats, decision, order=order, options=EvalOptions.read(cfg.eval))
        metrics = write_outcome(folder, outcome, decision, split="test")
        record.finish("finished")
        report = write_report(folder)
    build.say(metrics_table(metrics, bool(record.fields["synthetic"]), folder, report))
    _tell_spread(units, metrics)
    return 0


def _thresholds(predictions: RunPredictions, target: ClassTarget, policy: str | float) -> Thresholds:
    return target.fit_thresholds(predictions.probs_NSC.mean(axis=1), predictions.values, policy)


def _tested(unit: Unit, target: ClassTarget, thresholds: Thresholds) -> RunPredictions:
    return RunPredictions.read([member.folder / "test_predictions.csv" for member in unit.members], target, thresholds)


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
        **{key: first.get(key) for key in ("task", "data", "spec")},
        "model": "ensemble of " + ", ".join(f"{count} {name}" for name, count in names.items()),
        "seed": members[0].cfg.seed,
        "members": _described(members),
        "fingerprints": {k: v for k, v in first["fingerprints"].items() if k != "split" or members[0].parts is None},
        "synthetic": any(member.fields.get("synthetic") for member in members),
        "tests_counted": max(int(member.fields.get("tests_counted") or 0) for member in members),
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
    facts = {"spec": members[0].spec.to_dict(), "task": members[0].cfg.task.name, "members": nodes}
    WholeCheckpointIO().save_checkpoint({"state_dict": state, "medtrain": facts}, file)
    return file


def _tell_spread(units: Sequence[Unit], metrics: dict[str, Any]) -> None:
    """Print how far folds, and repeats, are apart."""
    repeats = len({unit.repeat for unit in units})
    for key, what in (("folds", f"{len(units)} folds"), ("repeats", f"{repeats} cross-validations")):
        shown = [
            f"{label(name)} {number(entry['mean'])} (SD {number(entry['sd'])})"
            for name, entry in (metrics.get(key) or {}).items()
            if name in ("auroc", "balanced_accuracy")
        ]
        if shown:
            build.say(f"mean of {what}: {', '.join(shown)}")
