"""What predictions of masks are written as, and the largest component: decided on validation, applied everywhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.data.batches.masks import MaskData
from medtrain.io.own_grid import decided, largest_component
from medtrain.target import Decision
from medtrain.target.mask import MaskTarget
from medtrain.task.segmentation.components import compared, in_words
from medtrain.task.segmentation.files import check_form, check_inputs
from medtrain.task.segmentation.module import Segmentation
from medtrain.task.segmentation.pictures import classes_of_file
from tests.segmentations import halved_balls, segmentation


class ByLevel(nn.Module):
    """Call bright voxels 1, brighter ones 2."""

    def forward(self, x_BCDHW: torch.Tensor) -> torch.Tensor:
        levels = [(-1.0, 1.0), (1.0, -1.0), (3.0, -7.0)]
        return torch.cat([a * x_BCDHW + b for a, b in levels], 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, MaskData, Path]:
    table = halved_balls(tmp_path_factory.mktemp("balls"), count=9)
    node = segmentation(table, classes=["left", "right"])
    data = MaskData(node, report=lambda text: None)
    data.prepare()
    return node, data, table.parent


def predicted(trained: Any, output: Path, form: str | None = None, **more: Any) -> None:
    """Let a run predict a case, as the command does."""
    node, data, folder = trained
    inputs = MaskData.for_inputs(node, data.spec, folder / "1.nii.gz")
    task = Segmentation(data.spec, ByLevel(), **more)
    task.truth = inputs.truth
    if form:
        task.check_format(form, output)
        task.ready_for(form, inputs)
    settings: Any = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_model_summary": False}
    pl.Trainer(default_root_dir=output.parent, **settings).predict(task, inputs.predict_dataloader())
    task.save(output, task.results, inputs, Decision(0.5, 1.0, {}))


def test_probabilities_are_those_of_the_label_map_on_the_images_grid(trained: Any, tmp_path: Path) -> None:
    predicted(trained, tmp_path / "p.csv", "probabilities")
    row = pd.read_csv(tmp_path / "p.csv").iloc[0]
    image: Any = nib.load(trained[2] / "1.nii.gz")
    label = np.asarray(nib.load(tmp_path / row["mask"]).dataobj)
    files = sorted((tmp_path / "p_probabilities").iterdir())
    assert [file.name for file in files] == ["1_left.nii.gz", "1_right.nii.gz"]
    maps = []
    for file in files:
        made: Any = nib.load(file)
        assert made.shape == image.shape and np.array_equal(made.affine, image.affine)
        maps.append(np.asarray(made.dataobj))
    probs = np.stack([1 - sum(maps), *maps])
    assert probs.min() > -1e-6 and probs.max() < 1 + 1e-6 and maps[1].std() > 0.01
    sure = np.abs(np.diff(np.sort(probs, 0)[-2:], axis=0))[0] > 1e-5
    np.testing.assert_array_equal(probs.argmax(0)[sure], label[sure])


def test_only_label_maps_come_without_a_format(trained: Any, tmp_path: Path) -> None:
    predicted(trained, tmp_path / "p.csv")
    assert {path.name for path in tmp_path.iterdir()} >= {"p.csv", "p_masks"}
    assert not (tmp_path / "p_probabilities").exists()


def test_formats_are_refused_where_there_are_none(trained: Any) -> None:
    with pytest.raises(UsageError, match="format=yolo: predictions of masks are csv .*probabilities .*dicom_seg"):
        check_form("yolo")
    node, data, folder = trained
    inputs = MaskData.for_inputs(node, data.spec, folder / "1.nii.gz")
    with pytest.raises(UsageError, match=r"refers to the slices of a DICOM series, and 1 of 1 inputs are none: 1"):
        check_inputs("dicom_seg", inputs)
    check_inputs("probabilities", inputs)


def test_the_largest_component_by_hand() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[0, 0, :3] = True
    mask[1, 1, 3] = True  # by its corner
    mask[4:6, 4:6, 5] = True
    mask[3, 0, 7] = True
    kept = largest_component(mask)
    assert kept.sum() == 4 and (kept == (mask & (np.arange(6) < 2)[:, None, None])).all()  # 4 and 4: the first
    mask[4, 4, 6] = True
    assert largest_component(mask).sum() == 5 and mask.sum() == 10
    empty = np.zeros((2, 2, 2), bool)
    assert largest_component(empty) is empty and largest_component(~empty).all()


@pytest.mark.parametrize("layout", ["labels", "nested", "summed"])
def test_a_decided_map_has_what_counts_alone(layout: str, trained: Any) -> None:
    own = trained[1].own_case(0).images[0]
    draw = np.random.default_rng(0)
    probs = draw.dirichlet((1, 1, 1), own.shape[1:]).transpose(3, 0, 1, 2).astype(np.float32)
    probs = probs if layout == "labels" else probs[:2]
    label, masks = decided(probs, own.spacing, own, (3, 5), layout, [1])
    before, whole = decided(probs, own.spacing, own, (3, 5), layout)
    likely = probs.argmax(0)
    first, second = (likely == 1, likely == 2) if layout == "labels" else probs >= 0.5
    np.testing.assert_array_equal(whole[0], first | second if layout == "nested" else first)
    np.testing.assert_array_equal(whole[1], second)
    np.testing.assert_array_equal(masks[1], largest_component(second))
    assert 0 < masks[1].sum() < second.sum()
    codes = {"labels": (3, 5), "nested": (1, 2), "summed": (1, 2)}[layout]
    for of, marked in ((before, whole), (label, masks)):
        np.testing.assert_array_equal(of == codes[1], marked[1])
        np.testing.assert_array_equal(of == codes[0], marked[0] & ~marked[1])


@pytest.mark.parametrize(
    ("regions", "layout"),
    [
        (((1, 2), (2,)), "nested"),
        (((1, 2), (2, 3)), "summed"),
        (((1,), (1, 2)), "summed"),
        (((1,), (2,), (3,)), "summed"),
    ],
)
def test_label_maps_of_regions_are_read_as_they_were_written(
    regions: tuple[tuple[int, ...], ...], layout: str, trained: Any
) -> None:
    own, draw = trained[1].own_case(0).images[0], np.random.default_rng(1)
    target = MaskTarget(tuple("abc"[: len(regions)]), tuple("xyz"), (1, 2, 3), regions)
    assert target.layout == layout
    probs = draw.random((len(regions), *own.shape[1:]), np.float32)
    label, masks = decided(probs, own.spacing, own, target.file_codes, target.layout)
    for read, mask in zip(classes_of_file(label, target), masks, strict=True):
        np.testing.assert_array_equal(read, mask)
    if layout == "summed":
        np.testing.assert_array_equal(np.stack(masks), probs >= 0.5)


def test_validation_decides_class_by_class(trained: Any, tmp_path: Path) -> None:
    _, data, _ = trained
    task = Segmentation(data.spec, ByLevel(), largest_component="auto")
    task.truth = data.truth
    settings: Any = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_model_summary": False}
    trainer = pl.Trainer(default_root_dir=tmp_path, **settings)
    trainer.test(task, data.eval_dataloader("train"), verbose=False)
    outputs = task.results
    decision = task.fit_decision(outputs, 0.5)
    again = Decision.from_dict(decision.to_dict())
    assert again == decision and decision.components.keys() == {"left", "right"}
    better = [name for name, dice in decision.components.items() if dice["largest"] > dice["all"]]
    assert better and list(decision.largest) == better  # noise around the balls is called, too
    by_hand = []
    for batch in outputs:
        row = int(batch["case"][0])
        truth = data.own_truth(row) == 1
        image = data.own_case(row).images[0]
        probs, spacing = task.probabilities(row)
        mask = largest_component(decided(probs, spacing, image, (1, 2), "labels")[1][0])
        by_hand.append(2 * (mask & truth).sum() / (mask.sum() + truth.sum()))
    assert decision.components["left"]["largest"] == pytest.approx(np.mean(by_hand))
    assert in_words(decision.components, better)[0].startswith(f"{better[0]}: only the largest connected component")
    task.decision = decision
    trainer.test(task, data.eval_dataloader("train"), verbose=False)
    number = data.spec.classes.index(better[0])
    assert all("largest" not in batch for batch in task.results)
    for now, then in zip(task.results, outputs, strict=True):
        torch.testing.assert_close(now["measured"][:, number], then["largest"][:, number], equal_nan=True)


def test_a_word_stands_before_the_decision(trained: Any) -> None:
    spec = trained[1].spec
    decision = Decision(0.5, 1.0, {}, components={"right": {"all": 0.5, "largest": 0.6}})
    for word, expected in ((True, [0, 1]), (False, []), ("auto", [1])):
        task = Segmentation(spec, ByLevel(), largest_component=word)
        assert task.largest == ([] if word == "auto" else expected)
        task.decision = decision
        assert task.largest == expected
        assert (
            Segmentation.options({"name": "volume_seg"}, {"largest_component": word}, {}, spec)["largest_component"]
            == word
        )
    assert replace(decision, components={}).largest == () and compared([], ("left",)) == {}
