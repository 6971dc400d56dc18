"""Augmentation: reproducible by sample, different for each copy, and geometrically what it says."""

import pytest
import torch

from medtrain.augment import Augment2d, Identity
from medtrain.core.errors import UsageError

OFF = {"rotate": 0.0, "scale": 0.0, "translate": 0.0, "brightness": 0.0, "contrast": 0.0, "noise": 0.0}


@pytest.fixture
def x():
    return torch.rand(5, 2, 24, 32, generator=torch.Generator().manual_seed(0))


IDS = torch.tensor([3, 1, 4, 8, 5])


def test_shape_range_and_type(x):
    out = Augment2d()(x, IDS, 0, 0)
    assert out.shape == x.shape and out.dtype == x.dtype and out.min() >= 0 and out.max() <= 1
    assert not torch.equal(out, x) and Augment2d()(x.bfloat16(), IDS, 0, 0).dtype == torch.bfloat16
    assert torch.equal(Identity()(x, IDS, 0, 0), x) and torch.equal(Augment2d(**OFF)(x, IDS, 0, 0), x)


def test_the_same_whatever_the_batch_mates_and_their_order(x):
    augment = Augment2d(flip_horizontal=True)
    whole = augment(x, IDS, 7, 2)
    torch.manual_seed(99)
    order = torch.tensor([4, 2, 0])
    assert torch.equal(augment(x[order], IDS[order], 7, 2), whole[order])
    assert torch.equal(augment(x[1:2], IDS[1:2], 7, 2), whole[1:2])


@pytest.mark.parametrize("only", [*OFF, "flip_horizontal"])
def test_differs_by_seed_epoch_and_id_in_each_parameter(x, only):
    augment = Augment2d(**{**OFF, only: True if only.startswith("flip") else 0.3})
    one = x[:1].expand(16, -1, -1, -1)

    def run(seed, epoch, start):
        return augment(one, torch.arange(start, start + 16), seed, epoch)

    first = run(0, 0, 0)
    assert torch.equal(first, run(0, 0, 0))
    for other in (run(1, 0, 0), run(0, 1, 0), run(0, 0, 100)):
        assert not torch.equal(first, other)


@pytest.mark.parametrize("ids", [torch.tensor([1, 2]), torch.tensor([6, 6]), torch.tensor([[6, 0], [6, 1]])])
def test_one_image_twice_in_a_batch_comes_out_twice_different(x, ids):
    out = Augment2d()(x[:1].expand(2, -1, -1, -1), ids, 0, 0)
    assert not torch.allclose(out[0], out[1], atol=0.01)


def test_a_second_copy_does_not_change_the_first(x):
    twice = Augment2d()(x[:1].expand(2, -1, -1, -1), torch.tensor([6, 6]), 0, 0)
    assert torch.equal(twice[:1], Augment2d()(x[:1], torch.tensor([6]), 0, 0))


def test_flips_mirror_about_half_of_the_images(x):
    one = x[:1].expand(64, -1, -1, -1)
    for name, dim in (("flip_horizontal", 3), ("flip_vertical", 2)):
        out = Augment2d(**OFF, **{name: True})(one, torch.arange(64), 0, 0)
        flipped = [torch.allclose(o, x[0].flip(dim - 1), atol=1e-4) for o in out]
        same = [torch.allclose(o, x[0], atol=1e-4) for o in out]
        assert all(a != b for a, b in zip(flipped, same, strict=True)) and 16 < sum(flipped) < 48


def test_rotation_keeps_circles_round_in_oblong_images():
    yy, xx = torch.meshgrid(torch.arange(48) - 23.5, torch.arange(96) - 47.5, indexing="ij")
    blob = torch.exp(-(xx**2 + yy**2) / 72).expand(8, 1, -1, -1)
    out = Augment2d(**{**OFF, "rotate": 90.0})(blob, torch.arange(8), 0, 0)
    torch.testing.assert_close(out, blob, rtol=0, atol=0.02)
    bar = (blob + blob.roll(9, -1)).clamp(max=1)
    assert (Augment2d(**{**OFF, "rotate": 90.0})(bar, torch.arange(8), 0, 0) - bar).abs().max() > 0.3


def test_strengths_are_limits():
    field = torch.full((32, 1, 16, 16), 0.5)
    ids = torch.arange(32)
    bright = Augment2d(**{**OFF, "brightness": 0.1})(field, ids, 0, 0) - 0.5
    assert 0.08 < bright.abs().max() <= 0.1001 and bright.min() < -0.05
    assert torch.allclose(Augment2d(**{**OFF, "contrast": 0.3})(field, ids, 0, 0), field)
    noisy = Augment2d(**{**OFF, "noise": 0.05})(field, ids, 0, 0).std((1, 2, 3))
    assert 0.035 < noisy.max() < 0.06
    spot = torch.zeros(32, 1, 21, 21)
    spot[:, :, 10, 10] = 1
    moved = Augment2d(**{**OFF, "translate": 0.2})(spot, ids, 0, 0).squeeze(1)
    weight = torch.arange(21) - 10.0
    shift = torch.stack([(moved.sum(2) * weight).sum(1), (moved.sum(1) * weight).sum(1)])
    assert 3.0 < shift.abs().max() <= 0.2 * 21 + 1e-3


def test_global_generators_are_left_alone(x):
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    Augment2d()(x, IDS, 0, 0)
    assert torch.equal(torch.rand(1), expected)


def test_refusals(x):
    with pytest.raises(UsageError, match=r"augment\.noise=-1"):
        Augment2d(noise=-1.0)
    with pytest.raises(TypeError, match="uint8"):
        Augment2d()(x.byte(), IDS, 0, 0)
    with pytest.raises(ValueError, match="5 images, 4 ids"):
        Augment2d()(x, IDS[:4], 0, 0)
