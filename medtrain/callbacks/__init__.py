"""Lightning callbacks of every run: progress, speed, losses that explode, averaged weights, checkpoints, preemption.

Each callback of these files is `medtrain.callbacks.NAME`; listed is only what other rooms import.
"""

from medtrain.callbacks.checkpoint import WholeCheckpointIO
from medtrain.callbacks.loss_watch import LossWatch
from medtrain.callbacks.mining import Mining
from medtrain.callbacks.preemption import Preemption
from medtrain.callbacks.progress import Progress
from medtrain.callbacks.speed import Speed
from medtrain.core.offer import offer

__all__ = ["LossWatch", "Mining", "Preemption", "Progress", "Speed", "WholeCheckpointIO"]

offer(__name__)
