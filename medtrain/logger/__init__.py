"""Lightning loggers that write into the run folder, or beside it, and survive a restart.

Each logger of these files is `medtrain.logger.NAME`.
"""

from medtrain.core.offer import offer

offer(__name__)
