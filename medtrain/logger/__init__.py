"""Lightning loggers that write into the run folder, or beside it, and survive a restart."""

from medtrain.logger.csv import CSVLog
from medtrain.logger.mlflow import MLflowLog
from medtrain.logger.tensorboard import TensorBoardLog
from medtrain.logger.wandb import WandbLog

__all__ = ["CSVLog", "MLflowLog", "TensorBoardLog", "WandbLog"]
