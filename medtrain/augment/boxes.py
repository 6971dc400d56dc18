"""Random changes of whole batches of images with boxes: flips, scale, shift, crops that keep a lesion, grey values.

One resampling a batch, on its device; each image by its own amounts, drawn from (seed, epoch, sample). Boxes go the
same way exactly. Nothing is rotated: the box around a turned box is larger than the lesion.
"""

from __future__ import annotations

from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import clip_boxes_to_image

from medtrain.augment.affine import resample
from medtrain.augment.draws import draw, signed
from medtrain.augment.images import Augment2d
from medtrain.core.ranges import AtLeast, Part, Share, checked

_DRAWS = 10
Batch = dict[str, Tensor]


class AugmentBoxes(nn.Module):
    """Random changes of batches of ``x``, ``boxes``, ``labels`` and ``image`` (see `medtrain.data.batches.boxes`).

    Of each image that has boxes, one drawn at random stays wholly in view, or in the middle if it is larger than that.

    Args:
        scale: up to this share larger or smaller.
        translate: up to this share of height and width either way.
        crop: the share of images that are cut to a part and enlarged to the full size.
        zoom: by up to this factor, at least 1; the part may lie anywhere that its lesion allows.
        brightness, contrast, noise: as of `Augment2d`.
        flip_horizontal, flip_vertical: mirror half of the images; not for chests, where sides mean something.
        mosaic: the share of images that become four in one, each half as large: themselves and the next three of the
            batch (Bochkovskiy et al., YOLOv4, 2020). It makes small lesions smaller still.
        min_visible: boxes are cut at the edge, and dropped where less than this share of their area is left.

    Raises:
        UsageError: a share is out of range.
    """

    @checked("augment")
    def __init__(
        self,
        scale: Part = 0.2,
        translate: Part = 0.1,
        crop: Share = 0.0,
        zoom: Annotated[float, AtLeast(1)] = 1.5,
        brightness: Part = 0.1,
        contrast: Part = 0.15,
        noise: Part = 0.02,
        flip_horizontal: bool = False,
        flip_vertical: bool = False,
        mosaic: Share = 0.0,
        min_visible: Share = 0.3,
    ) -> None:
        super().__init__()
        self.scale, self.translate, self.crop, self.zoom = scale, translate, crop, zoom
        self.flip_horizontal, self.flip_vertical = flip_horizontal, flip_vertical
        self.mosaic, self.min_visible = mosaic, min_visible
        self.grey = Augment2d(
            rotate=0, scale=0, translate=0, brightness=brightness, contrast=contrast, noise=noise
        )  # fmt: skip

    @torch.no_grad()
    def forward(self, batch: Batch, seed: int, epoch: int) -> Batch:
        """Change a batch.

        Args:
            batch: x (B, C, H, W) floating point in 0..1; boxes (M, 4) in pixels of x; labels (M,); image (M,), the row
                of each box, ascending; case, and where there are, instance and draw, which tell the samples apart.
            seed: of the run.
            epoch: number of the epoch.

        Returns:
            the same keys but ``place``, which no longer holds; boxes that are lost from view are left out.
        """
        x = batch["x"]
        if not x.is_floating_point():
            raise TypeError(f"images must be floating point in 0..1, not {x.dtype}")
        ids_BN = torch.stack([batch[key] for key in ("case", "instance", "draw") if key in batch], 1)
        u_BK = draw(ids_BN.tolist(), seed, epoch, _DRAWS, "augment boxes")[0].to(x.device)
        changed: dict[str, Any] = {key: value for key, value in batch.items() if key != "place"}
        if self.mosaic:
            changed |= four_in_one(changed, u_BK[:, 9] < self.mosaic)
        changed |= self._moved(changed, u_BK)
        changed["x"] = self.grey(changed["x"], ids_BN, seed, epoch)
        return changed

    def _moved(self, batch: Batch, u_BK: Tensor) -> Batch:
        x, boxes_M4, image_M = batch["x"], batch["boxes"], batch["image"]
        size_2 = x.new_tensor([x.shape[-1], x.shape[-2]], dtype=torch.float32)
        flip_B2 = torch.stack([(u_BK[:, 0] < 0.5) & self.flip_horizontal, (u_BK[:, 1] < 0.5) & self.flip_vertical], 1)
        turned_M4 = mirrored(boxes_M4, flip_B2[image_M], size_2)
        cut_B = u_BK[:, 2] < self.crop
        scale_B = (1 + self.scale * signed(u_BK[:, 3])) * torch.where(cut_B, 1 + (self.zoom - 1) * u_BK[:, 4], 1.0)
        half_B2 = size_2 / (2 * scale_B[:, None])  # of the part that is seen
        near_B2 = size_2 * (0.5 + self.translate * signed(u_BK[:, 5:7]))
        anywhere_B2 = half_B2 + (size_2 - 2 * half_B2).clamp(min=0) * u_BK[:, 5:7]
        middle_B2 = torch.where(cut_B[:, None], anywhere_B2, near_B2)
        middle_B2 = keeping(middle_B2, half_B2, turned_M4, image_M, u_BK[:, 7])
        moved = resample(
            x.float(),
            degrees_B=torch.zeros_like(scale_B),
            scale_B=scale_B,
            shift_B2=middle_B2 / size_2 - 0.5,
            flip_B2=flip_B2,
        )
        new_M4 = (turned_M4 - middle_B2.repeat(1, 2)[image_M]) * scale_B[image_M, None] + (size_2 / 2).repeat(2)
        return {
            "x": moved.to(x.dtype),
            **in_view(new_M4, batch["labels"], image_M, (x.shape[-2], x.shape[-1]), self.min_visible),
        }


def mirrored(boxes_M4: Tensor, flip_M2: Tensor, size_2: Tensor) -> Tensor:
    """Exchange left and right, or top and bottom, of boxes; `size_2` is (W, H)."""
    flip_M4, size_4 = flip_M2.repeat(1, 2), size_2.repeat(2)
    return torch.where(flip_M4, size_4 - boxes_M4[:, [2, 3, 0, 1]], boxes_M4)


def keeping(middle_B2: Tensor, half_B2: Tensor, boxes_M4: Tensor, image_M: Tensor, u_B: Tensor) -> Tensor:
    """Move the middle of each view no more than it takes to hold one box of the image, chosen by `u_B`."""
    if not len(boxes_M4):
        return middle_B2
    count_B = torch.bincount(image_M, minlength=len(middle_B2))
    chosen_B = count_B.cumsum(0) - count_B + (u_B * count_B).long()
    box_B4 = boxes_M4[chosen_B.clamp(max=len(boxes_M4) - 1)]
    low_B2, high_B2 = box_B4[:, 2:] - half_B2, box_B4[:, :2] + half_B2
    between_B2 = (low_B2 + high_B2) / 2
    held_B2 = torch.where(low_B2 <= high_B2, torch.clamp(middle_B2, low_B2, high_B2), between_B2)
    return torch.where((count_B > 0)[:, None], held_B2, middle_B2)


def in_view(boxes_M4: Tensor, labels_M: Tensor, image_M: Tensor, size: tuple[int, int], least: float) -> Batch:
    """Cut boxes at the edges of an image of `size` (H, W), and leave out those with less than the share `least`."""
    cut_M4 = clip_boxes_to_image(boxes_M4, size)
    side_M2, whole_M2 = cut_M4[:, 2:] - cut_M4[:, :2], boxes_M4[:, 2:] - boxes_M4[:, :2]
    remains_M = (side_M2.prod(1) >= least * whole_M2.prod(1)) & (side_M2 > 0).all(1)
    return {"boxes": cut_M4[remains_M], "labels": labels_M[remains_M], "image": image_M[remains_M]}


def four_in_one(batch: Batch, which_B: Tensor) -> Batch:
    """Make images `which_B` mosaics of themselves and the next three of the batch; the others stay."""
    x, number = batch["x"], len(batch["x"])
    half = x.shape[-2] // 2, x.shape[-1] // 2
    small = F.interpolate(x.float(), half, mode="bilinear", antialias=True).to(x.dtype)
    canvas = torch.zeros_like(x)
    boxes, labels, image = [], [], []
    own_M = ~which_B[batch["image"]]
    for part in range(4):
        top, left = part // 2 * half[0], part % 2 * half[1]
        canvas[..., top : top + half[0], left : left + half[1]] = small.roll(-part, 0)
        target_M = (batch["image"] - part) % number
        there_M = which_B[target_M]
        factor_2 = x.new_tensor([half[1] / x.shape[-1], half[0] / x.shape[-2]], dtype=torch.float32)
        corner_2 = x.new_tensor([left, top], dtype=torch.float32)
        boxes.append(batch["boxes"][there_M] * factor_2.repeat(2) + corner_2.repeat(2))
        labels.append(batch["labels"][there_M])
        image.append(target_M[there_M])
    image_M = torch.cat([batch["image"][own_M], *image])
    order = image_M.argsort(stable=True)
    return {
        "x": torch.where(which_B.reshape(-1, 1, 1, 1), canvas, x),
        "boxes": torch.cat([batch["boxes"][own_M], *boxes])[order],
        "labels": torch.cat([batch["labels"][own_M], *labels])[order],
        "image": image_M[order],
    }
