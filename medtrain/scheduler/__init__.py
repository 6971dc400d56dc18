"""Learning-rate schedules, called as ``schedule(optimizer, total_steps, ...)`` and stepped after every batch.

One that has a ``monitor`` is stepped once an epoch with that metric. Each schedule of these files is
`medtrain.scheduler.NAME`.
"""

from medtrain.core.offer import offer

offer(__name__)
