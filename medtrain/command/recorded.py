"""The run record of a verb that has a folder of its own: opened, and closed with what became of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from omegaconf import DictConfig

from medtrain import launch
from medtrain.core.errors import MedtrainError
from medtrain.core.notice import notice
from medtrain.io.files import write_text
from medtrain.io.record import RunRecord
from medtrain.launch.execute import is_stop, stopped_by, unexpected


@contextmanager
def recorded(cfg: DictConfig, folder: Path) -> Iterator[RunRecord | None]:
    """Open the run record on rank 0 (None on other ranks), and close it with the status that the block ends in."""
    if launch.global_rank() != 0:
        yield None
        return
    record = RunRecord(folder, verb=cfg.verb, seed=cfg.seed)
    try:
        record.start()
        if record.swept:
            print(f"removed {record.swept / 1e6:.1f} MB that a killed process had half written in {folder}")
        yield record
    except (Exception, KeyboardInterrupt, SystemExit) as error:
        stops = not isinstance(error, Exception) and is_stop(error)
        if notice.given is not None or stops or stopped_by(error):
            record.finish("interrupted" if notice.given is None else "preempted")
            raise
        record.finish("failed", str(error) if isinstance(error, MedtrainError) else unexpected(error))
        raise


@contextmanager
def put_back(record: RunRecord | None) -> Iterator[None]:
    """Give a run that is not gone on with the configuration back that it had before it was asked to."""
    try:
        yield
    except MedtrainError:
        if record and (before := record.fields.get("before")):
            write_text(record.folder / "config.yaml", before["config"])
            record.update(fingerprint=before["fingerprint"])
        raise
    finally:
        if record:
            record.fields.pop("before", None)
