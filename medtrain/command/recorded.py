"""The run record of a verb that has a folder of its own: opened, and closed with what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from medtrain import launch
from medtrain.core.errors import MedtrainError
from medtrain.core.notice import notice
from medtrain.io.record import RunRecord
from medtrain.launch.execute import unexpected


@contextmanager
def recorded(cfg: DictConfig, folder: Path) -> Iterator[RunRecord | None]:
    """Open the run record on rank 0 (None on other ranks), and close it with the status that the block ends in."""
    if launch.global_rank() != 0:
        yield None
        return
    record = RunRecord(folder, verb=cfg.verb, seed=cfg.seed).start()
    try:
        yield record
    except (KeyboardInterrupt, SystemExit):
        record.finish("interrupted" if notice.given is None else "preempted")
        raise
    except Exception as error:
        if notice.given is not None:
            record.finish("preempted")
            raise
        record.finish("failed", str(error) if isinstance(error, MedtrainError) else unexpected(error))
        raise
