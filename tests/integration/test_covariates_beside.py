"""Columns beside images by the command: trained, compared with the table alone, put together over folds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from medtrain.io.files import read_json


def test_columns_go_through_the_command(medtrain: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for n in range(48):
        Image.fromarray(draw.integers(0, 255, (16, 16)).astype(np.uint8)).save(tmp_path / f"{n}.png")
    label = np.arange(48) % 2
    age = np.where(draw.random(48) < 0.2, "", (50 + 20 * label + draw.normal(0, 9, 48)).round(1).astype(str))
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(48)], "label": label, "age": age})
    table.assign(sex=["f", "m", "m"] * 16).to_csv("t.csv", index=False)
    words = ["data=image_table", "data.table=t.csv", "data.classes=[0,1]", "data.covariates=[age,sex]", "data.folds=2"]
    words += ["model=resnet18", "data.image_size=16", "trainer=cpu", "trainer.max_epochs=1", "data.num_workers=0"]
    words += ["eval.bootstrap=50", "eval.thumbnails=0"]
    for fold in range(2):
        ran = medtrain(*words, f"data.fold={fold}", f"hydra.run.dir=f{fold}")
        assert ran.code == 0, ran.err
    assert "beside the image: age (number" in ran.out and "the table alone" in ran.out
    alone = read_json("f1/test_metrics.json")["table_alone"]
    assert alone["metrics"]["auroc"]["value"] > 0.8
    assert len(alone["difference"]["auroc"]["ci95"]) == 2
    page = Path("f1/report.html").read_text(encoding="utf-8")
    assert "The table alone" in page and "paired over the same patients" in page
    specs = [read_json(f"f{fold}/run.json")["spec"]["covariates"] for fold in range(2)]
    assert specs[0][0]["mean"] != specs[1][0]["mean"]  # each training split has its own scale
    ran = medtrain("ensemble", "runs=[f0,f1]", "hydra.run.dir=both")
    assert ran.code == 0, ran.err
    table[["path"]].to_csv("new.csv", index=False)
    ran = medtrain("predict", "run=both", "input=new.csv", "output=p.csv")
    assert ran.code == 0 and "no column 'age', 'sex'" in ran.out + ran.err
    ran = medtrain("export", "run=both", "output=made", "export.cases=12")
    assert ran.code == 0 and "0 decisions changed" in ran.out, ran.err
    assert read_json("made/parity.json")["cases"] == 12
    facts = read_json("made/model.json")
    assert [len(column["scales"]) for column in facts["rows"]["covariates"]] == [2, 2]
    assert [entry["name"] for entry in facts["networks"]["model"]["inputs"]] == ["pixels", "columns"]
    table.assign(sex="x").to_csv("odd.csv", index=False)
    tables = []
    for run in ("both", "made"):
        ran = medtrain("predict", f"run={run}", "input=odd.csv", f"output={run}.csv")
        assert ran.code == 0 and "48 cases have values that training has not seen: 'x' (48)" in ran.out + ran.err
        tables.append(pd.read_csv(f"{run}.csv"))
    pd.testing.assert_frame_equal(*tables, atol=1e-5)
