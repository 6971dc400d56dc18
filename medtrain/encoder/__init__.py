"""Frozen encoders: tiles of slides to features."""

from medtrain.encoder.base import Encoder
from medtrain.encoder.descriptor import Descriptor, descriptor
from medtrain.encoder.pretrained import efficientnet_lite0, timm, torchvision

__all__ = ["Descriptor", "Encoder", "descriptor", "efficientnet_lite0", "timm", "torchvision"]
