"""Weights & Biases beside the run folder's own logs: the same run again after a restart, errors for people."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from medtrain.core.errors import UsageError
from medtrain.core.extras import needs
from medtrain.io.files import write_text


class WandbLog(WandbLogger):
    """A logger that writes to a server, or to ``folder/wandb`` with ``WANDB_MODE=offline`` (`wandb sync` sends it).

    Args:
        folder: the run folder; its name is the run's.
        config: the run's configuration as plain values, logged as hyperparameters.
        project: of the runs.
        entity: user or team; by default the user's own.

    Raises:
        UsageError: wandb is not installed; later, that nobody is logged in.
    """

    def __init__(
        self,
        folder: str,
        config: dict[str, Any] | None = None,
        project: str = "medtrain",
        entity: str | None = None,
    ) -> None:
        self._ended = False
        os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # nothing goes out but the run itself
        try:
            super().__init__(
                name=Path(folder).name,
                save_dir=folder,
                id=_identity(Path(folder) / "wandb" / "run_id"),
                project=project,
                entity=entity,
                config=config,
                settings={"console": "off", "silent": True},
            )
        except ModuleNotFoundError as error:
            raise needs("logger=wandb", "wandb", error) from error
        self._wandb_init.pop("anonymous", None)  # wandb warns of it even where it is None

    @property
    def experiment(self) -> Any:
        """Open the wandb run, if it is not yet open."""
        import wandb

        try:
            return super().experiment
        except (wandb.errors.UsageError, wandb.errors.AuthenticationError) as error:
            reason = str(error).split("\n")[0]
            raise UsageError(f"logger=wandb: {reason}; run 'wandb login', or set WANDB_MODE=offline") from error

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Log nothing: the configuration is given at the start."""

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """End the run, or the next job of a sweep would write into it; it stays known, so the test opens no other."""
        if self._experiment is not None and not self._ended:
            self._experiment.finish(exit_code=int(status != "success"))
            self._ended = True


@rank_zero_only
def _identity(file: Path) -> str:
    """Read the run's id, made once and kept in the run folder; None on ranks that don't log."""
    if not file.is_file():
        write_text(file, secrets.token_hex(8))
    return file.read_text(encoding="utf-8")
