"""Columns beside the input in exports: in the graph as the network fuses them, and read from tables as predict does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from medtrain import model as models
from medtrain.core.covariates import Covariate, united
from medtrain.core.segments import Packed, segment_offsets
from medtrain.export.portable import ExportRequest
from medtrain.export.runtime.columns import read_beside
from medtrain.export.runtime.inputs import Case, cases_of_table, list_cases
from medtrain.export.runtime.started import Started
from medtrain.model import fuse, show_columns
from medtrain.target import DataSpec
from medtrain.task.classification.portable import portable_images
from medtrain.task.classification.portable_volumes import portable_volumes
from medtrain.task.mil.portable import portable_bags
from tests.export.test_export_networks import computed, decision_of, small, spec_of, task_of

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

AGE = Covariate("age", "number", 50.0, 12.0, 20.0, 90.0, missing=3)
SEX = Covariate("sex", "category", categories=("f", "m"))
COLUMNS = torch.tensor([[61.5, 0.0], [torch.nan, 1.0], [33.0, torch.nan], [torch.nan, torch.nan], [-40.0, 1.0]])


def with_columns(spec: DataSpec, *known: Covariate) -> DataSpec:
    return replace(spec, covariates=known or (AGE, SEX))


def stirred(network: torch.nn.Module) -> torch.nn.Module:
    """The network with fusions that do something, as after a training."""
    torch.manual_seed(1)
    for name, parameter in network.named_parameters():
        if ".beside." in f".{name}":
            torch.nn.init.normal_(parameter, std=0.3)
    return network.eval()


@pytest.mark.parametrize("how", ["concat", "film"])
def test_images_of_an_ensemble_whose_members_have_learned_other_names(how: Any, tmp_path: Path) -> None:
    other = (replace(AGE, mean=40.0, std=7.0), replace(SEX, categories=("m", "x")))
    spec = with_columns(spec_of("multiclass", 2), *united([(AGE, SEX), other]))
    assert spec.covariates[1].categories == ("f", "m", "x")
    own = [with_columns(spec), replace(spec, covariates=other)]
    networks = [stirred(fuse(small(each), each, how, coded_by=spec.covariates)) for each in own]
    task = task_of(networks, spec)
    part = portable_images(task, ExportRequest(decision_of(spec), {})).parts["model"]
    pixels = torch.from_numpy(np.random.default_rng(0).integers(0, 65536, (5, 1, 32, 32), np.uint16))
    theirs, graph = computed(part, tmp_path / "m.onnx", {"pixels": pixels, "columns": COLUMNS})
    for one, torchs in zip(theirs, graph, strict=True):
        np.testing.assert_allclose(one, torchs, atol=1e-6)
    show_columns(task.model, COLUMNS)
    with torch.no_grad():
        logits_NSK = task.model((pixels.float() / 65535 - 0.4) / 0.2).double().numpy()
    probs_NSC = np.stack([spec.target.probabilities(logits_NSK[:, s] / (1.5, 0.7)[s], 1.3) for s in (0, 1)], 1)
    np.testing.assert_allclose(theirs[0], probs_NSC.mean(1), atol=1e-6)
    apart, _ = computed(part, tmp_path / "n.onnx", {"pixels": pixels, "columns": torch.full((5, 2), torch.nan)})
    assert np.abs(apart[0] - theirs[0]).max() > 1e-3  # it sees them


def test_a_volume_has_one_row_for_all_patches(tmp_path: Path) -> None:
    spec = with_columns(spec_of("binary", 3))
    network = stirred(fuse(models.resnet10_3d(spec, weights="none", width=8), spec, "film"))
    part = portable_volumes(task_of([network], spec), ExportRequest(decision_of(spec), {"patch_size": 9})).parts[
        "model"
    ]
    patches = torch.from_numpy(np.random.default_rng(0).random((3, 1, *spec.size), np.float32))
    theirs, own = computed(part, tmp_path / "m.onnx", {"patches": patches, "columns": COLUMNS[:1]})
    show_columns(network, COLUMNS[:1].expand(3, -1))
    with torch.no_grad():
        expected = network((patches - 0.4) / 0.2)
    np.testing.assert_allclose(theirs[0][:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(own[0][:, 0], expected, atol=1e-6)


@pytest.mark.parametrize("name", ["attention_mil", "transmil", "neighbour_mil"])
def test_bags_of_one_bag(name: str, tmp_path: Path) -> None:
    spec = with_columns(DataSpec.of("binary", ("no", "yes"), 8, ()))
    torch.manual_seed(0)
    network = stirred(fuse(getattr(models, name)(spec), spec, "concat"))
    task = SimpleNamespace(model=network, spec=spec, target=spec.target, views=None, mc_dropout=0, pool="mean")
    parts = portable_bags(task, ExportRequest(decision_of(spec), {})).parts
    part = next((own for key, own in parts.items() if key.startswith("up_to_")), parts["model"])
    inputs = dict(part.inputs) | {"columns": COLUMNS[:1]}
    theirs, own = computed(part, tmp_path / "m.onnx", inputs)
    for one, torchs in zip(theirs, own, strict=True):
        np.testing.assert_allclose(one, torchs, atol=1e-5)
    if name == "attention_mil":
        x = inputs["features"]
        with torch.no_grad():
            logits = network(Packed(x, segment_offsets([len(x)]), columns=COLUMNS[:1])).double().numpy()
        np.testing.assert_allclose(theirs[0], spec.target.probabilities(logits, 1.3)[0], atol=1e-6)


def started(given: Path, **more: Any) -> Started:
    rows = {"columns": {}, "patient_pattern": None, "path_format": None, "merge_case": True}
    rows["covariates"] = [column.to_dict() | {"scales": []} for column in (AGE, SEX)]
    return Started(given, given, {"rows": rows | more}, {}, 1)


def test_cells_of_a_table_are_coded_and_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = tmp_path / "new.csv"
    lines = [
        "path;age ;sex;patient",
        "a.png;61,5;F;7.0",
        ";;;",
        'b.png;x;"unknown\nof all";NA',
        "c.png;;-;",
        "d.png;999;m;P2",
    ]
    table.write_text("\n".join(lines))
    own = started(table)
    cases = cases_of_table(table, own.facts["rows"])
    assert [case.patient for case in cases] == ["7", "b.png", "c.png", "P2"]
    columns = read_beside(own, cases).of([0, 1, 2, 3])["columns"]
    np.testing.assert_array_equal(columns, np.array([[61.5, 0], [np.nan] * 2, [np.nan] * 2, [999, 1]], np.float32))
    err = capsys.readouterr().err
    for text in (
        "new.csv: commas in 'age' are read as decimal points, '61,5' as 61.5",
        "warning: new.csv row 4: age is 'x', no number: 1 such rows, taken as missing",
        "age: 1 cases lie far outside training's 20 to 90: 999",
        "sex: 1 cases have values that training has not seen: 'unknown of all' (1); taken as unknown",
    ):
        assert text in err


def test_a_folder_has_no_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    own = started(tmp_path)
    cases: list[Case] = list_cases(tmp_path, own.facts["rows"], lambda folder: sorted(folder.iterdir()))
    assert np.isnan(read_beside(own, cases).of([0])["columns"]).all()
    assert "no column 'age', 'sex', which the model has learned: taken as missing" in capsys.readouterr().err
    assert read_beside(started(tmp_path, covariates=[]), cases).of([0]) == {}
