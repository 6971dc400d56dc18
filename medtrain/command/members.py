"""The runs of an ensemble: read from their folders, checked against each other, and grouped by what they tested.

A case may only be judged by models that never saw its patient. So runs belong together in one of two ways: they are
the folds of a cross-validation, which test every case once, or they share one test split.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import DictConfig

from medtrain.augment import MIRRORS
from medtrain.command import build
from medtrain.config.saved import load_saved
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.core.words import first_few
from medtrain.io import record
from medtrain.io.files import read_json
from medtrain.target import DataSpec, Decision

NEEDED = ("checkpoints/best.ckpt", "decision.json", "splits.csv")
PREDICTED = {
    **dict.fromkeys(("probabilities", "values", "times"), ("predictions.csv",)),
    "boxes": ("predictions.json", "truth.json"),
}  # by a target's form


@dataclass(frozen=True)
class Member:
    """A finished run.

    Args:
        fields: its run.json.
        splits: its splits.csv, all text.
        parts: what tells its cross-validation from others; None for a run that is no fold.
        fold: the part that it tested.
    """

    folder: Path
    fields: dict[str, Any]
    cfg: DictConfig
    spec: DataSpec
    decision: Decision
    splits: pd.DataFrame
    parts: str | None
    fold: int | None

    @property
    def name(self) -> str:
        """Name the run by folder and parent: enough to find it, and no path of a machine."""
        return "/".join(self.folder.absolute().parts[-2:])

    @property
    def series(self) -> tuple[int, str]:
        """Give seed and network: of these a cross-validation has every fold once."""
        return int(self.cfg.seed), json.dumps(build.plain(self.cfg.model), sort_keys=True)

    def cases(self, *splits: str, column: str = "case") -> set[str]:
        if column not in self.splits:  # a run of 0.1
            return set()
        return set(self.splits.loc[self.splits["split"].isin(splits), column]) - {""}


@dataclass(frozen=True)
class Unit:
    """Runs that tested the same cases, having been trained on none of them.

    Args:
        repeat: which of several cross-validations, from 0.
        fold: which part of it; None where the runs are no folds.
    """

    repeat: int
    fold: int | None
    members: list[Member]

    @property
    def name(self) -> str:
        """Name the fold, and its cross-validation where it is not the first."""
        return f"fold {self.fold}" + f" of cross-validation {self.repeat + 1}" * (self.repeat > 0)


def read_members(folders: Sequence[Path]) -> list[Member]:
    """Open runs.

    Raises:
        UsageError: with every run that can't be a member, and every difference that keeps them apart.
    """
    members, faults = [], []
    for folder in folders:
        try:
            members.append(_read(folder))
        except MedtrainError as error:
            faults.append(f"{folder}: {error}")
    if faults:
        raise UsageError("\n".join(["these can't be members of an ensemble:", *(f"  {fault}" for fault in faults)]))
    _alike(members)
    return members


def _read(folder: Path) -> Member:
    fields = record.read(folder)
    if (verb := fields.get("verb")) != "train":
        raise UsageError("an ensemble already; name its members" if verb == "ensemble" else "not a training")
    if (state := record.status(fields)) != "finished":
        raise UsageError(f"not finished ({state}); medtrain resume={folder} goes on with it, or leave it out")
    spec = DataSpec.from_dict(fields["spec"])
    predicted = [name for form in PREDICTED if form in spec.target.forms for name in PREDICTED[form]]
    needed = [*NEEDED, *(f"{split}_{name}" for split in ("val", "test") for name in predicted)]
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise UsageError(f"it has no {', '.join(missing)}; train it again (medtrain run={folder} hydra.run.dir=NEW)")
    splits = pd.read_csv(folder / "splits.csv", dtype=str, keep_default_na=False)
    parts, tested = fields["fingerprints"].get("folds"), splits.loc[splits["split"] == "test", "fold"].unique()
    return Member(
        folder,
        fields,
        load_saved(folder, "runs"),
        spec,
        Decision.load(folder / "decision.json", folder / "checkpoints" / "best.ckpt", spec.target),
        splits,
        parts,
        None if parts is None else int(tested[0]),
    )


def _alike(members: list[Member]) -> None:
    """Refuse runs whose predictions mean different things."""

    def facts(member: Member) -> dict[str, Any]:
        views, augment = member.cfg.eval.get("tta") or 0, build.plain(member.cfg.augment)
        spec = {key: value for key, value in member.spec.to_dict().items() if key != "boxes"}  # each has its anchors
        spec |= dict.fromkeys(member.spec.target.learns)
        spec["covariates"] = [(column.name, column.kind) for column in member.spec.covariates]
        if member.spec.strides:  # planned from its own training cases; it sees others by its own plan
            spec |= dict.fromkeys(("size", "spacing", "strides", "directed"))
            spec["intensity"] = bool(member.spec.intensity)
        if not member.spec.dims:  # networks for bags keep the statistics of their own training features
            spec |= {"mean": None, "std": None}
        return {
            "task": member.cfg.task.name,
            **spec,
            "encoder": _encoder(member.cfg),
            "data.control": member.cfg.data.get("control"),
            "task.pool": member.cfg.task.get("pool"),
            "task.merge": member.cfg.task.get("merge"),
            "data.tile": member.cfg.data.get("tile"),
            "eval.gate": member.cfg.eval.get("gate"),
            "eval.tta": views,
            "eval.tolerance": member.cfg.eval.get("tolerance"),
            "eval.largest_component": member.cfg.eval.get("largest_component"),
            "mirrored views": [key for key in MIRRORS if augment.get(key)] if member.cfg.task.get("mirror") else [],
            "flips": [bool(augment.get(f"flip_{way}")) for way in ("horizontal", "vertical")] if views > 1 else None,
        }

    first = facts(members[0])
    faults = [
        f"  {member.folder}: {key} {value}, where {members[0].folder} has {first[key]}"
        for member in members[1:]
        for key, value in facts(member).items()
        if value != first[key]
    ]
    if faults:
        raise UsageError("\n".join(["the runs are too different for one ensemble:", *faults]))


def _encoder(cfg: DictConfig) -> Any:
    """Give what makes the features that a member learned from; None where it sees cases themselves, or bags."""
    return build.plain(cfg.encoder) if {"encoder"} & set(build.parts_taken(cfg)) else None


def units_of(members: list[Member]) -> list[Unit]:
    """Group runs by what they tested.

    Raises:
        UsageError: folds that are missing or there twice, leaks between runs, other test cases; all of them listed.
    """
    alone = [member for member in members if member.parts is None]
    if alone and len(alone) < len(members):
        raise UsageError(
            f"{len(members) - len(alone)} of the runs are folds of a cross-validation, {len(alone)} are not, such as "
            f"{alone[0].folder}: give one kind or the other"
        )
    return [Unit(0, None, _one_split(members))] if alone else _folds(members)


def _folds(members: list[Member]) -> list[Unit]:
    groups: dict[str, list[Member]] = defaultdict(list)
    for member in members:
        groups[str(member.parts)].append(member)
    faults: list[str] = []
    units: list[Unit] = []
    for repeat, group in enumerate(groups.values()):
        folds = sorted({int(fold) for fold in group[0].splits["fold"] if fold})
        which = f"data.split_seed={group[0].cfg.data.get('split_seed')}: " if len(groups) > 1 else ""
        faults += [f"  {which}{fault}" for fault in _missing_or_doubled(group, folds)]
        units += [Unit(repeat, fold, [member for member in group if member.fold == fold]) for fold in folds]
    cases = [set(group[0].splits["case"]) for group in groups.values()]
    faults += ["  the cross-validations are of different cases"] * any(
        cases_of_group != cases[0] for cases_of_group in cases
    )
    if faults:
        raise UsageError("\n".join(["every fold is needed once a seed and network:", *faults]))
    return units


def _missing_or_doubled(group: list[Member], folds: list[int]) -> list[str]:
    faults = []
    for series in dict.fromkeys(member.series for member in group):
        of_series = [member for member in group if member.series == series]
        if missing := [str(fold) for fold in folds if fold not in {member.fold for member in of_series}]:
            faults.append(f"seed {series[0]} lacks data.fold={','.join(missing)} (of {len(folds)} folds)")
        for fold in folds:
            if len(same := [str(member.folder) for member in of_series if member.fold == fold]) > 1:
                faults.append(f"seed {series[0]} has data.fold={fold} {len(same)} times: {', '.join(same)}")
    return faults


def _one_split(members: list[Member]) -> list[Member]:
    if len(members) < 2:
        raise UsageError(f"{members[0].folder}: an ensemble needs two runs, or all folds of a cross-validation")
    faults = []
    for a, b in permutations(members, 2):
        for column in ("content", "case", "patient"):
            if shared := sorted(a.cases("train", "val", column=column) & b.cases("test", column=column)):
                which = f"{column} {first_few(shared, 3)}"
                faults.append(f"  leak: {a.folder} was trained or tuned on what {b.folder} tests: {which}")
                break
    others = [m for m in members[1:] if any(m.cases(s) != members[0].cases(s) for s in ("val", "test"))]
    faults += [f"  {m.folder}: other val or test cases than {members[0].folder}" for m in others if not faults]
    weights = [read_json(member.folder / "decision.json")["checkpoint_sha256"] for member in members]
    faults += [
        f"  {members[n].folder}: the same weights as {members[weights.index(weight)].folder}"
        for n, weight in enumerate(weights)
        if weights.index(weight) < n
    ]
    if faults:
        raise UsageError("\n".join(["the runs share no test split:" if others else "a run counts once:", *faults]))
    return members
