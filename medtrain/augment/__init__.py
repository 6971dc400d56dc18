"""Augmentation of whole batches, reproducible sample by sample; knows neither datasets nor Lightning.

Each augmentation of these files is `medtrain.augment.NAME`; listed is only what other rooms import.
"""

from medtrain.augment.masks import MIRRORS, mirrored_axes
from medtrain.augment.mixup import mixup
from medtrain.augment.views import BoxViews, Views2d, Views3d
from medtrain.core.offer import offer

__all__ = ["MIRRORS", "BoxViews", "Views2d", "Views3d", "mirrored_axes", "mixup"]

offer(__name__)
