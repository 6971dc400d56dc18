"""Augmentation of whole batches, reproducible sample by sample; knows neither datasets nor Lightning."""

from medtrain.augment.images import Augment2d, Identity

__all__ = ["Augment2d", "Identity"]
