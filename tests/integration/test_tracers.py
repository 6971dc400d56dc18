"""The contracts that later tasks rest on, driven through the real command with toy data, networks and tasks."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from tests.integration.conftest import Ran

TASKS = {
    "volume": {"data": "Volumes", "model": "Net3d", "task": None, "metric": "val_auroc"},
}


def configs(folder: Path, kind: str) -> None:
    """A user's config folder with a task of this kind."""
    parts = TASKS[kind]
    files = {
        "data": f"# toy\nname: toy_{kind}\nkind: {kind}\nbatch_size: 4\nnum_workers: 0\n",
        "model": f"# toy\n_target_: toy.{parts['model']}\nkind: {kind}\n",
        "task": f"# @package _global_\n# toy\ndefaults:\n  - override /data: toy\n  - override /model: toy\n"
        f"  - override /augment: none\n  - override /callbacks: toy\n"
        f"task:\n  name: toy_{kind}\n  kind: {kind}\n  pool: max\n",
        "callbacks": "# toy\nbest:\n  _target_: medtrain.callbacks.BestCheckpoint\n"
        f"  monitor: {parts['metric']}\nlast:\n  _target_: medtrain.callbacks.LastCheckpoint\n",
    }
    for group, text in files.items():
        (folder / group).mkdir(parents=True)
        (folder / group / "toy.yaml").write_text(text)
    shutil.copy(Path(__file__).parent / "parts" / "toy.py", folder / "toy.py")


@pytest.fixture
def train(folder: Path, medtrain: Callable[..., Ran], monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    def run(kind: str) -> Path:
        from medtrain import data
        from medtrain.command import build

        configs(folder / "mine", kind)
        monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(folder / "mine"))
        monkeypatch.setitem(data.SOURCES, f"toy_{kind}", f"toy:{TASKS[kind]['data']}")
        if TASKS[kind]["task"]:
            monkeypatch.setitem(build.TASKS, kind, f"toy:{TASKS[kind]['task']}")
        else:
            monkeypatch.setitem(build.TASKS, kind, build.TASKS["image"])
        ran = medtrain(
            "task=toy", "hydra.run.dir=run", "trainer=cpu", "trainer.max_epochs=30", "optimizer.lr=0.05",
            "eval.bootstrap=50", "debug=true",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        return folder / "run"

    return run


@pytest.mark.parametrize("kind", ["volume"])
def test_one_prediction_a_case(kind: str, train: Callable[[str], Path]) -> None:
    run = train(kind)
    table = pd.read_csv(run / "test_predictions.csv")
    assert list(table["case"]) == [f"case{i}" for i in range(36, 49)]
    metrics = json.loads((run / "test_metrics.json").read_text())
    assert metrics["n_cases"] == 13 and metrics["metrics"]["auroc"]["value"] > 0.9
