"""Lightning callbacks of every run: progress, speed, the record, whole checkpoints."""

from medtrain.callbacks.checkpoint import BestCheckpoint, LastCheckpoint, WholeCheckpointIO
from medtrain.callbacks.progress import Progress
from medtrain.callbacks.speed import Speed

__all__ = ["BestCheckpoint", "LastCheckpoint", "Progress", "Speed", "WholeCheckpointIO"]
