"""Losses of masks: against the formula, with voxels that nobody knows, classes that are not there, coarser outputs."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from medtrain import loss
from medtrain.core.errors import UsageError
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

SPEC = DataSpec(MaskTarget(("a", "b")), 1, (4, 4, 4))


def test_dice_and_cross_entropy_by_formula() -> None:
    torch.manual_seed(0)
    logits, mask = torch.randn(2, 3, 4, 4, 4), torch.randint(0, 3, (2, 4, 4, 4))
    parts = loss.dice_ce(SPEC)(logits, mask)
    probs = logits.softmax(1)
    dice = [2 * (probs[:, k] * (mask == k)).sum() / (probs[:, k].sum() + (mask == k).sum()) for k in (1, 2)]
    torch.testing.assert_close(parts["pixelwise"], F.cross_entropy(logits, mask))
    torch.testing.assert_close(parts["overlap"], 1 - torch.stack(dice).mean(), atol=1e-5, rtol=1e-5)


def test_voxels_that_nobody_knows_count_nothing() -> None:
    logits, mask = torch.randn(1, 3, 4, 4, 4), torch.randint(0, 3, (1, 4, 4, 4))
    mask[:, 2:] = -1
    learned = loss.dice_ce(SPEC)
    torch.testing.assert_close(
        sum(learned(logits, mask).values()), sum(learned(logits[:, :, :2], mask[:, :2]).values())
    )
    changed = logits.clone()
    changed[:, :, 2:] += 5
    torch.testing.assert_close(learned(changed, mask), learned(logits, mask))


def test_a_class_that_nobody_sees_or_calls_is_right() -> None:
    mask = torch.zeros(1, 4, 4, 4, dtype=torch.long)
    sure = torch.full((1, 3, 4, 4, 4), -30.0)
    sure[:, 0] = 30
    assert float(loss.dice_ce(SPEC)(sure, mask)["overlap"]) == pytest.approx(0, abs=1e-4)


def test_coarser_outputs_count_half_as_much() -> None:
    fine, coarse = torch.randn(1, 3, 4, 4, 4), torch.randn(1, 3, 2, 2, 2)
    mask = torch.randint(0, 3, (1, 4, 4, 4))
    learned = loss.dice_ce(SPEC)
    both = learned([fine, coarse], mask)["pixelwise"]
    own = F.cross_entropy(fine, mask), F.cross_entropy(coarse, mask[:, ::2, ::2, ::2])
    torch.testing.assert_close(both, (2 * own[0] + own[1]) / 3)


def test_other_targets_are_refused() -> None:
    with pytest.raises(UsageError, match="loss=dice_ce learns masks"):
        loss.dice_ce(DataSpec.of("binary", ("0", "1"), 1, (4, 4)))
