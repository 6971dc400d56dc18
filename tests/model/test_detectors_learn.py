"""Detectors learn eight images by heart: assignment, coding, losses and suppression belong together."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from medtrain import model
from medtrain.core.boxes import Boxes
from medtrain.core.truth import PredictedBoxes, Truth
from medtrain.loss import DetectionLoss, OwnLoss
from medtrain.metric import map50
from medtrain.model.detector import Detector
from medtrain.target import DataSpec


def eight_images() -> tuple[Tensor, Boxes]:
    """Films of 128 px with squares of two classes, brighter and fainter; the first without any."""
    draw = np.random.default_rng(0)
    x = torch.from_numpy(draw.normal(0, 0.2, (8, 1, 128, 128)).astype(np.float32))
    boxes, labels, image = [], [], []
    for i in range(1, 8):
        for cell in draw.permutation(4)[:2]:
            corner = np.array([cell % 2, cell // 2]) * 64 + draw.integers(4, 28, 2)
            x0, y0, x1, y1 = np.concatenate([corner, corner + draw.integers(12, 32, 2)]).tolist()
            label = int(draw.integers(2))
            x[i, :, y0:y1, x0:x1] += 2.0 if label else 1.0
            boxes.append([x0, y0, x1, y1])
            labels.append(label)
            image.append(i)
    return x, Boxes(torch.tensor(boxes, dtype=torch.float32), torch.tensor(labels), torch.tensor(image))


def reached(network: Detector, x: Tensor, truth: Boxes) -> float:
    network.eval()
    with torch.no_grad():
        said = network.detect(x)
    network.train()
    boxes, n = truth.boxes_M4.double().numpy(), len(truth.labels_M)
    true = Truth(
        boxes, truth.labels_M.numpy(), truth.image_M.numpy(), np.zeros(n, bool), np.full(n, 400.0), np.arange(n),
        np.full((8, 2), 128), np.arange(8),
    )  # fmt: skip
    found = PredictedBoxes(
        said.boxes_N4.double().numpy(), said.scores_N.double().numpy(), said.labels_N.numpy(), said.image_N.numpy()
    )
    return map50(true, found, 2)


def learned(name: str, steps: int, rate: float) -> float:
    """The best mAP50 within so many steps; looked at every tenth."""
    torch.manual_seed(0)
    x, truth = eight_images()
    sides = (truth.boxes_M4[:, 2:] - truth.boxes_M4[:, :2]).tolist()
    spec = DataSpec.of("boxes", ("a", "b"), 1, (128, 128), boxes=tuple((w, h) for w, h in sides))
    network: Detector = getattr(model, name)(spec)
    loss = OwnLoss() if network.own_loss else DetectionLoss()
    optimizer = torch.optim.AdamW(network.parameters(), rate, weight_decay=0)
    best = 0.0
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        sum(loss(network(x, truth), truth).values()).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 10)
        optimizer.step()
        if step % 10 == 0 and step >= steps // 2:
            best = max(best, reached(network, x, truth))
            if best > 0.95:
                break
    return best


@pytest.fixture(autouse=True)
def no_denormal_numbers() -> Iterator[None]:
    """An untrained MobileNet in evaluation mode is all but zero, which CPUs are slow at."""
    torch.set_flush_denormal(True)
    yield
    torch.set_flush_denormal(False)


@pytest.mark.parametrize(("name", "steps", "rate"), [("yolo", 120, 2e-3), ("faster_rcnn_mobilenet", 140, 1e-3)])
def test_quick_ones(name: str, steps: int, rate: float) -> None:
    assert learned(name, steps, rate) > 0.95


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "steps", "rate"), [("faster_rcnn", 150, 3e-4), ("retinanet", 200, 3e-4), ("fcos", 120, 3e-4)]
)
def test_larger_ones(name: str, steps: int, rate: float) -> None:
    assert learned(name, steps, rate) > 0.95
