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
    assert "the table alone (both/table_alone)" in ran.out
    joint = read_json("both/test_metrics.json")["table_alone"]
    assert len(read_json("both/table_alone/model.json")["members"]) == 2
    whole = pd.read_csv("both/table_alone/test_predictions.csv")
    parts = pd.concat([pd.read_csv(f"f{fold}/table_alone/test_predictions.csv") for fold in range(2)])
    paired = whole.merge(parts, on="case")
    np.testing.assert_allclose(paired["prob_1_x"], paired["prob_1_y"])  # out of fold: of the member that tested it
    assert joint["metrics"]["auroc_within_folds"]["value"] > 0.8
    elsewhere = table.assign(path=[f"x{n}.png" for n in range(48)])
    for n in range(48):
        Image.fromarray(draw.integers(0, 255, (16, 16)).astype(np.uint8)).save(tmp_path / f"x{n}.png")
    elsewhere.to_csv("x.csv", index=False)
    for run in ("f0", "both"):
        ran = medtrain("test", f"run={run}", "data=image_table", "data.table=x.csv", "name=x")
        assert ran.code == 0, ran.err
        assert f"the table alone ({run}/test_x/table_alone)" in ran.out
        assert "The table alone" in Path(run, "test_x/report.html").read_text(encoding="utf-8")
    judged = read_json("f0/test_x/table_alone/test_metrics.json")
    assert judged["n_cases"] == 48 and judged["split"] == "test"
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


def test_a_run_that_leaves_its_test_alone_keeps_the_table_for_later(
    medtrain: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    for n in range(40):
        Image.fromarray(draw.integers(0, 255, (16, 16)).astype(np.uint8)).save(tmp_path / f"{n}.png")
    grade, age = np.arange(40) % 3, 60 + 5 * (np.arange(40) % 3) + draw.normal(0, 2, 40)
    table = pd.DataFrame({"path": [f"{n}.png" for n in range(40)], "label": grade, "age": age.round(1)})
    table.assign(hand=["l"] * 40).to_csv("t.csv", index=False)
    words = ["data=image_table", "data.table=t.csv", "data.target=ordinal", "data.covariates=[age,hand]"]
    words += ["model=resnet18", "data.image_size=16", "trainer=cpu", "trainer.max_epochs=1", "data.num_workers=0"]
    words += ["eval.bootstrap=50", "eval.thumbnails=0", "data.control=image"]
    ran = medtrain(*words, "eval.test=false", "hydra.run.dir=r")
    assert ran.code == 0, ran.err
    assert "val_" in ran.out.partition("the table alone (r/table_alone)")[2]
    assert not Path("r/table_alone/test_metrics.json").exists()
    assert read_json("r/run.json")["model"] == "resnet18 (data.control=image)"
    ran = medtrain("test", "run=r")
    assert ran.code == 0 and "the table alone (r/test_test/table_alone)" in ran.out, ran.out + ran.err
    page = Path("r/test_test/report.html").read_text(encoding="utf-8")
    assert "<h1>resnet18 (data.control=image) on image_table</h1>" in page
    assert "age is unknown of 0 training cases" in page and "age: standardised by mean" in page
    ran = medtrain("inspect", *words[:4], "data.image_size=16", "hydra.run.dir=i")
    kinds = [problem["kind"] for problem in read_json("i/inspect.json")["problems"]]
    assert "constant_covariate" in kinds and "columns beside the image" in ran.out
    facts = read_json("i/inspect.json")["covariates"]["age"]
    assert facts["missing"] == 0
    assert facts["by_class"]["2"]["median"] == np.median(table.age[grade == 2])
