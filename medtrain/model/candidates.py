"""torchvision's detectors parted where they suppress boxes: before and between are graphs of fixed shapes.

torchvision selects, decodes and suppresses image by image, with as many boxes as there happen to be; a graph holds what
comes before. Each level hands on its surest candidates, as many as torchvision lets through: what it drops by a
threshold first is dropped by the rule of suppression here (`medtrain.core.suppression`).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import permute_and_flatten
from torchvision.ops import clip_boxes_to_image, roi_align

from medtrain.core.boxes import Candidates
from medtrain.core.suppression import Suppression
from medtrain.model.detector import Stage

SMALLEST = 1e-2  # pixels; torchvision drops smaller boxes of its second stage


def stages_of(net: Any, channels: int, size: tuple[int, int], first_label: int) -> list[Stage]:
    """Part a network of torchvision's for inputs of one size.

    Args:
        net: FCOS, RetinaNet or Faster R-CNN.
        size: (height, width) of its inputs.
        first_label: the number that it has for our class 0.
    """
    example = torch.zeros(1, channels, *size)
    with torch.no_grad():
        features = net.eval().backbone(example)
        maps = list(features.values())
        generator = net.rpn.anchor_generator if isinstance(net, FasterRCNN) else net.anchor_generator
        anchors = generator(ImageList(example, [size]), maps)[0]
        if isinstance(net, FasterRCNN):  # its pooling learns the strides of the maps from the first image it sees
            net.roi_heads.box_roi_pool(features, [example.new_tensor([[0, 0, *size[::-1]]])], [size])
    of_level = [int(map_.shape[-2] * map_.shape[-1]) for map_ in maps]
    per_place = len(anchors) // sum(of_level)
    levels = [per_place * places for places in of_level]
    if not isinstance(net, FasterRCNN):
        return [
            Stage(OneStage(net, anchors, levels), Suppression(net.nms_thresh, net.detections_per_img, net.score_thresh))
        ]
    rpn, heads = net.rpn, net.roi_heads
    proposals = Suppression(rpn.nms_thresh, rpn._post_nms_top_n["testing"], smallest=rpn.min_size)
    final = Suppression(heads.nms_thresh, heads.detections_per_img, heads.score_thresh, SMALLEST)
    used = [number for number, name in enumerate(features) if name in heads.box_roi_pool.featmap_names]
    shapes = [(int(maps[number].shape[-2]), int(maps[number].shape[-1])) for number in used]
    first, second = Proposals(net, anchors, levels, used), SecondStage(heads, size, shapes, first_label)
    return [Stage(first, proposals), Stage(second, final)]


class OneStage(nn.Module):
    """FCOS or RetinaNet up to the surest candidates of each level.

    Args:
        anchors_A4, levels: all anchors of an image, and how many each level has.
    """

    anchors_A4: Tensor

    def __init__(self, net: Any, anchors_A4: Tensor, levels: list[int]) -> None:
        super().__init__()
        self.net, self.levels = net, levels
        self.register_buffer("anchors_A4", anchors_A4)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Compute `Candidates` of a normalised input."""
        outputs = self.net.head(list(self.net.backbone(x_BCHW).values()))
        scores_BAC = outputs["cls_logits"].float().sigmoid()
        if "bbox_ctrness" in outputs:
            scores_BAC = (scores_BAC * outputs["bbox_ctrness"].float().sigmoid()).sqrt()
        coded_BA4, classes = outputs["bbox_regression"].float(), scores_BAC.shape[2]
        parts = zip(*(whole.split(self.levels, dim) for whole, dim in
                      ((scores_BAC, 1), (coded_BA4, 1), (self.anchors_A4, 0))), strict=True)  # fmt: skip
        surest = []
        for score_BLC, coded_BL4, anchors_L4 in parts:
            flat = score_BLC.flatten(1)
            score_BK, entry_BK = flat.topk(min(self.net.topk_candidates, flat.shape[1]), 1)
            place_BK = entry_BK // classes
            boxes_BK4 = self._decoded(taken(coded_BL4, place_BK), anchors_L4[place_BK])
            surest.append(Candidates(boxes_BK4, score_BK, entry_BK % classes))
        boxes, scores, labels = (torch.cat(level, 1) for level in zip(*surest, strict=True))
        height, width = x_BCHW.shape[-2:]
        return clip_boxes_to_image(boxes, (height, width)), scores, labels

    def _decoded(self, coded_BK4: Tensor, anchors_BK4: Tensor) -> Tensor:
        coder = self.net.box_coder
        if hasattr(coder, "decode_single"):
            return decoded(coder, coded_BK4, anchors_BK4)
        boxes: Tensor = coder.decode(coded_BK4, anchors_BK4)
        return boxes


class Proposals(nn.Module):
    """The first stage of Faster R-CNN up to the surest proposals of each level, and the maps for the second.

    Args:
        anchors_A4, levels: as `OneStage` takes them.
        used: the numbers of the maps that the second stage looks at.
    """

    anchors_A4: Tensor

    def __init__(self, net: Any, anchors_A4: Tensor, levels: list[int], used: list[int]) -> None:
        super().__init__()
        self.net, self.levels, self.used = net, levels, used
        self.register_buffer("anchors_A4", anchors_A4)

    def forward(self, x_BCHW: Tensor) -> tuple[Tensor, ...]:
        """Compute `Candidates` whose labels are levels, and the maps (B, W, places) of a normalised input."""
        maps, rpn = list(self.net.backbone(x_BCHW).values()), self.net.rpn
        surest = []
        parts = zip(*rpn.head(maps), self.anchors_A4.split(self.levels), strict=True)
        for level, (logits, deltas, anchors_L4) in enumerate(parts):
            logit_BL1, delta_BL4 = (
                permute_and_flatten(map_, x_BCHW.shape[0], -1, width, *map_.shape[-2:]).float()
                for map_, width in ((logits, 1), (deltas, 4))
            )
            logit_BK, row_BK = logit_BL1[..., 0].topk(min(rpn._pre_nms_top_n["testing"], logit_BL1.shape[1]), 1)
            boxes_BK4 = decoded(rpn.box_coder, taken(delta_BL4, row_BK), anchors_L4[row_BK])
            surest.append(Candidates(boxes_BK4, logit_BK.sigmoid(), torch.full_like(row_BK, level)))
        boxes, scores, labels = (torch.cat(level, 1) for level in zip(*surest, strict=True))
        height, width = x_BCHW.shape[-2:]
        return (
            clip_boxes_to_image(boxes, (height, width)),
            scores,
            labels,
            torch.cat([maps[n].flatten(2).float() for n in self.used], 2),
        )


class SecondStage(nn.Module):
    """The second stage of Faster R-CNN: what a proposal shows, and where exactly.

    torchvision pools each proposal from the map that fits its size; here from all, of which that one is taken: as many
    numbers whatever the sizes.
    """

    def __init__(self, heads: Any, size: tuple[int, int], shapes: list[tuple[int, int]], first_label: int) -> None:
        super().__init__()
        self.heads, self.size, self.shapes, self.first_label = heads, size, shapes, first_label

    def forward(self, proposals: Tensor, image: Tensor, maps: Tensor) -> tuple[Tensor, ...]:
        """Map proposals (N, 4), the number of the image of each (N,) int64, and the maps of all images to boxes
        (N, C, 4) and scores (N, C)."""
        pool, heads = self.heads.box_roi_pool, self.heads
        parts = zip(maps.split([height * width for height, width in self.shapes], 2), self.shapes, strict=True)
        levels = [part.unflatten(2, shape) for part, shape in parts]
        rois_N5 = torch.cat([image[:, None].to(proposals.dtype), proposals], 1)
        level_N = pool.map_levels([proposals])
        pooled = roi_align(levels[0], rois_N5, pool.output_size, pool.scales[0], pool.sampling_ratio)
        for level in range(1, len(levels)):
            other = roi_align(levels[level], rois_N5, pool.output_size, pool.scales[level], pool.sampling_ratio)
            pooled = torch.where((level_N == level)[:, None, None, None], other, pooled)
        kind = next(heads.box_head.parameters()).dtype
        logits, coded = (output.float() for output in heads.box_predictor(heads.box_head(pooled.to(kind))))
        boxes_NC4 = heads.box_coder.decode_single(coded, proposals).reshape(proposals.shape[0], -1, 4)
        own = slice(self.first_label, None)
        return clip_boxes_to_image(boxes_NC4[:, own], self.size), logits.softmax(-1)[:, own]


def taken(values_BL4: Tensor, rows_BK: Tensor) -> Tensor:
    """Take other rows of each image: (B, K, 4)."""
    return values_BL4.gather(1, rows_BK[..., None].expand(-1, -1, values_BL4.shape[-1]))


def decoded(coder: Any, coded_BK4: Tensor, anchors_BK4: Tensor) -> Tensor:
    """Decode boxes by a coder of torchvision's, which takes all images as one."""
    boxes: Tensor = coder.decode_single(coded_BK4.flatten(0, 1), anchors_BK4.flatten(0, 1))
    return boxes.reshape(anchors_BK4.shape)
