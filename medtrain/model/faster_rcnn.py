"""Faster R-CNN on torchvision's, for any number of channels, with anchors that fit the data.

Ren et al., Faster R-CNN, NeurIPS 2015; Lin et al., Feature pyramid networks, CVPR 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple

from torchvision import models
from torchvision.models import WeightsEnum
from torchvision.models.detection import FasterRCNN, FasterRCNN_ResNet50_FPN_Weights
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.ops import MultiScaleRoIAlign

from medtrain.core.ranges import Above, Count, Inside, Share, checked
from medtrain.model.anchors import Anchors, level_shapes
from medtrain.model.family import member
from medtrain.model.mining import HardNegatives
from medtrain.model.torchvision_detector import TorchvisionDetector, mobilenet_pyramid, resnet50_pyramid
from medtrain.model.weights import load_weights
from medtrain.target import DataSpec


class Limits(NamedTuple):
    """How many boxes an image has on their way through the two stages; see `faster_rcnn`."""

    score: float
    overlap: float
    most: int
    proposals: int
    sampled: int


class Trunk(NamedTuple):
    """What tells the two networks apart.

    Args:
        pyramid: makes the backbone of a data set.
        strides: of its maps, and of the one that is pooled from the last.
        width: of the second stage's layers.
        proposals, sampled: by default; see `faster_rcnn`.
        weights: published, that fit.
    """

    pyramid: Callable[[DataSpec], BackboneWithFPN]
    strides: list[int]
    width: int
    proposals: int
    sampled: int
    weights: list[type[WeightsEnum]]


def _faster_rcnn(trunk: Trunk) -> Callable[..., TorchvisionDetector]:
    @checked("model")
    def build(
        spec: DataSpec,
        weights: str | None = "none",
        score: Share = 0.01,
        overlap: Inside = 0.5,
        most: Count = 100,
        proposals: Count = trunk.proposals,
        sampled: Count = trunk.sampled,
        mining: bool = False,
        mining_ratio: Annotated[float, Above(0)] = 3.0,
        mining_least: Count = 16,
        mining_pool: Count = 100,
    ) -> TorchvisionDetector:
        """Build Faster R-CNN with {title}.

        Args:
            spec: the data's shape, classes and boxes.
            weights: ``none``, a published name (of the whole on COCO, ``COCO_V1``, where there are such; of the
                backbone on ImageNet, ``IMAGENET1K_V1``, ``_V2``), or a file with either; see `load_weights`.
            score, overlap, most: of `detect`: the least score, the IoU of duplicates, and boxes an image.
            proposals: candidate boxes an image; in training three times as many.
            sampled: of these, how many an image the second stage learns from.
            mining: the second stage learns from hard negatives instead of random ones; see `HardNegatives`.
            mining_ratio, mining_least, mining_pool: negatives a positive, an image at least, the hardest to draw from.

        Raises:
            UsageError, MedtrainError: see `load_weights`.
        """
        miner = HardNegatives(sampled, mining_ratio, mining_least, mining_pool) if mining else None
        detector = _detector(spec, trunk, Limits(score, overlap, most, proposals, sampled), miner)
        load_weights(detector, weights, *trunk.weights)
        return detector

    return build


def _detector(spec: DataSpec, trunk: Trunk, limits: Limits, miner: HardNegatives | None) -> TorchvisionDetector:
    settings: dict[str, Any] = {
        "box_score_thresh": limits.score,
        "box_nms_thresh": limits.overlap,
        "box_detections_per_img": limits.most,
        "rpn_pre_nms_top_n_train": 3 * limits.proposals,
        "rpn_post_nms_top_n_train": 3 * limits.proposals,
        "rpn_pre_nms_top_n_test": 3 * limits.proposals,
        "rpn_post_nms_top_n_test": limits.proposals,
        "box_batch_size_per_image": limits.sampled,
    }
    backbone = trunk.pyramid(spec)
    maps = [str(level) for level in range(len(trunk.strides) - 1)]  # the last one, pooled, only proposes
    net = FasterRCNN(
        backbone,
        rpn_anchor_generator=Anchors(level_shapes(spec, trunk.strides, 3)),
        box_roi_pool=MultiScaleRoIAlign(maps, output_size=7, sampling_ratio=2 if trunk.width > 512 else 1),
        box_head=TwoMLPHead(49 * backbone.out_channels, trunk.width),
        box_predictor=FastRCNNPredictor(trunk.width, len(spec.classes) + 1),
        **settings,
    )
    if miner is not None:
        net.roi_heads.fg_bg_sampler = miner
    return TorchvisionDetector(net, spec, first_label=1)


faster_rcnn = member(
    _faster_rcnn(
        Trunk(
            partial(resnet50_pyramid, levels=[1, 2, 3, 4]),
            [4, 8, 16, 32, 64],
            1024,
            proposals=300,
            sampled=128,
            weights=[FasterRCNN_ResNet50_FPN_Weights, models.ResNet50_Weights],
        )
    ),
    "faster_rcnn",
    "a ResNet-50 and feature pyramid at strides 4 to 64",
)
# torchvision's own has maps of strides 16 to 64 only, in which small lesions are lost; so its weights from COCO don't
# fit, those of the backbone from ImageNet do
faster_rcnn_mobilenet = member(
    _faster_rcnn(
        Trunk(
            partial(mobilenet_pyramid, strides=[8, 16, 32], width=128),
            [8, 16, 32, 64],
            512,
            proposals=100,
            sampled=64,
            weights=[models.MobileNet_V3_Large_Weights],
        )
    ),
    "faster_rcnn_mobilenet",
    "a MobileNetV3-Large and feature pyramid at strides 8 to 64",
)
