"""Losses: built for a DataSpec, called as ``loss(logits_BK, y)``; know neither networks nor Lightning."""

from medtrain.loss.cross_entropy import BinaryCrossEntropy, MulticlassCrossEntropy, cross_entropy
from medtrain.loss.masked import full_precision, masked_mean

__all__ = ["BinaryCrossEntropy", "MulticlassCrossEntropy", "cross_entropy", "full_precision", "masked_mean"]
