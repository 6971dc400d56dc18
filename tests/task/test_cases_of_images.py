"""Cases of several images: their loss, and how much each image weighs, by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtrain.core.errors import UsageError
from medtrain.loss import cross_entropy
from medtrain.target import DataSpec
from medtrain.task.classification import Classification
from medtrain.task.classification.shares import shares

SPEC = DataSpec.of("binary", ("0", "1"), 1, (2, 2))
CASE = torch.tensor([4, 4, 4, 1, 4])
VISIT = torch.tensor([0, 0, 1, 2, 1])  # case 4 was drawn twice
Y = torch.tensor([[1.0], [1.0], [1.0], [0.0], [1.0]])


class First(nn.Module):
    """Gives the first pixel as the logit, and the second as the score."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns, self.times = columns, nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.times * x.flatten(1)[:, : self.columns]


def batch() -> dict[str, torch.Tensor]:
    x = torch.rand(5, 1, 2, 2, generator=torch.Generator().manual_seed(0)) * 4 - 2
    return {"x": x, "case": CASE, "instance": torch.arange(5), "visit": VISIT, "y": Y}


@pytest.mark.parametrize("pool", ["mean", "max", "noisy_or", "attention"])
def test_the_loss_is_that_of_whole_cases_draw_by_draw(pool: str) -> None:
    task = Classification(SPEC, First(1 + (pool == "attention")), loss=cross_entropy(SPEC), pool=pool)
    given = batch()
    logit, score = given["x"].flatten(1)[:, 0], given["x"].flatten(1)[:, 1]
    by_hand = []
    for visit, sick in ((0, True), (1, True), (2, False)):
        here = visit == VISIT
        p = logit[here].sigmoid()
        whole = {"mean": p.mean(), "max": p.max(), "noisy_or": 1 - (1 - p).prod()}
        whole["attention"] = (score[here].softmax(0) * logit[here]).sum().sigmoid()
        by_hand.append(-(whole[pool] if sick else 1 - whole[pool]).log())
    loss = task.losses(given)["loss"]
    torch.testing.assert_close(loss, torch.stack(by_hand).mean())
    assert task.batch_size(given) == 3
    loss.backward()
    assert task.model.times.grad.abs() > 0


def test_a_single_image_a_case_is_learned_as_without_cases() -> None:
    task = Classification(SPEC, First(1), loss=cross_entropy(SPEC))
    given = batch() | {"visit": torch.arange(5), "case": torch.arange(5)}
    plain = {key: given[key] for key in ("x", "case", "y")}
    torch.testing.assert_close(task.losses(given)["loss"], task.losses(plain)["loss"])


def test_shares_are_those_of_the_prediction() -> None:
    scores = torch.tensor([[0.3, 1.0], [0.1, -1.0], [0.7, 0.5], [0.2, 9.0], [0.5, 0.0]])
    outputs = {"case": CASE, "instance": torch.tensor([0, 1, 2, 0, 3]), "logits": scores}
    weights = scores[[0, 1, 2, 4], 1].softmax(0) * 4
    known = shares(outputs, "attention")
    assert known == pytest.approx(
        dict(zip([(4, 0), (4, 1), (4, 2), (4, 3)], weights.tolist(), strict=True)) | {(1, 0): 1}
    )
    both = shares(outputs | {"logits": torch.stack([scores, scores.flip(0)], 1)}, "attention")  # of two members
    assert both[4, 0] == pytest.approx((weights[0] + 4 * scores.flip(0)[[0, 1, 2, 4], 1].softmax(0)[0]).item() / 2)
    assert set(shares(outputs, "mean").values()) == {1.0} and shares(outputs, "max") == {}


def test_what_does_not_go_with_cases_of_images_is_refused() -> None:
    task, data = {"dims": 2, "pool": "mean", "mixup": 0.0}, {"columns": {"case": "exam"}}
    Classification.check(task | {"pool": "attention"}, data)
    Classification.check(task | {"mixup": 0.2}, {"columns": {"case": "none"}})
    with pytest.raises(UsageError, match=r"task\.mixup"):
        Classification.check(task | {"mixup": 0.2}, data)
    with pytest.raises(UsageError, match=r"data\.columns\.case"):
        Classification.check(task | {"pool": "attention"}, {"columns": {"case": None}})
