"""Losses: built for a DataSpec, called as ``loss(logits_BK, y)``; know neither networks nor Lightning.

Those that weigh classes take the label counts of the training split as ``counts``.
"""

from medtrain.loss.attention_entropy import attention_entropy
from medtrain.loss.balanced_cross_entropy import balanced_cross_entropy
from medtrain.loss.cross_entropy import BinaryCrossEntropy, MulticlassCrossEntropy, cross_entropy
from medtrain.loss.detection import DetectionLoss, OwnLoss
from medtrain.loss.focal import SigmoidFocal, SoftmaxFocal, focal
from medtrain.loss.masked import full_precision, masked_mean
from medtrain.loss.weights import class_weights, positive_weights

__all__ = [
    "BinaryCrossEntropy",
    "DetectionLoss",
    "MulticlassCrossEntropy",
    "OwnLoss",
    "SigmoidFocal",
    "SoftmaxFocal",
    "attention_entropy",
    "balanced_cross_entropy",
    "class_weights",
    "cross_entropy",
    "focal",
    "full_precision",
    "masked_mean",
    "positive_weights",
]
