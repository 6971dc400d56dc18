"""Losses of masks, against values by hand and torch's own cross-entropy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from medtrain.core.errors import UsageError
from medtrain.loss import dice_ce, dice_focal, tversky
from medtrain.loss.overlap import SMOOTH, shrunk
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

SPEC = DataSpec(MaskTarget(("a", "b")), 1, (2, 2, 2), (1.0, 1.0, 1.0))
REGIONS = DataSpec(
    MaskTarget(("whole", "core"), labels=("oedema", "tumour"), regions=((1, 2), (2,))), 1, (2, 2, 2), (1.0, 1.0, 1.0)
)


def drawn(outputs: int = 3, cases: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.randn(cases, outputs, 4, 4, 4), torch.randint(0, 3, (cases, 4, 4, 4))


def soft_dice(probs: np.ndarray, truth: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    both = (probs * truth).sum(axes)
    return (2 * both + 2 * SMOOTH) / (probs.sum(axes) + truth.sum(axes) + 2 * SMOOTH)


@pytest.mark.parametrize(("batch", "axes"), [(True, (0, 2, 3, 4)), (False, (2, 3, 4))])
def test_dice_ce_is_both_parts(batch: bool, axes: tuple[int, ...]) -> None:
    x, mask = drawn()
    parts = dice_ce(SPEC, batch=batch)(x, mask)
    truth = np.stack([mask.numpy() == label for label in (1, 2)], 1).astype(float)
    dice = soft_dice(x.softmax(1).numpy()[:, 1:], truth, axes)
    assert parts["overlap"].item() == pytest.approx(1 - dice.mean(), abs=1e-5)
    assert parts["pixelwise"].item() == pytest.approx(F.cross_entropy(x, mask).item(), abs=1e-5)


def test_a_small_structure_counts_as_much_as_a_large_one_unless_the_batch_is_one() -> None:
    mask = torch.zeros(2, 4, 4, 4, dtype=torch.long)
    mask[0], mask[1, 0, 0, 0] = 1, 1  # 64 voxels, which are all called, and one, which is missed
    called = torch.zeros_like(mask)
    called[0] = 1
    spec = DataSpec(MaskTarget(("a",)), 1, (4, 4, 4), (1.0, 1.0, 1.0))
    x = 60.0 * F.one_hot(called, 2).movedim(-1, 1).float()
    for loss, one in ((dice_ce, 1 - 2 * 64 / (64 + 65)), (dice_focal, 1 - 2 * 64 / (64 + 65)), (tversky, 0.7 / 64.7)):
        assert loss(spec)(x, mask)["overlap"].item() == pytest.approx(0.5, abs=1e-4)
        assert loss(spec, batch=True)(x, mask)["overlap"].item() == pytest.approx(one, abs=1e-4)


def test_weights_scale_and_drop_parts() -> None:
    x, mask = drawn()
    whole, half = dice_ce(SPEC)(x, mask), dice_ce(SPEC, dice=0.5, cross_entropy=0.0)(x, mask)
    assert set(half) == {"overlap"}
    assert half["overlap"].item() == pytest.approx(0.5 * whole["overlap"].item())


def test_unknown_voxels_count_nothing() -> None:
    x, mask = drawn()
    unknown = torch.zeros_like(mask, dtype=torch.bool)
    unknown[:, 2:] = True
    ignored = torch.where(unknown, -1, mask)
    other = torch.where(unknown[:, None], torch.randn_like(x) * 9, x).requires_grad_()
    for loss in (dice_ce(SPEC), dice_focal(SPEC), tversky(SPEC), dice_ce(SPEC, batch=False)):
        whole, part = loss(x[:, :, :2], mask[:, :2]), loss(other, ignored)
        for name, value in whole.items():
            torch.testing.assert_close(part[name], value)
    sum(dice_ce(SPEC)(other, ignored).values()).backward()
    assert other.grad is not None and not other.grad[:, :, 2:].any() and other.grad[:, :, :2].any()


def test_nothing_known_is_finite() -> None:
    x, mask = drawn()
    x.requires_grad_()
    total = sum(dice_ce(SPEC)(x, torch.full_like(mask, -1)).values())
    total.backward()
    assert torch.isfinite(total) and x.grad is not None and not x.grad.any()


def test_an_absent_class_that_nobody_calls_is_right() -> None:
    mask = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    mask[:, :2] = 1  # class 2 is nowhere
    sure = 40.0 * F.one_hot(mask, 3).movedim(-1, 1).float()
    assert dice_ce(SPEC)(sure, mask)["overlap"].item() == pytest.approx(0, abs=1e-4)
    wrong = sure.clone()
    wrong[:, 2, 3] = 80  # a slice is called class 2
    assert dice_ce(SPEC)(wrong, mask)["overlap"].item() == pytest.approx(0.5, abs=1e-3)  # class 2 has no overlap


def test_an_absent_class_pulls_no_gradient_up() -> None:
    x, _ = drawn()
    x.requires_grad_()
    dice_ce(SPEC, cross_entropy=0.0)(x, torch.zeros(2, 4, 4, 4, dtype=torch.long))["overlap"].backward()
    assert x.grad is not None and (x.grad[:, 0] <= 0).all()  # only background may grow


def test_regions_have_sigmoids_of_their_own() -> None:
    x, mask = drawn(outputs=2)
    parts = dice_ce(REGIONS, batch=True)(x, mask)
    truth = torch.stack([mask >= 1, mask == 2], 1).double()
    assert parts["pixelwise"].item() == pytest.approx(
        F.binary_cross_entropy_with_logits(x.double(), truth).item(), abs=1e-5
    )
    dice = soft_dice(x.sigmoid().numpy(), truth.numpy(), (0, 2, 3, 4))
    assert parts["overlap"].item() == pytest.approx(1 - dice.mean(), abs=1e-5)


def test_focal_of_gamma_0_is_cross_entropy_and_counts_easy_voxels_less() -> None:
    x, mask = drawn()
    plain = F.cross_entropy(x, mask, reduction="none")
    wanted = ((1 - torch.exp(-plain)) ** 2 * plain).mean()
    assert dice_focal(SPEC, gamma=2.0)(x, mask)["pixelwise"].item() == pytest.approx(wanted.item(), abs=1e-5)
    assert dice_focal(SPEC, gamma=0.0)(x, mask)["pixelwise"].item() == pytest.approx(plain.mean().item(), abs=1e-5)


def test_tversky_by_hand() -> None:
    mask = torch.tensor([1, 1, 1, 0, 0, 0, 0, 0]).reshape(1, 2, 2, 2)
    called = torch.tensor([1, 0, 0, 1, 0, 0, 0, 0]).reshape(1, 2, 2, 2)
    spec = DataSpec(MaskTarget(("a",)), 1, (2, 2, 2), (1.0, 1.0, 1.0))
    x = 60.0 * F.one_hot(called, 2).movedim(-1, 1).float()
    loss = tversky(spec, alpha=0.3, beta=0.7)(x, mask)["overlap"]
    assert loss.item() == pytest.approx(1 - 1 / (1 + 0.3 * 1 + 0.7 * 2), abs=1e-4)  # 1 right, 1 wrong, 2 missed
    half = tversky(spec, alpha=0.5, beta=0.5)(x, mask)["overlap"]
    assert half.item() == pytest.approx(dice_ce(spec)(x, mask)["overlap"].item())


def test_coarser_outputs_count_half_as_much() -> None:
    x, mask = drawn()
    coarse = torch.randn(2, 3, 2, 2, 2)
    loss = dice_ce(SPEC)
    fine, low, both = loss(x, mask), loss(coarse, mask[:, ::2, ::2, ::2]), loss([x, coarse], mask)
    assert torch.equal(shrunk(mask, coarse), mask[:, ::2, ::2, ::2])
    for name in both:
        assert both[name].item() == pytest.approx((2 * fine[name].item() + low[name].item()) / 3, abs=1e-5)


def test_half_precision_loses_nothing() -> None:
    x, mask = drawn()
    half = x.half()
    for name, value in dice_ce(SPEC)(half, mask).items():
        torch.testing.assert_close(value, dice_ce(SPEC)(half.float(), mask)[name])


def test_other_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="masks"):
        dice_ce(DataSpec.of("binary", ("no", "yes"), 1, (8, 8, 8)))
