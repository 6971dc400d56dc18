"""sweep.retry=failed on this machine: what is missing of a sweep, in the same folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from medtrain.io import record
from tests.integration.conftest import TINY, Ran


def test_only_what_is_missing(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    assert medtrain("-m", *TINY, "seed=0,1,2", "hydra.sweep.dir=sweep").code == 0
    sweep = Path("sweep")
    fields = record.read(sweep / "1")
    lost = {"status": "running", "process": None, "host": "elsewhere", "heartbeat": "2020-01-01T00:00:00+00:00"}
    (sweep / "1" / "run.json").write_text(json.dumps(fields | lost))
    shutil.rmtree(sweep / "2")  # never started
    ended = record.read(sweep / "0")["ended"]
    assert medtrain("status", "sweep").code == 1
    ran = medtrain("-m", "hydra.sweep.dir=sweep", "sweep.retry=failed")
    assert ran.code == 0, ran.err
    assert "sweep/0 is finished already" in ran.out and record.read(sweep / "0")["ended"] == ended
    assert ran.out.count("going on after epoch 1") == 1  # the lost one
    assert pd.read_csv(sweep / "sweep.csv")["status"].tolist() == ["finished"] * 3
    shown = medtrain("status", "sweep")
    assert shown.code == 0 and "seed=2" in shown.out and "1/1" in shown.out
    table = (sweep / "2" / "config.yaml").read_text()
    assert "retry: null" in table  # a job's configuration is the sweep's, not the retry's

    ran = medtrain("-m", "hydra.sweep.dir=sweep", "sweep.retry=failed", "model=resnet50")
    assert ran.code == 2 and "as it was" in ran.err
    (sweep / "1" / "run.json").write_text(json.dumps(fields | {"status": "failed", "fingerprint": "other"}))
    ran = medtrain("-m", "hydra.sweep.dir=sweep", "sweep.retry=failed")
    assert ran.code != 0 and "another configuration" in ran.out + ran.err
    ran = medtrain("hydra.sweep.dir=sweep", "sweep.retry=failed")
    assert ran.code == 2 and "needs -m" in ran.err
