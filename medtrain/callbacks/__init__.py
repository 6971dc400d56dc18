"""Lightning callbacks of every run: progress, speed, averaged weights, whole checkpoints, giving the machine back."""

from medtrain.callbacks.checkpoint import BestCheckpoint, LastCheckpoint, WholeCheckpointIO
from medtrain.callbacks.ema import EMA
from medtrain.callbacks.mining import Mining
from medtrain.callbacks.preemption import Preemption
from medtrain.callbacks.progress import Progress
from medtrain.callbacks.speed import Speed

__all__ = ["EMA", "BestCheckpoint", "LastCheckpoint", "Mining", "Preemption", "Progress", "Speed", "WholeCheckpointIO"]
