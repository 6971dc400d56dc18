"""MLflow beside the run folder's own logs: the same run again after a restart, errors for people."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import MLFlowLogger
from pytorch_lightning.utilities import rank_zero_only

from medtrain.core.errors import UsageError
from medtrain.core.extras import needs
from medtrain.io.files import write_text


class MLflowLog(MLFlowLogger):
    """A logger that writes to a tracking server, by default to ``folder/mlflow``.

    Args:
        folder: the run folder; its name is the run's.
        config: the run's configuration as plain values, logged as parameters.
        experiment: name of the experiment.
        tracking_uri: of the server; by default what ``MLFLOW_TRACKING_URI`` says, else the run folder.

    Raises:
        UsageError: MLflow is not installed; later, that the server doesn't answer.
    """

    def __init__(
        self,
        folder: str,
        config: dict[str, Any] | None = None,
        experiment: str = "medtrain",
        tracking_uri: str | None = None,
    ) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing goes out but the run itself
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._config, self._id_file = config or {}, Path(folder) / "mlflow" / "run_id"
        uri = tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        known = self._id_file.read_text(encoding="utf-8") if self._id_file.is_file() else None
        try:
            super().__init__(
                experiment,
                run_name=Path(folder).name,
                tracking_uri=uri or (Path(folder) / "mlflow" / "store").absolute().as_uri(),
                run_id=known,
            )
        except ModuleNotFoundError as error:
            raise needs("logger=mlflow", "mlflow", error) from error

    @property
    def experiment(self) -> Any:
        """Open the run, if it is not yet open, and give the MLflow client."""
        from mlflow.exceptions import MlflowException

        new = self._run_id is None
        try:
            client = super().experiment
        except MlflowException as error:
            reason = str(error).splitlines()[0][:200]
            raise UsageError(f"logger=mlflow: {reason}; see logger.mlflow.tracking_uri") from error
        if new:
            self._note()
        return client

    @rank_zero_only
    def _note(self) -> None:
        """Keep the new run's id and log its configuration."""
        write_text(self._id_file, str(self._run_id))
        super().log_hyperparams(self._config)

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the configuration is logged when the run begins."""
