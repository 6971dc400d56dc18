"""Several processes on one machine (gloo, CPU): same answers, every case once, no rank left behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests import preloaded
from tests.integration.conftest import TINIES, TINY, Ran

TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2"]
COMMON = [word for word in TINY if word != "trainer=cpu"]


def test_two_ranks_train_test_and_predict(
    installed: Callable[..., Ran], real: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    ran = installed(*COMMON, *TWO, "callbacks=ema", "callbacks.ema.decay=0.5", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run["status"] == "finished" and run["world_size"] == 2
    assert (folder / "run" / "train.log").is_file() and (folder / "run" / "train.rank1.log").is_file()
    splits = pd.read_csv(folder / "run" / "splits.csv")
    expected = list(splits.loc[splits["split"] == "test", "case"])
    table = pd.read_csv(folder / "run" / "test_predictions.csv")
    assert list(table["case"]) == expected  # none twice, none lost, whatever the last batch

    one = installed("test", "run=run", "trainer.devices=1", "name=one")
    two = real("test", "run=run", "name=two")
    assert one.code == two.code == 0, one.err + two.err
    probs = [pd.read_csv(folder / "run" / f"test_{n}" / "test_predictions.csv")["prob_1"] for n in ("one", "two")]
    assert np.allclose(probs[0], probs[1], atol=1e-5) and np.allclose(probs[0], table["prob_1"], atol=1e-5)

    ran = installed("test", "run=run", "trainer.devices=1", "eval.split=val")  # all ranks validated what was kept
    assert ran.code == 0, ran.err
    val = pd.read_csv(folder / "run" / "test_val" / "test_predictions.csv")
    temperature = json.loads((folder / "run" / "decision.json").read_text())["temperature"]
    logits = temperature * np.log(val["prob_1"] / val["prob_0"])
    loss = np.logaddexp(0, np.where(val["target"] == 1, -logits, logits)).mean()
    assert loss == pytest.approx(pd.read_csv(folder / "run" / "metrics.csv")["val_loss"].iloc[-1], abs=1e-4)

    images = next(p for p in phantom_cache.rglob("images") if list(p.glob("*.png")))
    ran = installed("predict", "run=run", f"input={images}", "output=out.csv")
    assert ran.code == 0, ran.err
    assert len(pd.read_csv(folder / "out.csv")) == len(list(images.glob("*.png")))


@pytest.mark.parametrize("kind", ["bag", "boxes", "volume", "mask"])
def test_two_ranks_agree_with_one(kind: str, installed: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    words = [word for word in TINIES[kind] if word != "trainer=cpu"]
    ran = installed(*words, *TWO, "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    ran = installed("test", "run=run", "trainer.devices=1", "name=one")
    assert ran.code == 0, ran.err
    two, one = (
        json.loads((place / "test_metrics.json").read_text()) for place in (folder / "run", folder / "run/test_one")
    )
    assert two["n_cases"] == one["n_cases"] > 2
    for name, entry in two["metrics"].items():
        assert entry["value"] == pytest.approx(one["metrics"][name]["value"], abs=1e-4), name


def test_masks_are_learned_alike_by_two_ranks_and_by_one(
    installed: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    """Batches of 2 on either rank are those of 4 on one, and what patches reach beyond their volumes counts alike."""
    words = [word for word in TINIES["mask"] if not word.startswith(("trainer", "data.patients"))]
    words += (
        "data.patients=16 data.split_seed=1 trainer.max_epochs=2 trainer.precision=32-true optimizer.lr=0.004".split()
    )
    one = ["trainer=cpu", "data.batch_size=4", "hydra.run.dir=one"]
    for way in (one, [*TWO, "data.batch_size=2", "hydra.run.dir=two"]):
        ran = installed(*words, *way)
        assert ran.code == 0, ran.err
    ways = (folder / "one", folder / "two")
    cases = pd.read_csv(folder / "one" / "splits.csv")
    assert (cases["split"] == "train").sum() % 2 == 0  # of an odd number one case comes twice on two ranks
    logs = [pd.read_csv(way / "metrics.csv") for way in ways]
    for column in ("train_loss", "train_pixelwise", "train_overlap", "val_dice", "lr", "step"):
        np.testing.assert_allclose(logs[0][column], logs[1][column], rtol=1e-3, err_msg=column)
    tables = [pd.read_csv(way / "test_predictions.csv") for way in ways]
    assert tables[0]["dice_nodule"].max() > 0.1
    pd.testing.assert_frame_equal(*tables, atol=1e-3)
    alone, shared = (torch.load(way / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"] for way in ways)
    assert alone.keys() == shared.keys()
    normed = ".[03].bias"  # of convolutions before a norm, which takes them off again: their gradients are rounding
    for name in (name for name in alone if not re.search(rf"(encoder|decoder).\d{normed}", name)):
        torch.testing.assert_close(shared[name], alone[name], rtol=1e-4, atol=1e-5)


def test_a_sweep_of_two_jobs(installed: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    ran = installed("-m", *COMMON, *TWO, "optimizer.lr=1e-3,1e-4", "hydra.sweep.dir=sweep")
    assert ran.code == 0, ran.err
    for job, rate in ((0, 1e-3), (1, 1e-4)):
        run = json.loads((folder / "sweep" / str(job) / "run.json").read_text())
        assert run["status"] == "finished" and run["world_size"] == 2
        assert f"lr: {rate:g}" in (folder / "sweep" / str(job) / "config.yaml").read_text()


def test_a_fault_of_all_ranks_is_told_once(installed: Callable[..., Ran], phantom_cache: Path) -> None:
    ran = installed(*COMMON, *TWO, "data.columns.label=lable")
    assert ran.code == 2 and ran.err.count("error: ") == 1 and "did you mean 'label'" in ran.err, ran.err


def start(folder: Path, *more: str) -> preloaded.Started:
    process = preloaded.start(*COMMON, *TWO, "trainer.max_epochs=500", "hydra.run.dir=run", *more)
    deadline = time.monotonic() + 120
    while not (folder / "run" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate(0)
        time.sleep(0.2)
    return process


def my_ranks(process: preloaded.Started) -> list[int]:
    listed = subprocess.run(["ps", "-eo", "pid,ppid"], capture_output=True, text=True).stdout.split("\n")[1:]
    return [int(line.split()[0]) for line in listed if line.split()[1:] == [str(process.pid)]]


def test_a_dead_rank_ends_the_run(folder: Path, phantom_cache: Path) -> None:
    process = start(folder)
    ranks = my_ranks(process)
    assert len(ranks) == 2
    os.kill(ranks[1], signal.SIGKILL)
    texts = process.communicate(timeout=60)
    assert process.returncode == 1 and "one of 2 processes failed" in "".join(texts)
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "failed"
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_ends_all_ranks(number: int, code: int, folder: Path, phantom_cache: Path) -> None:
    process = start(folder)
    ranks = my_ranks(process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == code
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "interrupted"
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)


def test_no_rank_outlives_a_killed_parent(folder: Path, phantom_cache: Path) -> None:
    process = start(folder)
    ranks = my_ranks(process)
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in ranks) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)
