"""Detectors: shapes, any size and channels, weights, anchors, hard negatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models import mobilenet_v3_large

from medtrain import model
from medtrain.core.boxes import Boxes, decode
from medtrain.core.errors import MedtrainError, UsageError
from medtrain.loss import DetectionLoss, OwnLoss
from medtrain.model.anchors import Anchors, level_shapes
from medtrain.model.mining import HardNegatives
from medtrain.target import DataSpec

SPEC = DataSpec.of("boxes", ("a", "b"), 1, (64, 64))
TRUTH = Boxes(torch.tensor([[8.0, 8, 24, 24], [30, 30, 36, 36]]), torch.tensor([0, 1]), torch.tensor([1, 1]))
NONE = Boxes(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long))
QUICK = {"yolo": model.yolo, "faster_rcnn_mobilenet": model.faster_rcnn_mobilenet}


def test_yolo_sees_any_size_and_its_points_are_where_they_say() -> None:
    network = model.yolo(SPEC).eval()
    for height, width in ((64, 64), (50, 83)):
        raw = network(torch.rand(1, 1, height, width))
        cells = sum(-(-height // s) * -(-width // s) for s in (8, 16, 32))
        assert raw.logits_BAC.shape == (1, cells, 2) and raw.coded_BA4.shape == (1, cells, 4)
        assert len(raw.points_A2) == len(raw.stride_A) == cells
    boxes = decode(raw.coded_BA4, raw.points_A2, raw.stride_A)[0]
    sides = (boxes[:, 2:] - boxes[:, :2]) / raw.stride_A[:, None]
    assert sides.min() > 1 and sides.max() < 16  # about four strides before anything is learned
    assert raw.logits_BAC.sigmoid().max() < 0.1


def test_yolo_sizes_and_strides() -> None:
    small, large = (sum(p.numel() for p in model.yolo(SPEC, size=size).parameters()) for size in ("n", "s"))
    assert 2e6 < small < 3.5e6 and 3.5 * small < large < 4.5 * small
    fine = model.yolo(SPEC, strides=[4, 8, 16])(torch.rand(1, 1, 64, 64))
    assert fine.stride_A.unique().tolist() == [4, 8, 16] and fine.logits_BAC.shape[1] == 16**2 + 8**2 + 4**2
    for wrong in ({"size": "xl"}, {"strides": [8, 32]}, {"strides": []}, {"strides": [3, 6]}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            model.yolo(SPEC, **wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", QUICK)
@pytest.mark.parametrize("channels", [1, 3])
def test_learns_from_lesions_and_from_none_and_finds_in_bounds(name: str, channels: int) -> None:
    torch.manual_seed(0)
    spec = DataSpec.of("boxes", ("a", "b"), channels, (64, 64))
    network = QUICK[name](spec)
    loss: nn.Module = OwnLoss() if network.own_loss else DetectionLoss()
    for truth in (TRUTH, NONE):
        parts = loss(network(torch.rand(2, channels, 64, 64), truth), truth)
        sum(parts.values()).backward()
        assert all(torch.isfinite(value) for value in parts.values()) and "class" in parts and "box" in parts
    first = next(p for p in network.parameters() if p.ndim == 4)
    assert first.shape[1] == channels and first.grad is not None and first.grad.abs().sum() > 0
    network.eval()
    with torch.no_grad():
        found = network.detect(torch.rand(3, channels, 50, 70))
    assert found.boxes_N4.dtype == torch.float32 and (found.image_N.diff() >= 0).all()
    assert (
        (found.boxes_N4 >= 0).all() and (found.boxes_N4[:, [0, 2]] <= 70).all() and (found.boxes_N4[:, 3] <= 50).all()
    )
    assert set(found.labels_N.tolist()) <= {0, 1}


def test_losses_in_evaluation_leave_the_network_as_it_was() -> None:
    network = model.faster_rcnn_mobilenet(SPEC).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with torch.no_grad(), model.losses_wanted(network):
        parts = network(torch.rand(2, 1, 64, 64), TRUTH)
    assert set(parts) == {"class", "box", "proposal", "proposal_box"}
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module.training for module in network.modules())


def test_inputs_are_neither_resized_nor_normalised_again() -> None:
    transform = model.faster_rcnn_mobilenet(SPEC).net.transform
    x = torch.rand(2, 1, 64, 96)
    for training in (True, False):
        images, _ = transform.train(training)(list(x))
        torch.testing.assert_close(images.tensors, x)


def test_channels_last_and_bf16() -> None:
    network = model.yolo(SPEC).to(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        parts = DetectionLoss()(network(torch.rand(2, 1, 64, 64), TRUTH), TRUTH)
    assert parts["class"].dtype == torch.float32 and torch.isfinite(sum(parts.values()))  # type: ignore[arg-type]


def test_weights_of_a_backbone_and_of_other_classes(tmp_path: Path) -> None:
    body = mobilenet_v3_large(weights=None)
    torch.save(body.state_dict(), tmp_path / "body.pth")
    network = model.faster_rcnn_mobilenet(SPEC, weights=str(tmp_path / "body.pth"))
    stem = network.net.backbone.body["0"][0].weight  # type: ignore[union-attr, index]
    torch.testing.assert_close(stem, body.features[0][0].weight.sum(1, keepdim=True))
    torch.save({"state_dict": {f"model.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "run.ckpt")
    other = model.faster_rcnn_mobilenet(DataSpec.of("boxes", ("x",), 3, (64, 64)), weights=str(tmp_path / "run.ckpt"))
    own, theirs = network.state_dict(), other.state_dict()
    assert torch.equal(own["net.roi_heads.box_head.fc6.weight"], theirs["net.roi_heads.box_head.fc6.weight"])
    assert theirs["net.roi_heads.box_predictor.cls_score.weight"].shape[0] == 2
    with pytest.raises(MedtrainError, match="matches"):
        model.yolo(SPEC, weights=str(tmp_path / "body.pth"))


def test_old_names_of_published_files() -> None:
    network = model.faster_rcnn_mobilenet(SPEC)
    own = network.state_dict()
    old = {
        key.removeprefix("net.").replace("rpn.head.conv.0.0.", "rpn.head.conv.").replace(".0.weight", ".weight")
        if "fpn." in key or "rpn.head.conv" in key
        else key.removeprefix("net."): torch.full_like(value, 2)
        for key, value in own.items()
    }
    model.warm_start(network, old)
    assert (network.state_dict()["net.backbone.fpn.inner_blocks.1.0.weight"] == 2).all()
    assert (network.state_dict()["net.rpn.head.conv.0.0.weight"] == 2).all()


def test_anchors_are_exact_and_go_where_their_size_belongs() -> None:
    made = Anchors([np.array([[4.0, 4], [5.6, 2.8]]), np.array([[40.0, 30], [30, 40]])])
    assert made.num_anchors_per_location() == [2, 2]
    torch.testing.assert_close(made.cell_anchors[0], torch.tensor([[-2.0, -2, 2, 2], [-2.8, -1.4, 2.8, 1.4]]))
    boxes = tuple((w, w) for w in (4.0, 5.0, 6.0, 70.0, 80.0, 90.0))
    shapes = level_shapes(DataSpec.of("boxes", ("a",), 1, (256, 256), boxes=boxes), [8, 16], 3)
    assert shapes[0].max() < 10 and shapes[1].min() == pytest.approx(70)
    usual = level_shapes(SPEC, [8, 16], 3)
    np.testing.assert_allclose(usual[1].prod(1), 64.0**2)


def test_hard_negatives_are_the_surest_and_normal_images_have_some() -> None:
    torch.manual_seed(0)
    label = torch.zeros(200, dtype=torch.long)
    label[[5, 50, 199]] = 2
    label[10] = -1
    positive, negative = HardNegatives(most=64, ratio=3, least=8, pool=20)([label, torch.zeros(200, dtype=torch.long)])
    assert positive[0].nonzero()[:, 0].tolist() == [5, 50, 199] and not positive[1].any()
    assert negative[0].sum() == 9 and negative[0].nonzero().max() < 23 and not negative[0][10]
    assert negative[1].sum() == 8 and negative[1].nonzero().max() < 20
    with pytest.raises(UsageError, match="mining_pool"):
        HardNegatives(least=10, pool=5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["faster_rcnn", "retinanet", "fcos"])
def test_larger_ones_learn_and_find(name: str) -> None:
    network = getattr(model, name)(SPEC)
    parts = network(torch.rand(2, 1, 64, 64), TRUTH)
    sum(parts.values()).backward()
    assert all(torch.isfinite(value) for value in parts.values())
    network.eval()
    assert network.detect(torch.rand(1, 1, 64, 64)).boxes_N4.shape[1] == 4


@pytest.mark.parametrize("name", ["fcos", "retinanet", "faster_rcnn_mobilenet", "yolo"])
def test_batches_without_any_box_have_a_finite_loss_and_teach_every_score(name: str) -> None:
    torch.manual_seed(0)
    spec = DataSpec.of("boxes", ("a", "b"), 1, (64, 64), boxes=((16.0, 16.0),))
    network = getattr(model, name)(spec).train()
    loss = OwnLoss() if network.own_loss else DetectionLoss()
    nothing = Boxes(torch.zeros(0, 4), torch.zeros(0).long(), torch.zeros(0).long())
    x = torch.randn(2, 1, 64, 64)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3)
    before = None
    for _ in range(3):
        optimizer.zero_grad()
        parts = loss(network(x, nothing), nothing)
        total = torch.stack(list(parts.values())).sum()
        assert torch.isfinite(total) and total > 0
        before = before or float(total.detach())
        total.backward()
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)
        assert any((gradient != 0).any() for gradient in gradients)
        optimizer.step()
    assert all(torch.isfinite(p).all() for p in network.parameters())
