"""The table alone: what the columns beside the images predict without any, on the same splits, in RUN/table_alone.

Without it nobody knows whether a network with columns has learned anything of the images. It is fitted by a training,
kept with the run, and judged wherever the run is: on its own test split, on other data, in an ensemble.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig

from medtrain.command import build
from medtrain.command.evaluate import write_outcome
from medtrain.core.covariates import Covariate, encoded
from medtrain.core.errors import MedtrainError
from medtrain.data.base import Data
from medtrain.io import record
from medtrain.io.files import read_json_map, sha256, write_json, write_text
from medtrain.metric import EvalOptions
from medtrain.report.compared import read_compared
from medtrain.report.comparison import compare
from medtrain.target import DataSpec, Decision, Outcome, Predicted
from medtrain.target.alone import Linear
from medtrain.target.cases import CaseTarget

FOLDER, MODEL, DECISION = "table_alone", "model.json", "decision.json"
Columns = NDArray[np.float32]


@dataclass(frozen=True)
class Member:
    """A fitted model of the columns, as one training has it.

    Args:
        spec: what it predicts, and what its training split tells of the columns.
        linear: from encoded columns to outputs.
        decision: of its own validation split, whose temperature and baseline make probabilities of outputs.
    """

    spec: DataSpec
    linear: Linear
    decision: Decision

    @property
    def reader(self) -> CaseTarget:
        """Give what reads its outputs."""
        target = self.spec.target.decided_by(self.decision)
        assert isinstance(target, CaseTarget)
        return target

    def outputs(self, columns_NC: Columns, coded_by: Sequence[Covariate]) -> NDArray[np.float64]:
        """Compute outputs (N, K) of columns that are coded by these vocabularies."""
        x_NF = encoded(self.spec.covariates, torch.from_numpy(columns_NC), coded_by)
        return self.linear(x_NF.numpy().astype(np.float64))

    def to_dict(self) -> dict[str, Any]:
        """Give plain values, as JSON takes them."""
        plain = {"spec": self.spec.to_dict(), "linear": self.linear.to_dict()}
        return plain | {"decision": self.decision.to_dict()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Member:
        """Read what `to_dict` gave."""
        spec, decision = DataSpec.from_dict(plain["spec"]), Decision.from_dict(plain["decision"])
        return cls(spec, Linear.from_dict(plain["linear"]), decision)


@dataclass(frozen=True)
class TableAlone:
    """The models of a run, or of all members of an ensemble, and the decision on their mean."""

    members: Sequence[Member]
    decision: Decision

    def predicted(self, data: Data, rows: NDArray[np.int64], evaluation: Mapping[str, Any]) -> tuple[Predicted, Any]:
        """Predict cases of prepared data; with what reads them.

        Args:
            evaluation: the eval node.
        """
        assert data.columns is not None and data.targets is not None
        parts = []
        for member in self.members:
            reader: Any = member.reader.evaluated_by(evaluation)
            outputs = member.outputs(data.columns[rows], data.spec.covariates)
            parts.append(reader.probabilities(outputs, member.decision.temperature))
        probs_NSC, limits = np.stack(parts, 1), list(self.decision.thresholds.values())
        decided = reader.predict(probs_NSC.mean(axis=1), self.decision)
        return reader.predictions(data.cases.iloc[rows], probs_NSC, decided, limits, data.targets[rows]), reader

    def save(self, folder: Path) -> None:
        """Write the models and the decision into a folder."""
        write_json(folder / MODEL, {"members": [member.to_dict() for member in self.members]})
        self.decision.save(folder / DECISION, sha256(folder / MODEL))

    @classmethod
    def read(cls, folder: Path) -> TableAlone:
        """Read what `save` wrote (MedtrainError: a file is damaged)."""
        try:
            members = [Member.from_dict(plain) for plain in read_json_map(folder / MODEL)["members"]]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MedtrainError(f"{folder / MODEL}: no readable model ({type(error).__name__}: {error})") from error
        return cls(members, Decision.load(folder / DECISION, folder / MODEL))


def fit_table_alone(cfg: DictConfig, data: Data, run: Path) -> list[str]:
    """Fit the table alone on the run's own splits, into RUN/table_alone; what there is to say, [] for nothing."""
    target, columns = data.spec.target, data.columns
    if columns is None or data.targets is None or not isinstance(target, CaseTarget):
        return []
    train, val = data.rows("train"), data.rows("val")
    x_NF = encoded(data.spec.covariates, torch.from_numpy(columns[train])).numpy().astype(np.float64)
    fitted = target.table_alone(x_NF, data.targets[train])
    if fitted is None:
        return [f"the table alone: there is no such model of data.target={target.kind} yet"]
    reader, linear = fitted
    spec = replace(data.spec, target=reader)
    bare = Member(spec, linear, Decision())
    learned, tuned = (bare.outputs(columns[rows], spec.covariates) for rows in (train, val))
    patients = data.cases["patient"].iloc[val].tolist()
    decision = reader.fit_decision(tuned, data.targets[val], cfg.eval.threshold, patients)
    decision = reader.completed(decision, learned, data.targets[train])
    folder = _made(run)
    alone = TableAlone([replace(bare, decision=decision)], decision)
    alone.save(folder)
    predicted, reader = alone.predicted(data, val, build.plain(cfg.eval))
    write_text(folder / "val_predictions.csv", reader.table(predicted).to_csv(index=False))
    scores = reader.score(predicted.probs, data.targets[val])
    shown = ", ".join(f"val_{name} {value:.4f}" for name, value in scores.items())
    return [f"the table alone ({folder}), without any image: {shown}"]


def judge_table_alone(cfg: DictConfig, data: Data, run: Path, folder: Path, split: str = "test") -> list[str]:
    """Judge the table alone of RUN beside the run, whose own test of a split stands in `folder`; what there is to say.

    Writes the files of a test into FOLDER/table_alone, and ``table_alone`` (metrics, and the run's less these) into the
    test_metrics.json of `folder`.
    """
    if not data.spec.covariates:
        return []
    if not (run / FOLDER / MODEL).is_file():
        return [f"the table alone: none is kept in {run}, so nothing says what the columns tell without any image"]
    alone = TableAlone.read(run / FOLDER)
    rows = data.rows(split)
    predicted, reader = alone.predicted(data, rows, build.plain(cfg.eval))
    options = EvalOptions.read(cfg.eval)
    outcome = reader.judge(predicted, alone.decision, options)
    facts = {"data": cfg.data.name, "synthetic": data.synthetic, "fingerprints": data.fingerprints}
    write_text(_made(folder) / "splits.csv", data.split_table().to_csv(index=False))
    return _beside(folder, outcome, alone, facts | {"split": split}, options)


def join_tables_alone(cfg: DictConfig, judge: Any, units: Sequence[Any], order: Sequence[str], into: Path) -> list[str]:
    """Put the tables alone of an ensemble's members together as their runs are, into the ensemble's folder.

    Args:
        judge: makes of the target that reads tables what judges the files of runs.
        units: of the ensemble, see `medtrain.command.members.Unit`.
        order: of the tested cases.
        into: the ensemble's folder, whose own files are there.
    """
    members = [member for unit in units for member in unit.members]
    if not members[0].spec.covariates:
        return []
    if lacking := [member.name for member in members if not (member.folder / FOLDER / MODEL).is_file()]:
        shown = ", ".join(lacking[:3]) + ", ..." * (len(lacking) > 3)
        return [f"the table alone: none is kept by {len(lacking)} of {len(members)} members ({shown})"]
    fitted = [TableAlone.read(member.folder / FOLDER).members[0] for member in members]
    of_files, options = judge(fitted[0].spec), EvalOptions.read(cfg.eval)
    folds = [
        of_files.fold(unit.repeat, unit.fold, [one.folder / FOLDER for one in unit.members], cfg.eval.threshold)
        for unit in units
    ]
    decision = of_files.fit_whole(folds, order, cfg.eval.threshold, options)
    outcome = of_files.judge(folds, decision, order, options)
    alone, fields = TableAlone(fitted, decision), record.read(into)
    folder = _made(into)
    alone.save(folder)
    write_text(folder / "splits.csv", (into / "splits.csv").read_text(encoding="utf-8"))
    facts = {key: fields.get(key) for key in ("data", "synthetic", "fingerprints")}
    return _beside(into, outcome, alone, facts | {"split": "test"}, options)


def _made(folder: Path) -> Path:
    """Make the folder of the table alone within that of a run or test."""
    own = folder / FOLDER
    own.mkdir(exist_ok=True)
    return own


def _beside(
    folder: Path, outcome: Outcome, alone: TableAlone, facts: Mapping[str, Any], options: EvalOptions
) -> list[str]:
    """Write what the table alone is judged by, and compare it with what stands in `folder`."""
    own, whole = folder / FOLDER, record.read(folder)
    metrics = write_outcome(own, outcome, alone.decision, split=facts["split"])
    more = {key: whole.get(key) for key in ("task", "seed", "versions")}
    more |= {"spec": alone.members[0].spec.to_dict(), "model": "table alone", "verb": "test", "status": "finished"}
    write_json(own / record.FILE, more | dict(facts) | {"heartbeat": record.now()})
    pair = [read_compared(own), read_compared(folder)]
    if wrong := [text for text in pair if isinstance(text, str)]:
        return [f"the table alone is in {own}; it could not be compared: {wrong[0]}"]
    comparison = compare([one for one in pair if not isinstance(one, str)], 0, None, options.bootstrap)
    file = folder / "test_metrics.json"
    difference = comparison["differences"][0]["metrics"]
    write_json(file, read_json_map(file) | {FOLDER: {"metrics": metrics["metrics"], "difference": difference}})
    return [f"the table alone ({own}), without any image:", *comparison["says"]]
