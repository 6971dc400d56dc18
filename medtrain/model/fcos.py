"""FCOS on torchvision's, for any number of channels: one stage, no anchors.

Tian et al., FCOS: fully convolutional one-stage object detection, ICCV 2019.
"""

from __future__ import annotations

from torchvision import models
from torchvision.models.detection import FCOS, FCOS_ResNet50_FPN_Weights
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from medtrain.core.spec import DataSpec
from medtrain.model.torchvision_detector import TorchvisionDetector, as_it_comes, resnet50_pyramid
from medtrain.model.weights import load_weights


def fcos(
    spec: DataSpec, weights: str = "none", score: float = 0.01, overlap: float = 0.6, most: int = 100
) -> TorchvisionDetector:
    """FCOS with a ResNet-50 and feature pyramid at strides 8 to 128.

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
    detector = TorchvisionDetector(FCOS(backbone, len(spec.classes), **limits, **as_it_comes(spec)), first_label=0)
    load_weights(detector, weights, FCOS_ResNet50_FPN_Weights, models.ResNet50_Weights)
    return detector
