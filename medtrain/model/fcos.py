"""FCOS on torchvision's, for any number of channels: one stage, no anchors.

Tian et al., FCOS: fully convolutional one-stage object detection, ICCV 2019.
"""

from __future__ import annotations

from torch import nn
from torchvision import models
from torchvision.models.detection import FCOS, FCOS_ResNet50_FPN_Weights
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from medtrain.core.ranges import Count, Inside, Share, checked
from medtrain.model.torchvision_detector import TorchvisionDetector, resnet50_pyramid
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


@checked("model")
def fcos(
    spec: DataSpec, weights: str | None = "none", score: Share = 0.01, overlap: Inside = 0.6, most: Count = 100
) -> TorchvisionDetector:
    """Build FCOS with a ResNet-50 and feature pyramid at strides 8 to 128.

    Args:
        spec: the data's shape and classes.
        weights: ``none``, of the whole on COCO (``COCO_V1``), of the backbone on ImageNet (``IMAGENET1K_V1``, ``_V2``),
            or a file with either; see `load_weights`.
        score, overlap, most: of `detect`: the least score, the IoU of duplicates, and boxes an image.

    Raises:
        UsageError, MedtrainError: see `load_weights`.
    """
    backbone = resnet50_pyramid(spec, [2, 3, 4], LastLevelP6P7(256, 256))
    limits = {"score_thresh": score, "nms_thresh": overlap, "detections_per_img": most}
    network = FCOS(backbone, len(spec.classes), **limits)
    # A ReLU follows: sides that start below 0 on all images would never learn. In cells from the centre.
    nn.init.constant_(network.head.regression_head.bbox_reg.bias, 1.0)
    detector = TorchvisionDetector(network, spec, first_label=0)
    load_weights(detector, weights, FCOS_ResNet50_FPN_Weights, models.ResNet50_Weights)
    return detector
