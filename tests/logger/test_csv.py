"""metrics.csv: one row an epoch, and none twice after a restart."""

from pathlib import Path

import pandas as pd

from medtrain.logger import CSVLog


def log(folder: Path, epochs: range, rewind: int | None = None) -> None:
    logger = CSVLog(str(folder))
    if rewind is not None:
        logger.rewind(rewind, rewind * 10)
    for epoch in epochs:
        logger.log_metrics({"epoch": epoch, "train_loss": 1 / (epoch + 1)}, step=epoch * 10 + 9)
        logger.log_metrics({"epoch": epoch, "val_auroc": 0.5}, step=epoch * 10 + 9)
        logger.save()


def test_rows(tmp_path: Path) -> None:
    log(tmp_path, range(3))
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert list(table.columns) == ["epoch", "step", "train_loss", "val_auroc"]
    assert list(table["epoch"]) == [0, 1, 2] and list(table["step"]) == [9, 19, 29]


def test_a_restart_leaves_no_gap_and_doubles_nothing(tmp_path: Path) -> None:
    log(tmp_path, range(4))
    log(tmp_path, range(2, 5), rewind=2)
    table = pd.read_csv(tmp_path / "metrics.csv")
    assert list(table["epoch"]) == [0, 1, 2, 3, 4] and table["train_loss"].notna().all()
