"""Transfer learning: the parts of a pretrained network that train, from when on, and at what rate."""

from medtrain.core.offer import offer
from medtrain.transfer.plan import Transfer, scale_rates

__all__ = ["Transfer", "scale_rates"]

offer(__name__)
