"""Segmentations as graphs of a window and a plan: what predict.py writes of volumes is what the run writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from scipy import ndimage

from medtrain import model as models
from medtrain.data.batches.masks import MaskData
from medtrain.export.formats import onnx as onnx_format
from medtrain.export.parity import Limits
from medtrain.export.parity_masks import compare_masks
from medtrain.export.portable import ExportRequest, Portable
from medtrain.export.runtime.masks import main, read_case
from medtrain.export.runtime.network_onnx import Network
from medtrain.model import Ensemble
from medtrain.target import DataSpec, Decision
from medtrain.target.mask import MaskTarget
from medtrain.task.segmentation.module import Segmentation
from medtrain.task.segmentation.portable import WindowNetwork, said_by
from tests.segmentations import halved_balls, segmentation

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

IDENTITY = {"run": "r", "version": "0", "checkpoint_sha256": "0" * 64, "task": "t"}
DECISION = Decision(0.5, 1.0, {})
REQUEST = ExportRequest(DECISION, {})
NESTED = {"all": [1, 2], "right": [2]}


def written(portable: Portable, folder: Path) -> None:
    """Write an export's graphs and what predict.py reads of its model.json."""
    networks = {
        name: onnx_format.write(part, folder / f"{name}.onnx", None, IDENTITY) for name, part in portable.parts.items()
    }
    rows = {"columns": {"path": None, "patient": None, "case": None}, "patient_pattern": None, "path_format": None}
    facts = {"reads": "a volume", "writes": "a CSV", "run": "r", "batch_size": 1, "networks": networks, "rows": rows}
    (folder / "model.json").write_text(json.dumps(facts | dict(portable.facts)))


@pytest.mark.parametrize("name", ["unet_3d", "resunet_3d", "vnet"])
@pytest.mark.parametrize("regions", [(), ((1, 2), (2,))], ids=["labels", "regions"])
def test_windows_get_the_probabilities_of_the_network(
    name: str, regions: tuple[tuple[int, ...], ...], tmp_path: Path
) -> None:
    target = MaskTarget(("a", "b"), ("a", "b"), (1, 2), regions)
    strides = ((1, 1, 1), (1, 2, 2), (2, 2, 2))
    spec = DataSpec(target, 2, (6, 16, 12), (3.0, 1.0, 1.0), strides=strides)
    torch.manual_seed(0)
    network = getattr(models, name)(spec, width=4).eval()
    task = Segmentation(spec, network)
    part = task.portable(REQUEST).parts["model"]
    facts = onnx_format.write(part, tmp_path / "model.onnx", None, IDENTITY)
    assert facts["inputs"][0]["shape"] == ["patches", 2, 6, 16, 12]
    for number in (1, 3):
        x = torch.randn(number, 2, 6, 16, 12)
        with torch.no_grad():
            expected = said_by(network, bool(regions), x).numpy()
        given = Network(tmp_path, facts)(patches=x.numpy())["probabilities"]
        np.testing.assert_allclose(given, expected, atol=1e-5)
        assert given.std() > 1e-3


@pytest.mark.parametrize(
    ("regions", "modality", "largest"),
    [(None, "ct", True), (None, "other", "auto"), (NESTED, "ct", False), (NESTED, "other", "auto")],
)
def test_label_maps_are_those_of_the_run(regions: Any, modality: str, largest: bool | str, tmp_path: Path) -> None:
    table = halved_balls(tmp_path, count=9)
    node = segmentation(table, modality=modality, regions=regions, spacing=[1.5, 1.25, 1.0], patch_size=[12, 16, 16])
    trained = MaskData(node, report=lambda text: None)
    trained.prepare()
    assert (not trained.spec.intensity) == (modality == "other")
    torch.manual_seed(1)
    members = [models.unet_3d(trained.spec, width=4) for _ in range(2)]
    task: Any = Segmentation(trained.spec, Ensemble(members).eval(), mirrored=(0, 2), largest_component=largest)
    better = {trained.spec.classes[-1]: {"all": 0.5, "largest": 0.6}}
    task.decision = Decision(0.5, 1.0, {}, components=better)
    portable = task.portable(REQUEST)
    assert list(portable.parts) == ["model", "member_2"]
    target = {"target": trained.spec.target.to_dict()}
    made, inputs = tmp_path / "made", tmp_path / "inputs"
    made.mkdir()
    inputs.mkdir()
    written(portable, made)
    (made / "model.json").write_text(json.dumps(json.loads((made / "model.json").read_text()) | target))
    for name in ("0", "1", "2"):
        (inputs / f"{name}.nii.gz").symlink_to(tmp_path / f"{name}.nii.gz")
    portable.strange(inputs / "0.nii.gz", inputs)
    data = MaskData.for_inputs(node, trained.spec, inputs)
    portable.watch(task)
    task.truth = data.truth
    settings: Any = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_model_summary": False}
    pl.Trainer(default_root_dir=tmp_path, **settings).predict(task, data.predict_dataloader())
    task.save(tmp_path / "own.csv", task.results, data, DECISION)
    assert main(Network, made, [str(inputs), str(tmp_path / "other.csv")]) == 1
    rows = pd.read_csv(tmp_path / "other.csv")
    assert rows["case"].tolist() == ["0.nii.gz", "1.nii.gz", "2.nii.gz", "odd.nii.gz", "unreadable.nii.gz"]
    assert rows["error"].notna().tolist() == [False] * 4 + [True]
    parity = compare_masks(tmp_path / "own.csv", tmp_path / "other.csv", Limits())
    assert (parity.faults, parity.cases, parity.voxels > 30_000) == ([], 5, True)
    label: Any = nib.load(tmp_path / "other_masks" / "2.nii.gz")
    image: Any = nib.load(tmp_path / "2.nii.gz")
    assert label.shape == image.shape and np.array_equal(label.affine, image.affine)
    values = np.asarray(label.dataobj).copy()
    assert len(np.unique(values)) > 1
    pieces = [
        ndimage.label(part, np.ones((3, 3, 3)))[1]
        for part in ((values > 0, values > 1) if regions else (values == 1, values == 2))
    ]
    alone = {True: [1, 1], "auto": [None, 1], False: [None, None]}[largest]
    assert all(wanted in (None, count) for count, wanted in zip(pieces, alone, strict=True))
    assert largest != "auto" or pieces[0] > 1  # what was not decided is in pieces
    values[0, 0, 0] += 1
    nib.save(nib.Nifti1Image(values, label.affine, label.header), tmp_path / "other_masks" / "2.nii.gz")
    changed = compare_masks(tmp_path / "own.csv", tmp_path / "other.csv", Limits())
    assert changed.voxels_apart == parity.voxels_apart + 1
    assert any(text.startswith("2.nii.gz: 1 of ") for text in changed.changed)


def test_half_precision_keeps_probabilities_within_a_thousandth(tmp_path: Path) -> None:
    spec = DataSpec(MaskTarget(("a", "b")), 1, (8, 16, 16), (1.0, 1.0, 1.0), strides=((1, 1, 1), (2, 2, 2)))
    torch.manual_seed(0)
    network = models.unet_3d(spec, width=4).eval()
    x = torch.randn(2, 1, 8, 16, 16)
    with torch.no_grad():
        expected = said_by(network, False, x).numpy()
    part = Segmentation(spec, network).portable(ExportRequest(DECISION, {}, half=True)).parts["model"]
    assert isinstance(part.network, WindowNetwork)
    facts = onnx_format.write(part, tmp_path / "model.onnx", None, IDENTITY)
    apart = np.abs(Network(tmp_path, facts)(patches=x.numpy())["probabilities"] - expected)
    assert 0 < apart.max() < 1e-3 * 5 and np.quantile(apart, 0.99) < 1e-3


@pytest.mark.parametrize("spacing", [[1.5, 1.0, 1.0], [2.0, 2.0, 2.0]], ids=["own", "other"])
def test_files_of_a_case_are_read_as_channels_of_one_are(spacing: list[float], tmp_path: Path) -> None:
    halved_balls(tmp_path, count=1)
    image: Any = nib.load(tmp_path / "0.nii.gz")
    x = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(x + 300, image.affine), tmp_path / "more.nii.gz")
    nib.save(nib.Nifti1Image(np.stack([x, x + 300], -1), image.affine), tmp_path / "both.nii.gz")
    facts = {"channels": 2, "members": {"model": {"spacing": spacing, "size": [8, 8, 8], "intensity": None}}}
    window: Any = None
    paths = [str(tmp_path / name) for name in ("0.nii.gz", "more.nii.gz")]
    (own, (view,)), (_, (other,)) = (
        read_case(of, facts, {"model": window}) for of in (paths, [str(tmp_path / "both.nii.gz")])
    )
    assert own.shape == (1, *x.shape[::-1]) and view.x_CDHW.shape == other.x_CDHW.shape
    everything = (slice(None), *(slice(0, n) for n in view.x_CDHW.shape[1:]))
    np.testing.assert_allclose(view.x_CDHW[everything], other.x_CDHW[everything], atol=0.02)
    assert abs(view.x_CDHW[everything].mean()) < 0.02
    with pytest.raises(ValueError, match="1 channels, where 2 are wanted"):
        read_case(paths[:1], facts, {"model": window})
    nib.save(nib.Nifti1Image(x[:-1], image.affine), tmp_path / "more.nii.gz")
    with pytest.raises(ValueError, match="another image of the case has"):
        read_case(paths, facts, {"model": window})
