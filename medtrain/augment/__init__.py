"""Augmentation of whole batches, reproducible sample by sample; knows neither datasets nor Lightning."""

from medtrain.augment.boxes import AugmentBoxes
from medtrain.augment.images import Augment2d, Identity
from medtrain.augment.mixup import mixup
from medtrain.augment.views import Views2d

__all__ = ["Augment2d", "AugmentBoxes", "Identity", "Views2d", "mixup"]
