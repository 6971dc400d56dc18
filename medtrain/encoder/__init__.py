"""Frozen encoders: tiles of slides to features. Each one of these files is `medtrain.encoder.NAME`."""

from medtrain.core.offer import offer
from medtrain.encoder.base import Encoder

__all__ = ["Encoder"]

offer(__name__)
