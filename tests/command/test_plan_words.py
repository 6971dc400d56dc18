"""What a plan says of the table: columns that nothing reads are named, with the key that would show them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from omegaconf import OmegaConf

from medtrain.command.plan_words import unseen
from medtrain.data.rows.manifest import Manifest, read_manifest


def listed(folder: Path, columns: dict[str, object]) -> Manifest:
    rows = pd.DataFrame({"image": ["a.png", "b.png"], "Label": [0, 1], "subject": ["p", "q"]}).assign(**columns)
    rows.to_csv(folder / "t.csv", index=False)
    return read_manifest({"table": str(folder / "t.csv"), "root": None})


def test_columns_without_a_role_are_named(tmp_path: Path) -> None:
    manifest = listed(tmp_path, {"age": [60, 70], "site": ["a", "b"], "hospital": ["a", "b"], "dose": [1, 2]})
    assert manifest.spare == ["age", "hospital", "dose"]
    cfg = {"task": {"kind": "image"}, "data": {"covariates": ["age"]}, "eval": {"groups": ["hospital"]}}
    (line,) = unseen(manifest.spare, OmegaConf.create(cfg))
    assert line.startswith("columns without a role: dose; ") and "data.covariates=[...]" in line
    masks = OmegaConf.create({"task": {"kind": "mask"}, "data": {"covariates": None}, "eval": {}})
    assert unseen(["label"], masks) == ["columns without a role: label"]  # which no segmentation would see


def test_nothing_is_said_where_each_column_has_one(tmp_path: Path) -> None:
    manifest = listed(tmp_path, {"split": ["train", "val"]})
    assert manifest.spare == []
    assert unseen(manifest.spare, OmegaConf.create({"data": {"covariates": None}, "eval": {}})) == []
