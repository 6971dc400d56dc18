"""Patches and masks changed together: both move alike, and a sample's change is its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from medtrain.augment import AugmentMasks
from medtrain.augment.masks import bent_grey, coarsened
from medtrain.core.errors import UsageError
from medtrain.target import DataSpec

NOTHING: dict[str, Any] = {
    **dict.fromkeys(("spatial_rate", "noise_rate", "blur_rate", "brightness_rate", "contrast_rate"), 0.0),
    **dict.fromkeys(("low_resolution_rate", "gamma_rate"), 0.0),
    **dict.fromkeys(("mirror_left_right", "mirror_front_back", "mirror_head_feet"), False),
}


def balls(number: int = 8, size: int = 20) -> tuple[Tensor, Tensor]:
    """Patches that are 1 in a ball off the centre, and its masks."""
    grid = torch.stack(torch.meshgrid(*[torch.arange(size)] * 3, indexing="ij")).float()
    mask = (((grid - torch.tensor([8.0, 11.0, 10.0])[:, None, None, None]) ** 2).sum(0) < 25).long()
    return mask.float().expand(number, 1, -1, -1, -1).clone(), mask.expand(number, -1, -1, -1).clone()


def changed(seed: int = 0, epoch: int = 1, ids: Tensor | None = None, **keys: Any) -> tuple[Tensor, Tensor]:
    x, mask = balls()
    return AugmentMasks(**(NOTHING | keys))(x, mask, torch.arange(8) if ids is None else ids, seed, epoch)


def test_nothing_is_changed_without_rates() -> None:
    x, mask = changed()
    assert torch.equal(x, balls()[0]) and torch.equal(mask, balls()[1])


def test_patch_and_mask_turn_and_grow_together() -> None:
    x, mask = changed(spatial_rate=0.99)
    known = mask >= 0
    assert ((x[:, 0] > 0.5) == (mask == 1))[known].float().mean() > 0.985  # but for voxels at the edge
    sizes = (mask == 1).flatten(1).sum(1)
    assert sizes.min() < 0.8 * balls()[1][0].sum() and sizes.max() > 1.2 * balls()[1][0].sum()
    outside = ~known
    assert outside.any() and x[:, 0][outside].abs().max() < 1  # half a voxel beyond is half of what was there


def test_mirroring_is_exact() -> None:
    x, mask = changed(seed=1, mirror_left_right=True)
    whole, flipped = balls()[0][0], balls()[0][0].flip(3)
    ways = [torch.equal(one, flipped) for one in x]
    assert all(torch.equal(one, whole) or torch.equal(one, flipped) for one in x) and 0 < sum(ways) < 8
    assert torch.equal(x[:, 0].long(), mask)


def test_a_sample_is_changed_alike_in_any_batch_and_otherwise_in_another_epoch() -> None:
    augment = AugmentMasks(spatial_rate=0.6, noise_rate=0.6, blur_rate=0.6, low_resolution_rate=0.6, gamma_rate=0.6)
    x, mask = balls()
    ids = torch.stack([torch.arange(8), torch.arange(8) % 3], 1)
    whole = augment(x, mask, ids, 3, 5)
    for n in range(8):
        alone = augment(x[n : n + 1], mask[n : n + 1], ids[n : n + 1], 3, 5)
        assert torch.equal(alone[1][0], whole[1][n])
        torch.testing.assert_close(alone[0][0], whole[0][n], atol=1e-5, rtol=0)
    assert not torch.allclose(augment(x, mask, ids, 3, 6)[0], whole[0])


def test_thin_patches_stay_within_their_slices() -> None:
    spec = DataSpec.of("mask", ("a",), 1, (4, 20, 20), (5.0, 1.0, 1.0))
    x = torch.arange(4.0).view(1, 1, 4, 1, 1).expand(8, 1, 4, 20, 20).clone()
    augment = AugmentMasks(spec, **(NOTHING | {"spatial_rate": 0.99, "scale": 0.0}))
    out, mask = augment(x, torch.zeros(8, 4, 20, 20, dtype=torch.long), torch.arange(8), 0, 0)
    inner = (mask == 0)[:, :, 5:15, 5:15]
    assert inner.all() and torch.allclose(out[..., 5:15, 5:15], x[..., 5:15, 5:15], atol=1e-4)


@pytest.mark.parametrize(
    "key", ["noise_rate", "blur_rate", "brightness_rate", "contrast_rate", "low_resolution_rate", "gamma_rate"]
)
def test_grey_levels_change_and_masks_do_not(key: str) -> None:
    x, mask = balls()
    x = x + 0.1 * torch.randn(x.shape, generator=torch.Generator().manual_seed(0))
    out, after = AugmentMasks(**(NOTHING | {key: 0.99}))(x, mask, torch.arange(8), 0, 0)
    assert torch.equal(after, mask) and torch.isfinite(out).all()
    assert (out - x).flatten(1).abs().max(1).values.gt(1e-3).sum() >= 7


def test_gamma_puts_mean_and_deviation_back_and_keeps_the_order() -> None:
    x = torch.randn(2, 2, 6, 6, 6, generator=torch.Generator().manual_seed(1))
    bent = bent_grey(x, torch.tensor([1.5, 0.7]).view(-1, 1, 1, 1, 1))
    torch.testing.assert_close(bent.mean((2, 3, 4)), x.mean((2, 3, 4)), atol=1e-5, rtol=0)
    torch.testing.assert_close(bent.std((2, 3, 4)), x.std((2, 3, 4)))
    assert torch.equal(bent[0, 0].flatten().argsort(), x[0, 0].flatten().argsort())


def test_low_resolution_loses_single_voxels_and_keeps_what_is_smooth() -> None:
    smooth = torch.linspace(0, 1, 16).view(1, 1, 1, 16).expand(1, 16, 16, 16)
    assert (coarsened(smooth, 0.5) - smooth).abs().max() < 0.1
    dot = torch.zeros(1, 16, 16, 16)
    dot[0, 8, 8, 8] = 1
    assert coarsened(dot, 0.5).max() < 1


def test_strengths_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="augment.scale"):
        AugmentMasks(scale=1.0)
