"""3D U-Nets: shapes, any size, kernels of thick slices, and a ball that is learned by heart."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from medtrain import loss, model
from medtrain.model.memory import kept_bytes
from medtrain.model.unet_3d import Norm, kernels_of
from medtrain.target import DataSpec
from medtrain.target.mask import MaskTarget

STRIDES = ((1, 1, 1), (2, 2, 2), (1, 2, 2))


def spec_of(**more: object) -> DataSpec:
    return DataSpec(MaskTarget(("a",), **more), 1, (8, 16, 16), (1.0, 1.0, 1.0), strides=STRIDES)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["unet_3d", "resunet_3d", "vnet"])
def test_outputs_of_every_resolution_in_training_the_finest_else(name: str) -> None:
    network = getattr(model, name)(spec_of(), width=4)
    outputs = network(torch.randn(2, 1, 7, 17, 16))
    assert [tuple(x.shape) for x in outputs] == [(2, 2, 7, 17, 16), (2, 2, 4, 10, 8)]
    assert network.eval()(torch.randn(1, 1, 9, 16, 20)).shape == (1, 2, 9, 16, 20)


@pytest.mark.parametrize("training", [True, False])
def test_norm_is_torch_s_instance_norm_and_its_gradient(training: bool) -> None:
    torch.manual_seed(0)
    own, theirs = Norm(5, affine=True).train(training), nn.InstanceNorm3d(5, affine=True).train(training)
    theirs.load_state_dict({key: torch.randn(5) for key in own.state_dict()})
    own.load_state_dict(theirs.state_dict())
    x = (3 + 2 * torch.randn(2, 5, 4, 6, 3)).requires_grad_()
    y, weight = x.detach().clone().requires_grad_(), torch.randn(2, 5, 4, 6, 3)
    torch.testing.assert_close(own(x), theirs(y))
    ((own(x) * weight).sum().backward(), (theirs(y) * weight).sum().backward())
    torch.testing.assert_close(x.grad, y.grad)
    for a, b in zip(own.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_checkpointing_changes_no_gradient() -> None:
    torch.manual_seed(0)
    plain = model.unet_3d(spec_of(), width=4)
    again = model.unet_3d(spec_of(), width=4, checkpointing=True)
    again.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 8, 16, 16)
    for network in (plain, again):
        network(x)[0].square().mean().backward()
    for a, b in zip(plain.parameters(), again.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)


def test_checkpointing_keeps_less_for_the_backward_pass() -> None:
    with torch.device("meta"):
        x = torch.empty(2, 1, 8, 16, 16)
        less, more = (kept_bytes(model.unet_3d(spec_of(), width=8, checkpointing=on), x) for on in (True, False))
    assert less < more / 2


def test_kernels_do_not_reach_across_thick_slices() -> None:
    assert kernels_of(((1, 1, 1), (1, 2, 2), (2, 2, 2)), (5.0, 1.0, 1.0), 3) == [(1, 3, 3), (1, 3, 3), (3, 3, 3)]
    assert kernels_of(((1, 1, 1), (1, 2, 2), (1, 2, 2)), (4.0, 1.0, 1.0), 3) == [(1, 3, 3), (1, 3, 3), (3, 3, 3)]


@pytest.mark.parametrize(
    ("name", "target"), [("dice_ce", {}), ("dice_focal", {}), ("tversky", {"labels": ("a", "b"), "regions": ((1, 2),)})]
)
def test_a_ball_is_learned_by_heart(name: str, target: dict[str, object]) -> None:
    torch.manual_seed(0)
    spec = spec_of(**target)
    z, y, x = torch.meshgrid(*(torch.arange(side) - side / 2 for side in (8, 16, 16)), indexing="ij")
    mask = ((4 * z**2 + y**2 + x**2) < 30).long()[None]
    image = (mask[:, None].float() + 0.2 * torch.randn(1, 1, 8, 16, 16)).expand(2, -1, -1, -1, -1)
    network, learned = model.unet_3d(spec, width=8), getattr(loss, name)(spec)
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    for _ in range(80):
        optimizer.zero_grad()
        sum(learned(network(image), mask.expand(2, -1, -1, -1)).values()).backward()
        optimizer.step()
    logits = network.eval()(image[:1])[0]
    found = logits[0] > 0 if target else logits.argmax(0) == 1
    assert 2 * (found & (mask[0] > 0)).sum() / (found.sum() + mask.sum()) > 0.95
