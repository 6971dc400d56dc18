"""Samplers: the order in which cases come. They take arrays of labels and groups, not a dataset.

Training samplers share one signature, ``(labels, groups, *, batch_size, seed, rank=0, world=1)``, and `set_epoch`.
They give positions, or pairs (position, draw) where a case may come several times an epoch. Each sampler of these files
is `medtrain.sampler.NAME`; listed is only what other rooms import.
"""

from medtrain.core.offer import offer
from medtrain.sampler.evaluation import EvalSampler
from medtrain.sampler.remembering import Remembering
from medtrain.sampler.shuffle import Shuffle

__all__ = ["EvalSampler", "Remembering", "Shuffle"]

offer(__name__)
