"""export of detectors and bags through the command: it is proven, and says what it is as its schema has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.integration.conftest import TINY_BOXES, Ran
from tests.integration.test_export_runs import films_of

h5py = pytest.importorskip("h5py")
jsonschema = pytest.importorskip("jsonschema")
pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def checked(made: Path) -> dict[str, object]:
    """model.json, which its schema must hold for."""
    facts: dict[str, object] = json.loads((made / "model.json").read_text())
    schema = json.loads((made / str(facts["$schema"])).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(facts, schema)
    for key in schema["required"]:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({name: value for name, value in facts.items() if name != key}, schema)
    return facts


def test_a_detector_in_tiles(folder: Path, medtrain: Callable[..., Ran]) -> None:
    tiles = ["data.tile=32", "data.tile_overlap=0.25", "data.tile_whole=true", "model.score=0.02"]
    ran = medtrain("train", *TINY_BOXES, *tiles, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    ran = medtrain("export", "run=run", "export.cases=6")
    assert ran.code == 0, ran.err
    made = folder / "run" / "export_onnx"
    checked(made)
    parity = json.loads((made / "parity.json").read_text())
    assert parity["pixels"] <= 0.5
    assert (parity["changed"], parity["largest"] <= 1e-5) == ([], True)
    (folder / "films").symlink_to(films_of(folder / "run"))
    own, other = (medtrain("predict", f"run={run}", "input=films", f"output={name}.json")
                  for run, name in (("run", "own"), (made, "other")))  # fmt: skip
    assert (own.code, other.code) == (0, 0), own.err + other.err
    tables = [pd.read_csv(f"{name}.images.csv") for name in ("own", "other")]
    pd.testing.assert_frame_equal(tables[0].drop(columns="boxes"), tables[1].drop(columns="boxes"))
    scores = [sorted(box["score"] for box in json.loads(Path(f"{name}.json").read_text())) for name in ("own", "other")]
    assert len(scores[0]) == pytest.approx(len(scores[1]), abs=2)
    assert scores[0][-5:] == pytest.approx(scores[1][-5:], abs=1e-5)


def test_bags_of_patients(folder: Path, medtrain: Callable[..., Ran]) -> None:
    draw = np.random.default_rng(0)
    rows = ["slide_id,label,patient,age"]
    for number in range(48):  # two slides a patient
        y = number // 2 % 2
        x = draw.normal(size=(int(draw.integers(3, 9)), 8)).astype(np.float16)
        x[:2] += 2 * y
        with h5py.File(folder / f"s{number}.h5", "w") as file:
            file["features"] = x
        rows.append(f"s{number},{y},P{number // 2},{40 + number // 2 % 7}")
    (folder / "bags.csv").write_text("\n".join(rows) + "\n")
    words = [
        "data.table=bags.csv",
        f"data.root={folder}",
        "data.unit=patient",
        "data.covariates=[age]",
        "trainer=cpu",
        "trainer.max_epochs=1",
    ]
    ran = medtrain("train", "task=wsi_mil", "data=feature_bags", *words, "eval.bootstrap=20", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    ran = medtrain("export", "run=run", "output=made")
    assert ran.code == 0, ran.err
    checked(folder / "made")
    ran = medtrain("export", "run=run", "output=half", "export.precision=fp16")
    assert ran.code == 0, ran.err
    parity = json.loads((folder / "half" / "parity.json").read_text())
    assert (parity["limit"], 1e-7 < parity["largest"] <= 1e-3) == (1e-3, True)
    assert all("from where it tips" in text for text in parity["changed"])
    (folder / "new.csv").write_text("slide_id,patient\ns0,A\ns5,B\ns1,A\ns9,C\nnone,C\n")
    tables = []
    for run in ("run", "made"):
        ran = medtrain("predict", f"run={run}", "input=new.csv", f"output={run}.csv")
        assert ran.code == 1, ran.err
        assert "no column 'age', which the model has learned: taken as missing in all rows" in ran.out + ran.err
        tables.append(pd.read_csv(f"{run}.csv"))
    assert tables[0]["case"].tolist() == ["A", "B", "C"]
    assert tables[0]["error"].isna().tolist() == [True, True, False]
    pd.testing.assert_frame_equal(*tables, atol=1e-5)
