"""torchvision's detectors behind our interface: packed batches, data that are sized and normalised already."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.detection.backbone_utils import BackboneWithFPN, _resnet_fpn_extractor
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool

from medtrain.core.boxes import Boxes, Detections
from medtrain.model.candidates import stages_of
from medtrain.model.detector import Detector, Stage
from medtrain.model.stem import set_channels
from medtrain.target import DataSpec

LAST = {2: 1, 4: 3, 8: 6, 16: 12, 32: 16}
"""Where MobileNetV3-Large's map of each stride is ready, in torchvision's numbers."""


class TorchvisionDetector(Detector):
    """A detector of torchvision's behind our interface; in training it returns its own losses.

    Args:
        net: the network.
        spec: the data's channels.
        first_label: the number that it has for our class 0 (1 where 0 is the background).
    """

    own_loss = True
    heads = ("net.roi_heads.box_predictor.", "net.rpn.head.", "net.head.")
    inner = ("net.", "net.backbone.body.")

    def __init__(self, net: nn.Module, spec: DataSpec, first_label: int) -> None:
        super().__init__()
        net.transform = AsItComes(spec)
        self.net, self.first_label = net, first_label

    def forward(self, x_BCHW: Tensor, truth: Boxes | None = None) -> dict[str, Tensor]:
        assert truth is not None
        masks = [truth.image_M == row for row in range(len(x_BCHW))]
        targets = [{"boxes": truth.boxes_M4[mask], "labels": truth.labels_M[mask] + self.first_label} for mask in masks]
        return {SHORT[name]: value for name, value in self.net(list(x_BCHW), targets).items()}

    def detect(self, x_BCHW: Tensor) -> Detections:
        outputs = self.net(list(x_BCHW))
        image_N = torch.cat([torch.full_like(output["labels"], row) for row, output in enumerate(outputs)])
        boxes_N4, scores_N, labels_N = (
            torch.cat([output[key] for output in outputs]) for key in ("boxes", "scores", "labels")
        )
        return Detections(boxes_N4.float(), scores_N.float(), labels_N - self.first_label, image_N)

    def parted(self, channels: int, size: tuple[int, int]) -> list[Stage]:
        return stages_of(self.net, channels, size, self.first_label)


SHORT = {
    "loss_classifier": "class", "loss_box_reg": "box",
    "loss_objectness": "proposal", "loss_rpn_box_reg": "proposal_box",
    "classification": "class", "bbox_regression": "box", "bbox_ctrness": "centre",
}  # fmt: skip


class AsItComes(GeneralizedRCNNTransform):
    """A transform that leaves images alone: the data have sized and normalised them, whatever their channels.

    (torchvision's own option to leave out resizing does so in training only.)
    """

    def __init__(self, spec: DataSpec) -> None:
        super().__init__(1, 1, [0.0] * spec.channels, [1.0] * spec.channels)

    def resize(self, image: Tensor, target: Any = None) -> tuple[Tensor, Any]:
        return image, target


def resnet50_pyramid(spec: DataSpec, levels: list[int], extra: nn.Module | None = None) -> BackboneWithFPN:
    """Build ResNet-50 with a feature pyramid on the outputs of these of its four stages."""
    body = models.resnet50(weights=None)
    set_channels(body, spec.channels)
    return _resnet_fpn_extractor(body, 5, levels, extra)


def mobilenet_pyramid(spec: DataSpec, strides: list[int], width: int) -> BackboneWithFPN:
    """Build MobileNetV3-Large with a feature pyramid, `width` channels wide, on its maps of these strides."""
    norm = partial(nn.BatchNorm2d, eps=0.001, momentum=0.1)  # its own 0.01 is for very many steps
    body = models.mobilenet_v3_large(weights=None, norm_layer=norm)
    set_channels(body, spec.channels)
    steps = [LAST[stride] for stride in strides]
    widths = [body.features[step].out_channels for step in steps]
    named = {str(step): str(level) for level, step in enumerate(steps)}
    return BackboneWithFPN(body.features, named, widths, width, LastLevelMaxPool())
