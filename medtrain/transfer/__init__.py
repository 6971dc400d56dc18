"""Transfer learning: what of a pretrained network trains, from when on, at what rate."""

from medtrain.transfer.plan import Transfer, scale_rates

__all__ = ["Transfer", "scale_rates"]
