"""Windows over a volume: what each voxel gets, whatever the sides."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from medtrain.task.segmentation import window
from medtrain.task.segmentation.window import starts, weights, whole_volume


def pointwise(x_BCDHW: Tensor) -> Tensor:
    """Say of each voxel what its own value is, whatever lies around it."""
    return torch.cat([x_BCDHW, 1 - x_BCDHW], 1)


@pytest.mark.parametrize(
    ("side", "size", "expected"), [(5, 8, [0]), (8, 8, [0]), (9, 8, [0, 1]), (16, 8, [0, 4, 8]), (17, 8, [0, 3, 6, 9])]
)
def test_windows_reach_from_end_to_end(side: int, size: int, expected: list[int]) -> None:
    assert starts(side, size) == expected


@pytest.mark.parametrize("side", range(8, 60))
def test_windows_overlap_by_half_or_more(side: int) -> None:
    places = starts(side, 8)
    assert places[0] == 0 and places[-1] == side - 8
    assert all(0 < after - before <= 4 for before, after in itertools.pairwise(places))


def test_weights_are_gaussian_and_nowhere_0() -> None:
    w = weights((8, 16, 4))
    assert w.shape == (8, 16, 4) and (w > 0).all()
    torch.testing.assert_close(w, w.flip(0).flip(1).flip(2))
    middle = w[4, :, 2]
    ratio = torch.exp(torch.tensor(-0.5 * (4.5**2 - 0.5**2) / 2.0**2))  # sigma is an eighth of the 16 voxels
    torch.testing.assert_close(middle[12] / middle[8], ratio)


@pytest.mark.parametrize("sides", [(8, 8, 8), (11, 8, 19), (5, 9, 30), (3, 2, 1)])
@pytest.mark.parametrize("mirrored", [(), (0,), (0, 1, 2)])
def test_a_pointwise_network_is_computed_exactly(sides: tuple[int, int, int], mirrored: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, *sides)
    said = whole_volume(pointwise, x, (8, 8, 8), mirrored)
    assert said.shape == (2, *sides) and said.dtype == torch.float32
    torch.testing.assert_close(said, torch.cat([x, 1 - x]))


def test_middles_of_windows_count_more_than_their_borders() -> None:
    def middle_right(x_BCDHW: Tensor) -> Tensor:
        """Say 1, but 0 at the voxels on the border of a window."""
        said = torch.zeros_like(x_BCDHW)
        said[..., 1:-1, 1:-1, 1:-1] = 1
        return said

    said = whole_volume(middle_right, torch.zeros(1, 16, 16, 16), (8, 8, 8))
    inner = said[0, 2:-2, 2:-2, 2:-2]
    assert inner.min() > 0.8  # of four windows or more, one or more sees it in its middle


def test_mirrored_views_are_turned_back_and_averaged() -> None:
    def leans(x_BCDHW: Tensor) -> Tensor:
        """Add 1 to the first slice, wherever the head is."""
        said = x_BCDHW.clone()
        said[:, :, 0] += 1
        return said

    x = torch.zeros(1, 4, 4, 4)
    assert whole_volume(leans, x, (4, 4, 4))[0, :, 0, 0].tolist() == [1, 0, 0, 0]
    assert whole_volume(leans, x, (4, 4, 4), (0,))[0, :, 0, 0].tolist() == [0.5, 0, 0, 0.5]


def test_sums_in_a_file_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 12, 20, 9)
    within = whole_volume(pointwise, x, (8, 8, 8))
    monkeypatch.setattr(window, "IN_MEMORY", 0)
    assert torch.equal(whole_volume(pointwise, x, (8, 8, 8)), within)
