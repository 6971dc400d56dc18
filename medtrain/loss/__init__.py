"""Losses: built for a DataSpec, called as ``loss(logits_BK, y)``; know neither networks nor Lightning.

Those that weigh classes take the label counts of the training split as ``counts``. Each loss of these files is
`medtrain.loss.NAME`; listed is only what other rooms import.
"""

from medtrain.core.offer import offer
from medtrain.loss.attention_entropy import attention_entropy
from medtrain.loss.weights import class_weights, positive_weights

__all__ = ["attention_entropy", "class_weights", "positive_weights"]

offer(__name__)
