"""Where patches lie: no voxel is lost, and none is invented."""

from __future__ import annotations

import numpy as np
import pytest

from medtrain.data.batches.patch_places import anywhere, around, cut, grid, grid_starts


@pytest.mark.parametrize("size", [1, 4, 7, 16])
@pytest.mark.parametrize("stride", [1, 3, 4])
@pytest.mark.parametrize("n", [1, 4, 7, 16, 33])
def test_a_grid_covers_all_and_stays_inside(n: int, stride: int, size: int) -> None:
    stride = min(stride, size)
    starts = grid_starts(0, n, size, stride)
    seen = np.zeros(n, bool)
    for start in starts:
        seen[max(0, start) : start + size] = True
    assert seen.all()
    assert (np.diff(starts) <= stride).all() and (np.diff(starts) > 0).all()
    if n >= size:
        assert starts[0] == 0 and starts[-1] == n - size
    else:
        assert starts.tolist() == [-((size - n + 1) // 2)]


def test_a_grid_over_a_box_stays_in_the_volume() -> None:
    z, y, x = grid((20, 20, 5), ((3, 9), (18, 20), (0, 5)), (8, 8, 8), (8, 8, 8))
    assert z.tolist() == [2] and y.tolist() == [12] and x.tolist() == [-2]


def test_random_patches_reach_every_place_equally() -> None:
    draw = np.random.default_rng(0)
    starts = np.array([anywhere(draw, (10, 6, 3), ((0, 10), (2, 6), (0, 3)), (4, 4, 5)) for _ in range(3000)])
    assert np.unique(starts[:, 0]).tolist() == list(range(7)) and set(starts[:, 1]) == {2}
    assert set(starts[:, 2]) == {-2, -1, 0}
    assert np.bincount(starts[:, 0]).min() > 3000 / 7 * 0.8


def test_a_patch_around_a_point_keeps_to_the_volume() -> None:
    assert around((10, 1, 2), (20, 20, 4), (6, 6, 6)) == (7, 0, -1)
    assert around((10, 19, 2), (20, 20, 4), (6, 6, 6), (0.5, 0, 0.5)) == (10, 14, 0)


def test_what_lacks_is_told() -> None:
    view, lacks = cut(np.zeros((2, 5, 6, 7)), (-1, 0, 4), (7, 6, 3))
    assert view.shape == (2, 5, 6, 3) and lacks == [(1, 1), (0, 0), (0, 0)]
