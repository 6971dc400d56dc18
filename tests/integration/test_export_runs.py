"""export through the command: what is written, that it answers alone, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.conftest import Ran

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


def test_an_export_predicts_as_its_run(trained: Path, folder: Path, installed: Callable[..., Ran]) -> None:
    import onnx

    ran = installed("export", f"run={trained}", "output=made", "export.cases=8")
    assert ran.code == 0, ran.err
    made = folder / "made"
    assert "0 decisions changed" in ran.out
    parity = json.loads((made / "parity.json").read_text())
    assert parity["largest"] <= 1e-5
    assert [batch["cases"] for batch in parity["batches"].values()] == [parity["cases"] + 4] * 2
    facts = json.loads((made / "model.json").read_text())
    model = onnx.load(made / "model.onnx")
    written = {entry.key: entry.value for entry in model.metadata_props}
    assert written["medtrain.checkpoint_sha256"] == facts["checkpoint_sha256"]
    assert json.loads((trained / "decision.json").read_text())["checkpoint_sha256"] == facts["checkpoint_sha256"]
    assert not [node for node in model.graph.node if node.metadata_props or node.doc_string]  # paths of this machine
    assert facts["networks"]["model"]["inputs"][0]["shape"][:2] == ["batch", 1]
    assert not list(folder.glob(".export_*"))
    card = (made / "model_card.md").read_text()
    assert "the data are synthetic" in card
    assert facts["checkpoint_sha256"] in card
    assert str(folder) not in card
    assert not list(re.finditer(r"/\w+/\w+/", card)), "a path of this machine"

    films = pd.read_csv(trained / "test_predictions.csv")
    again = installed("predict", f"run={made}", f"input={films_of(trained)}", "output=exported.csv")
    own = installed("predict", f"run={trained}", f"input={films_of(trained)}", "output=own.csv")
    assert (again.code, own.code) == (0, 0), again.err + own.err
    one, other = pd.read_csv(folder / "own.csv"), pd.read_csv(folder / "exported.csv")
    assert len(one) >= len(films)
    assert one["prediction"].tolist() == other["prediction"].tolist()
    assert (one["prob_1"] - other["prob_1"]).abs().max() < 1e-5
    table = folder / "films.csv"
    table.write_text(f"path;patient\n{films_of(trained) / one['case'][0]};P1\nnowhere.png;P2\n")
    done = subprocess.run(
        [sys.executable, "-I", made / "predict.py", table, "rows.csv"], capture_output=True, text=True, cwd=folder
    )
    assert done.returncode == 1
    rows = pd.read_csv(folder / "rows.csv")
    assert rows["patient"].tolist() == ["P1", "P2"]
    assert rows["prob_1"][0] == pytest.approx(one["prob_1"][0], abs=1e-5)
    assert rows["error"][1] == "no such file"


def films_of(run: Path) -> Path:
    """The folder of the films that a phantom run was trained on."""
    from medtrain.config.saved import load_saved
    from medtrain.data.source import reader

    node = load_saved(run).data
    return Path(reader(node.name)(node, None, None).path[0]).parent


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    trained: Path, folder: Path, medtrain: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = folder / "run"
    shutil.copytree(trained, run, ignore=shutil.ignore_patterns("tensorboard", "plots", "failures"))
    before = sorted(run.iterdir())
    for words, code, text in (
        (["format=onx"], 2, "did you mean 'onnx'"),
        (["format=torch_export", "export.opset=18"], 2, "torch_export has no opsets"),
        (["export.opset=7"], 2, "export.opset=7: from 18 to 23"),
        (["eval.mc_dropout=3"], 2, "mc_dropout"),
        (["output=run"], 2, "there is something already"),
    ):
        ran = medtrain("export", f"run={run}", *words)
        assert (ran.code, text in ran.err) == (code, True), ran.err
    with monkeypatch.context() as patched:
        patched.setitem(sys.modules, "onnxscript", None)
        ran = medtrain("export", f"run={run}")
        assert ran.code == 2
        assert "pip install 'medtrain[export]'" in ran.err
    fields = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(fields | {"status": "failed"}))
    ran = medtrain("export", f"run={run}")
    assert (ran.code, "not finished (failed)" in ran.err) == (2, True), ran.err
    assert sorted(run.iterdir()) == before
