"""Transfer learning: what of a pretrained network trains, from when on, at what rate."""

from medtrain.core.offer import offer
from medtrain.transfer.plan import Transfer, scale_rates

__all__ = ["Transfer", "scale_rates"]

globals().update(offer(__name__))
