"""Learning-rate schedules, called as ``schedule(optimizer, total_steps, ...)`` and stepped after every batch."""

from medtrain.scheduler.schedules import constant, cosine

__all__ = ["constant", "cosine"]
