"""Which runs make an ensemble, and everything that is wrong with those that don't; no run is trained for it."""

from __future__ import annotations

import json
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from omegaconf import OmegaConf

from medtrain.command.members import read_members, units_of
from medtrain.config.compose import compose, resolved
from medtrain.core.errors import UsageError
from medtrain.io.files import sha256

SPEC = {
    "label_kind": "binary",
    "classes": ["0", "1"],
    "channels": 1,
    "size": [8, 8],
    "spacing": None,
    "mean": [],
    "std": [],
}
SPLIT = ["test", "test", "val", "val", "train", "train"]


@cache
def shipped() -> dict[str, Any]:
    """A resolved configuration, as runs save it."""
    plain: Any = OmegaConf.to_container(resolved(compose([]).cfg))
    return plain


def run(
    folder: Path, split: list[str], folds: str | None = None, fold_of: list[int] | None = None, **facts: Any
) -> Path:
    """A run folder of six cases; `folds` names its cross-validation."""
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "best.ckpt").write_text(str(folder) if facts.pop("trained", True) else "same")
    positive = facts.get("spec", SPEC)["classes"][-1]
    decision = {"policy": 0.5, "temperature": 1.0, "thresholds": {positive: 0.5}}
    decision["checkpoint_sha256"] = sha256(folder / "checkpoints" / "best.ckpt")
    (folder / "decision.json").write_text(json.dumps(decision))
    rows = {"case": list("abcdef"), "patient": list("ppqqrr"), "split": split, "fold": fold_of or [None] * 6}
    pd.DataFrame(rows).to_csv(folder / "splits.csv", index=False)
    for name in ("val", "test"):
        (folder / f"{name}_predictions.csv").write_text("case,patient\n")
    prints = {"table": "t", "split": str(split)} | ({"folds": folds} if folds else {})
    record = {"verb": "train", "status": "finished", "spec": SPEC, "fingerprints": prints, "model": "resnet18"}
    (folder / "run.json").write_text(json.dumps(record | {k: v for k, v in facts.items() if k in record}))
    cfg = deepcopy(shipped()) | {"seed": facts.get("seed", 0)}
    cfg["model"]["_target_"] = facts.get("target", "medtrain.model.resnet18")
    cfg["eval"]["tta"], cfg["data"]["split_seed"] = facts.get("tta", 0), facts.get("split_seed", 0)
    (folder / "config.yaml").write_text(yaml.safe_dump(cfg))
    return folder


def fold(folder: Path, number: int, folds: str = "cv", **facts: Any) -> Path:
    parts = [0, 0, 1, 1, 2, 2]
    split = ["test" if p == number else "val" if p == (number + 1) % 3 else "train" for p in parts]
    return run(folder, split, folds, parts, **facts)


def refused(folders: list[Path]) -> str:
    with pytest.raises(UsageError) as caught:
        units_of(read_members(folders))
    return str(caught.value)


def test_folds_are_grouped_by_cross_validation_and_seeds_of_one_belong_together(tmp_path: Path) -> None:
    folders = [
        fold(tmp_path / f"{cv}_{k}_{seed}", k, cv, seed=seed, split_seed=r)
        for k in (2, 0, 1)
        for r, cv in enumerate(("one", "two"))
        for seed in ((0, 1) if cv == "one" else (0,))
    ]
    units = units_of(read_members(folders))
    assert [(u.repeat, u.fold, len(u.members)) for u in units] == [
        (0, 0, 2), (0, 1, 2), (0, 2, 2), (1, 0, 1), (1, 1, 1), (1, 2, 1),
    ]  # fmt: skip
    for unit in units:
        assert all(member.fold == unit.fold for member in unit.members)


def test_missing_and_doubled_folds_are_all_listed(tmp_path: Path) -> None:
    folders = [fold(tmp_path / f"a{k}", k) for k in (0, 1, 2)]
    folders += [fold(tmp_path / "b0", 0), fold(tmp_path / "c1", 1, seed=7)]
    text = refused(folders)
    assert f"seed 0 has data.fold=0 2 times: {tmp_path / 'a0'}, {tmp_path / 'b0'}" in text
    assert "seed 7 lacks data.fold=0,2 (of 3 folds)" in text
    other = [fold(tmp_path / "d2", 2, target="medtrain.model.resnet50"), *folders[:2]]
    assert "lacks data.fold=2" in refused(other) and "lacks data.fold=0,1" in refused(other)
    assert "1 are not" in refused([*folders[:3], run(tmp_path / "plain", SPLIT)])


def test_runs_that_can_t_be_members(tmp_path: Path) -> None:
    good = run(tmp_path / "good", SPLIT)
    (bare := run(tmp_path / "bare", SPLIT, seed=1)).joinpath("val_predictions.csv").unlink()
    text = refused(
        [good, bare, run(tmp_path / "live", SPLIT, status="failed"), run(tmp_path / "ens", SPLIT, verb="ensemble")]
    )
    assert "bare: it has no val_predictions.csv" in text and "live: not finished (failed)" in text
    assert "ens: an ensemble already" in text and "good" not in text.replace("goes on", "")
    (run(tmp_path / "other", SPLIT) / "checkpoints" / "best.ckpt").write_text("changed")
    assert "fitted for another checkpoint" in refused([good, tmp_path / "other"])
    three = SPEC | {"classes": ["0", "2"]}
    text = refused([good, run(tmp_path / "x", SPLIT, spec=three), run(tmp_path / "y", SPLIT, tta=4)])
    assert "x: classes ['0', '2'], where" in text and "y: eval.tta 4, where" in text
    boxes = run(tmp_path / "boxes", SPLIT, spec=SPEC | {"label_kind": "boxes"})
    assert "boxes: it has no val_predictions.json, val_truth.json, test_predictions.json" in refused([good, boxes])


def test_runs_of_one_split(tmp_path: Path) -> None:
    good = run(tmp_path / "good", SPLIT)
    (unit,) = units_of(read_members([good, run(tmp_path / "seed", SPLIT, seed=1)]))
    assert unit.fold is None and len(unit.members) == 2
    assert "needs two runs" in refused([good])
    leaky = run(tmp_path / "leaky", ["train", "train", "val", "val", "test", "test"])
    text = refused([good, leaky])
    assert f"leak: {leaky} was trained or tuned on what {good} tests: case a, b" in text
    assert f"leak: {good} was trained or tuned on what {leaky} tests: case e, f" in text
    patient = run(tmp_path / "patient", ["test", "", "val", "val", "train", "train"])
    assert "other val or test cases" in refused([good, patient])
    copies = [run(tmp_path / f"copy{k}", SPLIT, trained=False) for k in (0, 1)]
    assert "copy1: the same weights as" in refused(copies)
