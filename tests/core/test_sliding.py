"""Windows over a volume: what each voxel gets, whatever the sides."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from medtrain.core import sliding
from medtrain.core.sliding import Voxels, mean_of_views, starts, weights, whole_volume

DRAW = np.random.default_rng(0)


def pointwise(x_BCDHW: Voxels) -> Voxels:
    """Say of each voxel what its own value is, whatever lies around it."""
    return np.concatenate([x_BCDHW, 1 - x_BCDHW], 1)


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
    assert w.shape == (8, 16, 4) and (w > 0).all() and w.dtype == np.float32
    np.testing.assert_allclose(w, w[::-1, ::-1, ::-1], rtol=1e-6)
    middle = w[4, :, 2]
    ratio = np.exp(-0.5 * (4.5**2 - 0.5**2) / 2.0**2)  # sigma is an eighth of the 16 voxels
    np.testing.assert_allclose(middle[12] / middle[8], ratio, rtol=1e-6)


@pytest.mark.parametrize("sides", [(8, 8, 8), (11, 8, 19), (5, 9, 30), (3, 2, 1)])
@pytest.mark.parametrize("mirrored", [(), (0,), (0, 1, 2)])
def test_a_pointwise_network_is_computed_exactly(sides: tuple[int, int, int], mirrored: tuple[int, ...]) -> None:
    x = DRAW.random((1, *sides), np.float32)
    said = whole_volume(
        lambda window: mean_of_views(pointwise, window, mirrored, np.flip, np.concatenate), x, (8, 8, 8)
    )
    assert said.shape == (2, *sides) and said.dtype == np.float32
    np.testing.assert_allclose(said, np.concatenate([x, 1 - x]), rtol=1e-5, atol=1e-6)


def test_middles_of_windows_count_more_than_their_borders() -> None:
    def middle_right(x_BCDHW: Voxels) -> Voxels:
        """Say 1, but 0 at the voxels on the border of a window."""
        said = np.zeros_like(x_BCDHW)
        said[..., 1:-1, 1:-1, 1:-1] = 1
        return said

    said = whole_volume(middle_right, np.zeros((1, 16, 16, 16), np.float32), (8, 8, 8))
    inner = said[0, 2:-2, 2:-2, 2:-2]
    assert inner.min() > 0.8  # of four windows or more, one or more sees it in its middle


def test_mirrored_views_are_turned_back_and_averaged() -> None:
    def leans(x_BCDHW: Voxels) -> Voxels:
        """Add 1 to the first slice, wherever the head is."""
        said = x_BCDHW.copy()
        said[:, :, 0] += 1
        return said

    x = np.zeros((1, 1, 4, 4, 4), np.float32)
    assert mean_of_views(leans, x, (), np.flip, np.concatenate)[0, 0, :, 0, 0].tolist() == [1, 0, 0, 0]
    assert mean_of_views(leans, x, (0,), np.flip, np.concatenate)[0, 0, :, 0, 0].tolist() == [0.5, 0, 0, 0.5]


def test_views_of_tensors_are_those_of_arrays_to_the_bit() -> None:
    x = DRAW.random((1, 2, 4, 5, 6), np.float32)
    kernel = DRAW.random((4, 5, 6), np.float32)
    own = mean_of_views(lambda view: view * kernel, x, (0, 1, 2), np.flip, np.concatenate)
    theirs = mean_of_views(
        lambda view: view * torch.from_numpy(kernel), torch.from_numpy(x), (0, 1, 2), torch.flip, torch.cat
    )
    np.testing.assert_array_equal(own, theirs.numpy())


def test_sums_in_a_file_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    x = DRAW.random((1, 12, 20, 9), np.float32)
    within = whole_volume(pointwise, x, (8, 8, 8))
    monkeypatch.setattr(sliding, "IN_MEMORY", 0)
    np.testing.assert_array_equal(whole_volume(pointwise, x, (8, 8, 8)), within)
