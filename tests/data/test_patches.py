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


def test_random_patches_see_the_border_as_often_as_the_middle() -> None:
    draw, size, number = np.random.default_rng(0), 8, 30_000
    starts = np.array([anywhere(draw, (40, 24, 3), ((0, 40), (2, 18), (0, 3)), (size,) * 3) for _ in range(number)])
    assert (starts.min(0) >= (-2, 0, -5)).all() and (starts.max(0) <= (40 - 8 + 2, 18 - 8 + 2, 0)).all()
    assert starts[:, 0].min() == -2 and starts[:, 0].max() == 34  # beyond the edges
    for axis, (low, high) in enumerate(((0, 40), (2, 18))):
        seen = seen_by(starts[:, axis], low, high, size)
        assert seen.max() < 1.3 * seen.min()
        assert np.bincount(starts[:, axis] - starts[:, axis].min()).min() > 0.001 * number  # no place is left out
    assert set(starts[:, 2]) == set(range(-5, 1))  # all of what is smaller than a patch


def seen_by(starts: np.ndarray, low: int, high: int, size: int) -> np.ndarray:
    """The share of patches that each voxel lies in."""
    return np.array([((starts <= i) & (i < starts + size)).mean() for i in range(low, high)])


@pytest.mark.parametrize(("length", "size", "most"), [
    (96, 64, 1.4), (128, 64, 1.5), (150, 64, 1.75), (256, 64, 1.45), (400, 64, 1.45), (48, 32, 1.3), (100, 32, 1.6),
    (12, 8, 1.3), (64, 16, 1.3),
])  # fmt: skip
def test_no_voxel_is_seen_much_more_often_than_another(length: int, size: int, most: float) -> None:
    draw = np.random.default_rng(1)
    starts = np.array([anywhere(draw, (length,) * 3, ((0, length),) * 3, (size,) * 3) for _ in range(10_000)]).ravel()
    seen = seen_by(starts, 0, length, size)
    assert seen.max() < most * seen.min()
    border = np.r_[seen[: size // 4], seen[-size // 4 :]].mean()
    assert border == pytest.approx(seen.mean(), rel=0.15)


def test_a_volume_of_little_more_than_a_patch_is_hardly_padded() -> None:
    draw = np.random.default_rng(0)
    starts = np.array([anywhere(draw, (9, 10, 8), ((0, 9), (0, 10), (0, 8)), (8, 8, 8)) for _ in range(500)])
    assert (starts.min(0).tolist(), starts.max(0).tolist()) == ([-1, -2, 0], [2, 4, 0])


def test_a_patch_around_a_point_keeps_to_the_volume() -> None:
    assert around((10, 1, 2), (20, 20, 4), (6, 6, 6)) == (7, 0, -1)
    assert around((10, 19, 2), (20, 20, 4), (6, 6, 6), (0.5, 0, 0.5)) == (10, 14, 0)


def test_what_lacks_is_told() -> None:
    view, lacks = cut(np.zeros((2, 5, 6, 7)), (-1, 0, 4), (7, 6, 3))
    assert view.shape == (2, 5, 6, 3) and lacks == [(1, 1), (0, 0), (0, 0)]
