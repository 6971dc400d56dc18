"""Lightning loggers that write into the run folder and survive a restart."""

from medtrain.logger.csv import CSVLog
from medtrain.logger.tensorboard import TensorBoardLog

__all__ = ["CSVLog", "TensorBoardLog"]
