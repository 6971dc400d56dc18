"""Segmentations by several networks, each of which was planned by itself: the mean of what they say, by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from medtrain.data.batches.masks import MaskData
from medtrain.io.own_grid import to_own
from medtrain.model import Ensemble
from medtrain.target import DataSpec
from medtrain.task.segmentation.module import Segmentation
from tests.segmentations import halved_balls, segmentation


class Pointwise(nn.Module):
    """Say of a voxel what its own value is: logits 0, a x, b x."""

    def __init__(self, *factors: float) -> None:
        super().__init__()
        self.factors = factors

    def forward(self, x_BCDHW: torch.Tensor) -> torch.Tensor:
        return torch.cat([factor * x_BCDHW for factor in self.factors], 1)


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], DataSpec, DataSpec, Path]:
    table = halved_balls(tmp_path_factory.mktemp("balls"), count=9)
    node = segmentation(table, modality="ct", patch_size=[8, 16, 16], strides=[1, 2])
    data = MaskData(node, report=lambda text: None)
    data.prepare()
    first = replace(data.spec, intensity=((0.0, 100.0, 40.0, 20.0),))
    other = replace(first, size=(12, 12, 12), strides=((1, 1, 1),), intensity=((20.0, 260.0, 90.0, 50.0),))
    return node, first, other, table.parent / "1.nii.gz"


def by_hand(x_DHW: np.ndarray, spec: DataSpec, factors: tuple[float, ...]) -> np.ndarray:
    """Compute the softmax of the logits of every voxel by itself."""
    ((low, high, mean, std),) = spec.intensity
    seen = (np.clip(x_DHW, low, high) - mean) / std
    weights = np.exp(np.stack([factor * seen for factor in factors]))
    return weights / weights.sum(0)


FACTORS = (0.0, 1.0, -0.5), (0.0, -1.0, 2.0)  # of the logits of two members


def ensemble_of(spec: DataSpec, members: list[DataSpec], data: MaskData) -> Segmentation:
    """Make the task of two pointwise networks, which see these data by specs of their own."""
    task = Segmentation(spec, Ensemble([Pointwise(*own) for own in FACTORS], specs=members))
    task.truth = data.truth
    return task


def test_members_that_were_planned_alike_but_for_windows_and_scale(specs: Any) -> None:
    node, first, other, image = specs
    data = MaskData.for_inputs(node, first, image)
    task = ensemble_of(first, [first, other], data)
    probs, spacing = task.probabilities(0)
    own = data.own_case(0).images[0]
    assert spacing == first.spacing and probs.shape[1:] == own.shape[1:]
    x = own.values()[0]
    expected = [by_hand(x, spec, of) for spec, of in zip((first, other), FACTORS, strict=True)]
    assert np.abs(expected[0] - expected[1]).max() > 0.3
    np.testing.assert_allclose(probs, np.mean(expected, 0), atol=1e-4)
    label = task.on_own(probs, spacing, own)[0]
    np.testing.assert_array_equal(label, np.mean(expected, 0).argmax(0))


def test_members_at_several_spacings_are_averaged_in_the_files_own_voxels(specs: Any) -> None:
    node, first, other, image = specs
    coarse = replace(other, spacing=(2.0, 2.0, 2.0))
    assert first.spacing is not None
    spec = replace(first, spacings=(first.spacing, (2.0, 2.0, 2.0)))
    data = MaskData.for_inputs(node, spec, image)
    task = ensemble_of(spec, [first, coarse], data)
    probs, spacing = task.probabilities(0)
    own = data.own_case(0).images[0]
    assert tuple(spacing) == tuple(own.spacing) and probs.shape[1:] == own.shape[1:]
    fine = by_hand(own.values()[0], first, FACTORS[0])
    blurred = by_hand(data.seen(0, coarse).case.images[0].values()[0], coarse, FACTORS[1])
    back = np.stack([to_own(channel, (2.0, 2.0, 2.0), own) for channel in blurred])
    assert blurred.shape != back.shape
    np.testing.assert_allclose(probs, (fine + back) / 2, atol=1e-4)
    np.testing.assert_allclose(probs.sum(0), 1, atol=1e-5)


def test_an_ensemble_of_one_says_what_its_member_says(specs: Any) -> None:
    node, first, other, image = specs
    data = MaskData.for_inputs(node, first, image)
    task = Segmentation(first, Ensemble([Pointwise(0.0, 1.0, -0.5)], specs=[other]))
    task.truth = data.truth
    alone = Segmentation(other, Pointwise(0.0, 1.0, -0.5))
    alone.truth = MaskData.for_inputs(node, other, image).truth
    np.testing.assert_array_equal(task.probabilities(0)[0], alone.probabilities(0)[0])
