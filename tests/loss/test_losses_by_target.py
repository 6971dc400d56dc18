"""Losses of quantities and grades, by hand and by torch; and losses that don't fit a target, refused both ways."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import medtrain.loss
from medtrain.core.errors import UsageError
from medtrain.model import build_model, resnet18, tie_outputs
from medtrain.target import DataSpec
from medtrain.target.binary import Binary
from medtrain.target.boxes import BoxTarget
from medtrain.target.multiclass import Multiclass
from medtrain.target.ordinal import Ordinal
from medtrain.target.value import Value

NAMES = ("a", "b", "c")
VALUE = DataSpec(Value(("x",)), 1)
GRADES = DataSpec(Ordinal(NAMES), 1)
OF = {
    "values": ("mse", "mae", "huber", "gaussian"),
    "grades": ("coral", "corn"),
    "classes": ("cross_entropy", "focal"),
}
FIT = {"value": {"values"}, "ordinal": {"grades", "classes"}, "binary": {"classes"}, "multiclass": {"classes"}}
TARGETS = [Value(("x",)), Ordinal(NAMES), Binary(("0", "1")), Multiclass(NAMES), BoxTarget(NAMES)]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.kind)
@pytest.mark.parametrize(("form", "loss"), [(form, loss) for form, losses in OF.items() for loss in losses])
def test_a_loss_fits_or_is_refused_by_name(target: object, form: str, loss: str) -> None:
    spec = DataSpec(target, 1)  # type: ignore[arg-type]
    build = getattr(medtrain.loss, loss)
    if form in FIT.get(spec.target.kind, ()):
        assert isinstance(build(spec), nn.Module)
    else:
        with pytest.raises(UsageError, match=f"loss={loss} doesn't fit a target of kind {spec.target.kind}: take"):
            build(spec)


def test_errors_count_where_they_are_known() -> None:
    outputs, y = torch.tensor([[1.0], [2.0], [9.0]]), torch.tensor([[0.0], [4.0], [torch.nan]])
    wanted = {"mse": 2.5, "mae": 1.5, "huber": (0.5 + 1.5) / 2}
    for name, value in wanted.items():
        assert float(getattr(medtrain.loss, name)(VALUE)(outputs, y)) == pytest.approx(value)
    assert float(medtrain.loss.mse(VALUE)(outputs, torch.full((3, 1), torch.nan))) == 0


def test_truths_are_standardised_by_the_training_split() -> None:
    spec = DataSpec(Value(("x",), "mm", (10.0,), (2.0,)), 1)
    assert float(medtrain.loss.mse(spec)(torch.zeros(1, 1), torch.tensor([[14.0]]))) == pytest.approx(4)


def test_gaussian_is_the_density() -> None:
    mean, log_variance, y = torch.tensor([[0.3], [1.0]]), torch.tensor([[0.5], [-1.0]]), torch.tensor([[1.0], [0.0]])
    wanted = -torch.distributions.Normal(mean, (log_variance / 2).exp()).log_prob(y).mean()
    ours = medtrain.loss.gaussian(VALUE)(torch.cat([mean, log_variance], 1), y)
    assert float(ours) == pytest.approx(float(wanted), abs=1e-6)


def test_coral_and_corn_by_hand() -> None:
    logits, y = torch.tensor([[0.4, -0.2], [1.0, 0.5], [3.0, 3.0]]), torch.tensor([0, 2, -1])
    log = torch.nn.functional.logsigmoid
    coral = (-log(-logits[0]).sum() - log(logits[1]).sum()) / 2
    corn = (-log(-logits[0, 0]) - log(logits[1]).sum()) / 3
    assert float(medtrain.loss.coral(GRADES)(logits, y)) == pytest.approx(float(coral))
    assert float(medtrain.loss.corn(GRADES)(logits, y)) == pytest.approx(float(corn))


def test_tied_outputs_stay_tied_whatever_the_steps() -> None:
    spec = DataSpec(Ordinal(("1", "2", "3", "4")).fitted_to("coral"), 1, (32, 32))
    torch.manual_seed(0)
    network = build_model(resnet18, {"weights": "none"}, spec)
    tie_outputs(network, spec.n_logits)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01)
    loss = medtrain.loss.coral(spec)
    for _ in range(3):
        optimizer.zero_grad()
        loss(network(torch.randn(4, 1, 32, 32)), torch.tensor([0, 1, 2, 3])).backward()
        optimizer.step()
    weight, bias = network.fc.weight.detach().numpy(), network.fc.bias.detach().numpy()
    assert np.array_equal(weight, np.broadcast_to(weight[:1], weight.shape))
    assert len(set(bias.tolist())) == 3
