"""Transfer learning: what of a pretrained network trains, from when on, at what rate."""

from medtrain.transfer.plan import Transfer

__all__ = ["Transfer"]
