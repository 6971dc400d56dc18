"""Several images a case by the command: two views, of which one by chance shows the finding."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.metrics import roc_auc_score

from medtrain.io.files import read_json

CASES = 96


def test_cases_of_two_views_go_through_the_command(medtrain: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    draw = np.random.default_rng(0)
    rows = []
    for case in range(CASES):
        label, shows = case % 2, int(draw.integers(2))
        for view in range(2):
            pixels = draw.normal(100, 20, (16, 16))
            if label and view == shows:
                y, x = draw.integers(1, 9, 2)
                pixels[y : y + 6, x : x + 6] += 90
            file = f"{case}_{view}.png"
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file)
            split = ("train", "train", "train", "val", "test", "test")[case // 16]
            row = {"path": file, "label": label, "patient": f"p{case}", "exam": f"e{case}", "split": split}
            rows.append(row | {"shows": view == shows, "view": view})
    table = pd.DataFrame(rows)
    table.to_csv("t.csv", index=False)
    words = ["data=image_table", "data.table=t.csv", "data.classes=[0,1]", "data.columns.case=exam", "model=resnet18"]
    words += ["task.pool=attention", "data.image_size=16", "data.batch_size=8", "model.weights=none", "trainer=cpu"]
    words += ["trainer.max_epochs=4", "data.num_workers=0", "eval.bootstrap=50", "hydra.run.dir=run"]
    ran = medtrain(*words)
    assert ran.code == 0 and "192 rows are 96 cases (data.columns.case): 96 of 2" in ran.out + ran.err, ran.err
    splits = pd.read_csv("run/splits.csv")
    assert splits["case"].tolist() == [f"e{case}" for case in range(CASES)]
    assert splits["content"].str.startswith("c1:").all()
    tested = pd.read_csv("run/test_predictions.csv")
    assert len(tested) == 32 and read_json("run/test_metrics.json")["n_cases"] == 32
    both = read_json("run/test_metrics.json")["metrics"]["auroc"]["value"]
    test = table[table["split"] == "test"]
    test[["path", "exam"]].to_csv("both.csv", index=False)
    test[test["view"] == 0][["path", "exam"]].to_csv("one.csv", index=False)
    tables = {}
    for name in ("both", "one"):
        ran = medtrain("predict", "run=run", f"input={name}.csv", f"output={name}_out.csv")
        assert ran.code == 0, ran.err
        tables[name] = pd.read_csv(f"{name}_out.csv")
        assert tables[name]["case"].tolist() == tested["case"].tolist()
    np.testing.assert_allclose(tables["both"]["prob_1"], tested["prob_1"], atol=1e-6)
    one = roc_auc_score(tested["target"], tables["one"]["prob_1"])
    assert both > 0.95 and one < both - 0.1, "a finding in one of two views is seen by a case of both"
    test.iloc[:4][["path", "exam"]].to_csv("few.csv", index=False)
    ran = medtrain("explain", "run=run", "input=few.csv", "output=maps", "explain.method=gradcam")
    assert ran.code == 0, ran.err
    maps = pd.read_csv("maps/explain.csv")
    assert [Path(file).name for file in maps["image"]] == test["path"].iloc[:4].tolist()
    np.testing.assert_allclose(maps.groupby("case")["weight"].sum(), 1)
    assert maps["picture"].nunique() == 4 and all((Path("maps") / file).is_file() for file in maps["map"])
    sick = maps[maps["case"] == test["exam"].iloc[2]]
    shown = sick["image"].map(lambda file: bool(table.set_index("path")["shows"][Path(file).name]))
    assert sick[shown]["alone"].item() > sick[~shown]["alone"].item()
    ran = medtrain("export", "run=run", "output=made")
    assert ran.code == 2 and "data.columns.case=exam" in ran.err
    assert not Path("made").exists()
