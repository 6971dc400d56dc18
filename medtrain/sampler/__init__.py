"""Samplers: which cases come when. They take arrays of labels and groups, not a dataset.

Training samplers share one signature, ``(labels, groups, *, batch_size, seed, rank=0, world=1)``, and `set_epoch`.
"""

from medtrain.sampler.evaluation import EvalSampler
from medtrain.sampler.shuffle import Shuffle

__all__ = ["EvalSampler", "Shuffle"]
