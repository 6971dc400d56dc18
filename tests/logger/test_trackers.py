"""Weights & Biases and MLflow, offline: one run whatever the restarts, and a word to those who lack the package."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from medtrain.core.errors import UsageError
from medtrain.logger import MLflowLog, WandbLog

CONFIG = {"seed": 3, "model": {"_target_": "medtrain.model.resnet18", "dropout": 0.1}, "data": {"classes": None}}


def test_mlflow_goes_on_in_the_same_run(tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    folder = tmp_path / "run é 1"
    for epoch in range(2):  # the second is the resumed one
        logger = MLflowLog(str(folder), CONFIG)
        logger.log_metrics({"val_auroc": 0.5 + epoch / 10}, step=epoch)
        logger.finalize("success")
    client, name = logger.experiment, (folder / "mlflow" / "run_id").read_text()
    (experiment,) = (e for e in client.search_experiments() if e.name == "medtrain")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_id == name and run.info.run_name == folder.name and run.info.status == "FINISHED"
    assert [(m.step, m.value) for m in client.get_metric_history(name, "val_auroc")] == [(0, 0.5), (1, 0.6)]
    assert run.data.params["model/dropout"] == "0.1" and run.data.params["seed"] == "3"


def test_wandb_goes_on_in_the_same_run_and_ends_it(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb")
    first = WandbLog(str(tmp_path), CONFIG)
    first.log_metrics({"val_auroc": 0.5}, step=0)
    run = first.experiment
    assert run.offline and run.config["model"]["dropout"] == 0.1 and run.name == tmp_path.name
    first.finalize("success")
    assert wandb.run is None  # the next job of a sweep starts its own
    assert first.experiment is run  # and testing after training opens no other
    assert WandbLog(str(tmp_path), CONFIG).version == run.id == (tmp_path / "wandb" / "run_id").read_text()
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1


@pytest.mark.parametrize(("kind", "package"), [(WandbLog, "wandb"), (MLflowLog, "mlflow")])
def test_a_missing_package_is_named(kind: type, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import pytorch_lightning.loggers.mlflow
    import pytorch_lightning.loggers.wandb

    module: ModuleType = getattr(pytorch_lightning.loggers, package)
    monkeypatch.setattr(module, f"_{package.upper()}_AVAILABLE", False)
    with pytest.raises(UsageError, match=rf"pip install 'medtrain\[{package}\]'"):
        kind(str(tmp_path), CONFIG)
