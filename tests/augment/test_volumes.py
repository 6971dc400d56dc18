"""Augmentation of volumes: reproducible by sample, different for each copy, and geometrically what it says."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from medtrain.augment import Augment3d, Views3d
from medtrain.augment.affine import resample_volumes
from medtrain.augment.volumes import blurred
from medtrain.core.errors import UsageError
from medtrain.target import DataSpec

STRENGTHS = ("rotate", "tilt", "scale", "translate", "brightness", "contrast", "gamma", "noise", "blur")
OFF = dict.fromkeys(STRENGTHS, 0.0)
FLIPS = {"flip_head_feet": 2, "flip_front_back": 3, "flip_left_right": 4}
IDS = torch.tensor([3, 1, 4, 8])


@pytest.fixture
def x():
    return torch.rand(4, 2, 8, 12, 10, generator=torch.Generator().manual_seed(0))


def test_shape_range_and_type(x):
    strong = Augment3d(gamma=0.3, blur=0.7)
    out = strong(x, IDS, 0, 0)
    assert out.shape == x.shape and out.dtype == x.dtype and out.min() >= 0 and out.max() <= 1
    assert not torch.equal(out, x) and strong(x.bfloat16(), IDS, 0, 0).dtype == torch.bfloat16
    assert torch.equal(Augment3d(**OFF)(x, IDS, 0, 0), x)


def test_the_same_whatever_the_batch_mates_and_their_order(x):
    augment = Augment3d(gamma=0.3, blur=0.7, flip_left_right=True)
    whole = augment(x, IDS, 7, 2)
    order = torch.tensor([3, 0])
    assert torch.equal(augment(x[order], IDS[order], 7, 2), whole[order])
    assert torch.equal(augment(x[1:2], IDS[1:2], 7, 2), whole[1:2])


@pytest.mark.parametrize("ids", [torch.tensor([6, 6]), torch.tensor([[6, 0, 0], [6, 1, 0]])])
def test_one_volume_twice_in_a_batch_comes_out_twice_different(x, ids):
    out = Augment3d()(x[:1].expand(2, -1, -1, -1, -1), ids, 0, 0)
    assert not torch.allclose(out[0], out[1], atol=0.01)


@pytest.mark.parametrize("only", [*STRENGTHS, *FLIPS])
def test_differs_by_seed_epoch_and_id_in_each_parameter(x, only):
    augment = Augment3d(**{**OFF, only: True if only.startswith("flip") else 0.3})
    one = x[:1].expand(16, -1, -1, -1, -1)

    def run(seed, epoch, start):
        return augment(one, torch.arange(start, start + 16), seed, epoch)

    first = run(0, 0, 0)
    assert torch.equal(first, run(0, 0, 0))
    for other in (run(1, 0, 0), run(0, 1, 0), run(0, 0, 100)):
        assert not torch.equal(first, other)


@pytest.mark.parametrize(("name", "axis"), FLIPS.items())
def test_flips_mirror_one_axis_in_about_half_of_the_cases(x, name, axis):
    out = Augment3d(**OFF, **{name: True})(x[:1].expand(64, -1, -1, -1, -1), torch.arange(64), 0, 0)
    flipped = [torch.allclose(o, x[0].flip(axis - 1), atol=1e-4) for o in out]
    same = [torch.allclose(o, x[0], atol=1e-4) for o in out]
    assert all(a != b for a, b in zip(flipped, same, strict=True)) and 16 < sum(flipped) < 48


def test_moves_agree_with_scipy_in_mm():
    """Against scipy's own resampling, with the rotation as a product of matrices."""
    spacing, degrees, scale, shift = (3.0, 1.0, 2.0), (25.0, -10.0, 15.0), 1.2, (0.1, -0.05, 0.02)
    x = ndimage.gaussian_filter(np.random.default_rng(0).random((9, 20, 14)), 1).astype(np.float32)
    moved = resample_volumes(
        torch.from_numpy(x)[None, None],
        spacing=spacing,
        degrees_B3=torch.tensor([degrees]),
        scale_B=torch.tensor([scale]),
        shift_B3=torch.tensor([shift]),
        flip_B3=torch.zeros(1, 3, dtype=torch.bool),
    )[0, 0]
    dz, dy, dx = np.deg2rad(degrees)
    about_x = np.array([[np.cos(dx), -np.sin(dx), 0], [np.sin(dx), np.cos(dx), 0], [0, 0, 1]])  # of (z, y, x)
    about_y = np.array([[np.cos(dy), 0, np.sin(dy)], [0, 1, 0], [-np.sin(dy), 0, np.cos(dy)]])
    about_z = np.array([[1, 0, 0], [0, np.cos(dz), -np.sin(dz)], [0, np.sin(dz), np.cos(dz)]])
    mm = np.diag(spacing)
    matrix = np.linalg.inv(mm) @ about_z @ about_y @ about_x @ mm / scale
    centre = (np.array(x.shape) - 1) / 2
    offset = centre - matrix @ centre + np.array(shift) * x.shape
    expected = ndimage.affine_transform(x, matrix, offset, order=1, mode="constant")
    inside = ndimage.affine_transform(np.ones_like(x), matrix, offset, order=1, mode="constant") > 0.999
    assert inside.sum() > 200
    np.testing.assert_allclose(moved.numpy()[inside], expected[inside], atol=1e-5)


def test_balls_stay_round_where_voxels_are_no_cubes():
    spacing = (3.0, 1.0, 1.0)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip((15, 45, 45), spacing, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    ball = torch.from_numpy(np.exp(-(x**2 + y**2 + z**2) / 60)).float().expand(4, 1, -1, -1, -1)
    spec = DataSpec.of("binary", ("a", "b"), 1, (15, 45, 45), spacing)
    out = Augment3d(spec, **{**OFF, "rotate": 180.0, "tilt": 90.0})(ball, torch.arange(4), 0, 0)
    torch.testing.assert_close(out, ball, rtol=0, atol=0.04)
    blind = Augment3d(None, **{**OFF, "tilt": 90.0})(ball, torch.arange(4), 0, 0)
    assert (blind - ball).abs().max() > 0.2


def test_blur_is_scipys():
    x = np.random.default_rng(1).random((2, 9, 10, 11)).astype(np.float32)
    sigma = torch.tensor([0.5, 1.3])
    out = blurred(torch.from_numpy(x)[:, None], sigma.reshape(-1, 1, 1, 1, 1), 4)[:, 0]
    for got, given, width in zip(out, x, sigma.tolist(), strict=True):
        np.testing.assert_allclose(got, ndimage.gaussian_filter(given, width, mode="nearest", radius=4), atol=1e-5)
    assert torch.equal(blurred(torch.from_numpy(x)[:, None], torch.zeros(2, 1, 1, 1, 1), 3)[:, 0], torch.from_numpy(x))


def test_strengths_are_limits():
    field, ids = torch.full((32, 1, 6, 6, 6), 0.5), torch.arange(32)
    bright = Augment3d(**{**OFF, "brightness": 0.1})(field, ids, 0, 0) - 0.5
    assert 0.08 < bright.abs().max() <= 0.1001 and bright.min() < -0.05
    power = Augment3d(**{**OFF, "gamma": 1.0})(field, ids, 0, 0).log() / np.log(0.5)
    assert 0.5 <= power.min() < 0.7 and 1.5 < power.max() <= 2.0001
    noisy = Augment3d(**{**OFF, "noise": 0.05})(field, ids, 0, 0).std((1, 2, 3, 4))
    assert 0.035 < noisy.max() < 0.065
    with pytest.raises(UsageError, match=r"augment\.tilt=-1"):
        Augment3d(tilt=-1.0)


def test_views_are_fixed_mild_and_mirrored_only_where_training_is(x):
    smooth = torch.from_numpy(ndimage.gaussian_filter(x.numpy(), (0, 0, 2, 2, 2))).clamp(0, 1)
    views = list(Views3d(4)(smooth))
    assert torch.equal(views[0], smooth) and all(v.shape == smooth.shape for v in views)
    again = list(Views3d(3)(smooth[1:2]))
    assert all(torch.equal(a, v[1:2]) for a, v in zip(again, views, strict=False))
    mirrored = list(Views3d(8, (False, False, True))(smooth))
    plain = list(Views3d(8)(smooth))
    assert sum(not torch.allclose(a, b, atol=0.02) for a, b in zip(mirrored, plain, strict=True)) > 0
