"""Processes that torchrun or srun started: one folder, one message, the run of one process, from mid-epoch on too."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests import preloaded
from tests.integration.conftest import Ran, ended
from tests.integration.test_ddp import my_ranks

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "medtrain"]
# whole batches only, and batch norms that keep their statistics: nothing else of a batch of 16 differs from two of 8
WORDS = (
    "data.patients=48 data.image_size=32 data.batch_size=8 data.num_workers=0 model=resnet18 model.stem=standard "
    "transfer.freeze_norm=true augment=light optimizer=sgd optimizer.lr=0.01 scheduler=one_cycle callbacks=ema "
    "callbacks.ema.decay=0.5 callbacks.last.every_n_steps=1 trainer.accelerator=cpu trainer.max_epochs=2 "
    "trainer.accumulate_grad_batches=2 trainer.limit_train_batches=4 eval.bootstrap=0"
).split()
ENV = {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}


def launch(*words: str, **more: str) -> list[Ran]:
    """Two processes as srun starts them: with its variables and nothing else in common."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    job = {"SLURM_JOB_ID": "1", "SLURM_NTASKS": "2", "SLURM_NNODES": "1", "SLURM_NODEID": "0", "SLURM_STEP_ID": "0"}
    step = {"SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_TASKS_PER_NODE": "2", "SLURM_NODELIST": "127.0.0.1"}
    variables = job | step | {"MASTER_PORT": port} | more
    started = [
        preloaded.start(
            *(word.replace("{rank}", rank) for word in words),
            **variables | {"SLURM_PROCID": rank, "SLURM_LOCALID": rank},
        )
        for rank in ("0", "1")
    ]
    return [ended(process) for process in started]


def killed_in_mid_epoch(folder: Path) -> None:
    process = preloaded.start(*WORDS, "trainer.devices=2", "hydra.run.dir=stopped")
    while not (folder / "stopped" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None
        time.sleep(0.01)
    ranks = my_ranks(process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in ranks):
        time.sleep(0.05)


def test_every_way_in_gives_the_same_run(folder: Path, medtrain: Callable[..., Ran], installed: Callable[..., Ran],
                                         phantom_cache: Path) -> None:  # fmt: skip
    """torchrun; our own ranks, killed in mid-epoch and started again: equal to the bit. One process: up to rounding."""
    words = [*TORCHRUN, *WORDS, "hydra.run.dir=whole", "data.cache_dir=new"]
    ran = subprocess.run(words, capture_output=True, text=True, env=os.environ | ENV)
    assert ran.returncode == 0, ran.stderr
    run = json.loads((folder / "whole" / "run.json").read_text())
    assert run["status"] == "finished" and run["world_size"] == 2
    assert {f.name for f in (folder / "whole").glob("train*.log")} == {"train.log", "train.rank1.log"}
    assert ran.stdout.count("run folder whole") == 1  # one process talks
    cases = pd.read_csv(folder / "whole" / "splits.csv")
    pixels = [sum(f.stat().st_size for f in (folder / "new").rglob(f"*.uint{bits}")) * 8 // bits for bits in (8, 16)]
    assert sum(pixels) == len(cases) * 32 * 32  # each decoded once, by whichever process

    killed_in_mid_epoch(folder)
    ran = medtrain("resume=stopped", "trainer.devices=1")
    assert ran.code == 2 and "2 processes wrote it in the middle of an epoch" in ran.err, ran.err
    ran = installed("resume=stopped", "trainer.devices=2")
    assert ran.code == 0 and "batches of the next" in ran.out, ran.err
    whole, stopped = (
        torch.load(folder / r / "checkpoints" / "last.ckpt", weights_only=True) for r in ("whole", "stopped")
    )
    for key in ("state_dict", "current_model_state"):
        assert all(torch.equal(whole[key][name], stopped[key][name]) for name in whole[key])
    timing = ["images_per_s", "data_wait"]
    logs = [pd.read_csv(folder / run / "metrics.csv").drop(columns=timing) for run in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*logs, check_exact=True)

    one = [word.replace("batch_size=8", "batch_size=16") for word in WORDS]
    assert medtrain(*one, "trainer.devices=1", "hydra.run.dir=one").code == 0
    alone = pd.read_csv(folder / "one" / "metrics.csv")
    for column in ("train_loss", "val_loss", "val_auroc", "lr", "step"):
        np.testing.assert_allclose(alone[column], logs[0][column], rtol=1e-4, err_msg=column)
    probs = [pd.read_csv(folder / run / "test_predictions.csv")["prob_1"] for run in ("one", "whole")]
    np.testing.assert_allclose(*probs, atol=1e-4)


def test_under_srun(folder: Path, trained: Path) -> None:
    """A verb that takes a run: one folder, every case once."""
    run = shutil.copytree(trained, folder / "run")
    first, second = launch("test", f"run={run}", "trainer.devices=auto", "name=srun")
    assert first.code == second.code == 0, first.err + second.err
    assert second.out == "" and not (run / "test_srun_2").exists()
    tables = [pd.read_csv(p / "test_predictions.csv") for p in (run, run / "test_srun")]
    assert list(tables[0]["case"]) == list(tables[1]["case"])
    np.testing.assert_allclose(tables[0]["prob_1"], tables[1]["prob_1"], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["seed={rank}"], "srun started process 1 with seed=1 where process 0 has seed=0"),
        (["hydra.run.dir={run}"], "already holds a run"),
    ],
)
def test_what_is_wrong_is_told_once_and_ends_all(words: list[str], told: str, folder: Path, trained: Path) -> None:
    ran = launch(*(word.replace("{run}", str(trained)) for word in words))
    assert [r.code for r in ran] == [2, 2]
    assert told in ran[0].err and ran[0].err.count("error") == 1 and ran[1].err == ran[1].out == ""
    assert not (folder / "outputs").exists()
