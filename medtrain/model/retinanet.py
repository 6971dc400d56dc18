"""RetinaNet on torchvision's, for any number of channels, with anchors that fit the data.

Lin et al., Focal loss for dense object detection, ICCV 2017.
"""

from __future__ import annotations

from torchvision import models
from torchvision.models.detection import RetinaNet, RetinaNet_ResNet50_FPN_Weights
from torchvision.ops.feature_pyramid_network import LastLevelP6P7

from medtrain.core.ranges import Count, Inside, Share, checked
from medtrain.model.anchors import Anchors, level_shapes
from medtrain.model.torchvision_detector import TorchvisionDetector, resnet50_pyramid
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


@checked("model")
def retinanet(
    spec: DataSpec,
    weights: str | None = "none",
    score: Share = 0.01,
    overlap: Inside = 0.5,
    most: Count = 100,
    anchors: Count = 9,
) -> TorchvisionDetector:
    """Build RetinaNet with a ResNet-50 and feature pyramid at strides 8 to 128.

    Args:
        spec: the data's shape, classes and boxes.
        weights: ``none``, of the whole on COCO (``COCO_V1``), of the backbone on ImageNet (``IMAGENET1K_V1``, ``_V2``),
            or a file with either; see `load_weights`.
        score, overlap, most: of `detect`: the least score, the IoU of duplicates, and boxes an image.
        anchors: at each place of each level.

    Raises:
        UsageError, MedtrainError: see `load_weights`.
    """
    backbone = resnet50_pyramid(spec, [2, 3, 4], LastLevelP6P7(256, 256))
    net = RetinaNet(
        backbone,
        len(spec.classes),
        anchor_generator=Anchors(level_shapes(spec, [8, 16, 32, 64, 128], anchors)),
        score_thresh=score,
        nms_thresh=overlap,
        detections_per_img=most,
    )
    detector = TorchvisionDetector(net, spec, first_label=0)
    load_weights(detector, weights, RetinaNet_ResNet50_FPN_Weights, models.ResNet50_Weights)
    return detector
