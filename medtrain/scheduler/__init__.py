"""Learning-rate schedules, called as ``schedule(optimizer, total_steps, ...)`` and stepped after every batch.

One that has a ``monitor`` is stepped once an epoch with that metric.
"""

from medtrain.scheduler.schedules import Plateau, constant, cosine, one_cycle

__all__ = ["Plateau", "constant", "cosine", "one_cycle"]
