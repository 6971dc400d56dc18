"""What validation looks at of a case after an epoch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from medtrain.core.sliding import OVERLAP
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget
from medtrain.task.segmentation.after_epoch import LITTLE, Look, pieces, quick_windows, too_small_alone
from medtrain.task.segmentation.module import Segmentation

PATCH = (8, 8, 8)
TWO = MaskTarget(("head", "tail"))


class ByValue(nn.Module):
    """Call a voxel what its value is, 0 to 2; keep the shapes of what comes in."""

    def __init__(self) -> None:
        super().__init__()
        self.shapes: list[tuple[int, ...]] = []

    def forward(self, x_B1DHW: Tensor) -> Tensor:
        """Compute logits."""
        self.shapes.append(tuple(x_B1DHW.shape))
        return torch.cat([-100 * (x_B1DHW - label).abs() for label in range(3)], 1)


def segmentation(network: nn.Module, **more: object) -> Segmentation:
    return Segmentation(DataSpec(TWO, 1, PATCH, (1.0, 1.0, 1.0)), network, **more)


def shown(mask_DHW: np.ndarray) -> np.ndarray:
    """An image (1, D, H, W) that shows its labels, but calls those of 2 by 1 in the first slice."""
    image = mask_DHW.astype(np.float32)
    image[0][image[0] == 2] = 1
    return image[None]


def outputs(task: Segmentation, mask_DHW: np.ndarray) -> dict[str, Any]:
    """What validation makes of a case number 7."""
    task.truth = SimpleNamespace(seen=lambda row, spec: shown(mask_DHW), seen_truth=lambda row: mask_DHW)
    return task.outputs({"case": torch.tensor([7])})


def halves(sides: tuple[int, int, int]) -> np.ndarray:
    """Labels: 1 in the first half along W of the middle, 2 in the second."""
    mask = np.zeros(sides, np.int64)
    width = sides[2]
    mask[:, 2:6, 1 : width // 2], mask[:, 2:6, width // 2 : width - 1] = 1, 2
    return mask


@pytest.mark.parametrize(
    ("sides", "window", "overlap"),
    [
        ((8, 8, 8), (8, 8, 8), OVERLAP),
        ((5, 9, 30), (8, 9, 30), LITTLE),  # with the patch's 8 slices it is 4.2 patches
        ((5, 9, 28), (8, 9, 28), OVERLAP),  # 3.9
        ((40, 40, 40), (8, 8, 8), LITTLE),
    ],
)
def test_a_case_of_four_patches_goes_in_one_piece(
    sides: tuple[int, ...], window: tuple[int, ...], overlap: float
) -> None:
    windows = quick_windows(sides, PATCH)
    if overlap == LITTLE:
        assert tuple(windows.size) == PATCH and windows.overlap == LITTLE
    else:
        assert tuple(windows.size) == window and windows.overlap == overlap


@pytest.mark.parametrize("sides", [(6, 8, 8), (9, 10, 12), (12, 20, 40)])
def test_voxels_of_whole_cases_are_counted(sides: tuple[int, int, int]) -> None:
    mask = halves(sides)
    made = outputs(segmentation(ByValue().eval()), mask)
    head, tail = (mask == 1).sum(), (mask == 2).sum()
    wrong = (mask[0] == 2).sum()
    assert made["case"].tolist() == [7]
    assert made["overlap"][0].tolist() == [[head, head + wrong, head], [tail - wrong, tail - wrong, tail]]


def test_a_small_case_is_one_window_and_a_large_one_few() -> None:
    network = ByValue().eval()
    outputs(segmentation(network), halves((9, 10, 12)))
    assert network.shapes == [(2, 1, 9, 10, 12)]  # one alone would be slow
    network.shapes.clear()
    outputs(segmentation(network), halves((8, 8, 40)))
    assert len(network.shapes) == 7  # every 6 voxels, where half an overlap would take 9


def test_patches_are_those_in_the_middle_of_each_class() -> None:
    mask = halves((8, 8, 60))
    seen = list(pieces(shown(mask), mask, TWO, PATCH, "patches"))
    assert [x.shape for x, _ in seen] == [(1, 8, 8, 8)] * 2
    assert [set(np.unique(own)) for _, own in seen] == [{0, 1}, {0, 2}]  # each in the midst of its class
    for x, own in seen:
        np.testing.assert_array_equal(x[0, 1:], own[1:])
    overlap = outputs(segmentation(ByValue().eval(), validation="patches"), mask)["overlap"][0]
    assert overlap[:, 2].tolist() == [float((own == label).sum()) for label, (_, own) in enumerate(seen, 1)]


@pytest.mark.parametrize("look", ["whole", "patches"])
def test_a_case_without_findings_is_looked_at_too(look: Look) -> None:
    made = outputs(segmentation(ByValue().eval(), validation=look), np.zeros((8, 20, 20), np.int64))
    assert made["overlap"][0].tolist() == [[0, 0, 0]] * 2


def test_two_of_a_small_sample_say_what_one_does() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.Conv3d(4, 3, 1)).eval()
    x = torch.randn(1, 1, 6, 7, 8)
    task = segmentation(network)
    with torch.no_grad():
        own = task._window(network, (), x.numpy())
        torch.testing.assert_close(torch.from_numpy(own), network(x).softmax(1))


def test_only_small_samples_alone_in_32_bits_are_doubled() -> None:
    small, large = torch.zeros(1, 1, 8, 32, 32), torch.zeros(1, 1, 64, 64, 64)
    assert too_small_alone(small) and not too_small_alone(large) and not too_small_alone(small.expand(2, 1, 8, 32, 32))
    with torch.autocast("cpu", torch.bfloat16):
        assert not too_small_alone(small)


def test_a_judgement_is_in_32_bits_whatever_training_is() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(1, 4, 3, padding=1), nn.InstanceNorm3d(4), nn.Conv3d(4, 3, 1)).eval()
    x = torch.randn(1, 8, 8, 8)
    task = segmentation(network)
    task.truth = SimpleNamespace(seen=lambda row, spec: x.numpy(), own_case=lambda row: SimpleNamespace(images=[None]))
    with torch.no_grad():
        alone, _ = task.probabilities(0)
        with torch.autocast("cpu", torch.bfloat16):
            np.testing.assert_array_equal(task.probabilities(0)[0], alone)
            assert network(x[None]).dtype == torch.bfloat16
