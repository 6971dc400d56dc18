"""Samplers: which cases come when. They take arrays of labels and groups, not a dataset.

Training samplers share one signature, ``(labels, groups, *, batch_size, seed, rank=0, world=1)``, and `set_epoch`.
They give positions, or pairs (position, draw) where a case may come several times an epoch.
"""

from medtrain.sampler.balanced import Balanced
from medtrain.sampler.evaluation import EvalSampler
from medtrain.sampler.hard_negative import HardNegative
from medtrain.sampler.negatives import Negatives
from medtrain.sampler.remembering import Remembering
from medtrain.sampler.shuffle import Shuffle
from medtrain.sampler.weighted import Weighted

__all__ = ["Balanced", "EvalSampler", "HardNegative", "Negatives", "Remembering", "Shuffle", "Weighted"]
