"""The views of test-time augmentation: fixed, small, the image itself first, flips only on demand."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medtrain.augment import Views2d
from medtrain.augment.affine import resample

X = torch.rand(3, 2, 24, 32, generator=torch.Generator().manual_seed(0))


def test_the_first_view_is_the_image_and_fewer_are_the_first_of_more():
    few, more = list(Views2d(3)(X)), list(Views2d(8)(X))
    assert len(few) == 3 and len(more) == 8 and torch.equal(few[0], X)
    assert all(torch.equal(a, b) for a, b in zip(few, more, strict=False))
    assert all(not torch.allclose(a, X, atol=0.05) and a.shape == X.shape for a in more[1:])


def test_an_image_is_seen_alike_in_every_batch():
    for whole, one in zip(Views2d(5)(X), Views2d(5)(X[1:2]), strict=True):
        assert torch.equal(whole[1:2], one)


def test_views_lie_on_all_sides_and_stay_small():
    spot = torch.zeros(1, 1, 65, 65)
    spot[..., 31:34, 31:34] = 1
    centres = [ndimage.center_of_mass(v[0, 0].numpy()) for v in Views2d(32)(spot)]
    offsets = np.array(centres)[1:] - 32
    assert np.abs(offsets).max() <= 0.03 * 65 * 1.1 and (offsets > 0.5).any(0).all() and (offsets < -0.5).any(0).all()


@pytest.mark.parametrize(("name", "dim"), [("flip_horizontal", -1), ("flip_vertical", -2)])
def test_flips_on_demand_only(name, dim):
    ramp = torch.linspace(0.1, 1, 32).expand(1, 1, 32, 32) if dim == -1 else None
    ramp = ramp if ramp is not None else torch.linspace(0.1, 1, 32)[:, None].expand(1, 1, 32, 32)

    def rises(view):
        inner = view[0, 0, 6:-6, 6:-6]
        return bool(inner.diff(dim=dim).mean() > 0)

    assert all(rises(v) for v in Views2d(9)(ramp))
    assert sum(not rises(v) for v in Views2d(9, **{name: True})(ramp)) == 4


def test_a_shift_of_whole_pixels_moves_pixels_and_blurs_nothing():
    still = {"degrees_B": torch.zeros(1), "scale_B": torch.ones(1), "flip_B2": torch.zeros(1, 2, dtype=torch.bool)}
    for how in ("bilinear", "bicubic"):
        moved = resample(X, shift_B2=torch.tensor([[2 / 32, 0.0]]), interpolation=how, **still)
        torch.testing.assert_close(moved[..., 3:-5], X[..., 5:-3], rtol=0, atol=1e-5)
        assert (moved[..., -1] == 0).all()
