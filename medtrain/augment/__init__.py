"""Augmentation of whole batches, reproducible sample by sample; knows neither datasets nor Lightning."""

from medtrain.augment.boxes import AugmentBoxes
from medtrain.augment.images import Augment2d, Identity
from medtrain.augment.mixup import mixup
from medtrain.augment.views import Views2d, Views3d
from medtrain.augment.volumes import Augment3d

__all__ = ["Augment2d", "Augment3d", "AugmentBoxes", "Identity", "Views2d", "Views3d", "mixup"]
