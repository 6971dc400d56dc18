"""FSDP as Lightning has it, here on two CPU processes: its checkpoints are those of any run."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests import preloaded
from tests.integration.conftest import TINY, Ran, ended

SCRIPT = Path(__file__).parent / "fsdp_on_cpu.py"
WORDS = [*(w for w in TINY if w not in ("trainer=cpu", "eval.bootstrap=50")), "trainer.accelerator=cpu"]
WORDS += ["data.batch_size=8", "data.num_workers=0", "eval.bootstrap=0", "callbacks.last.every_n_steps=1"]


def both(*words: str) -> None:
    """Run the script in two processes, as torchrun starts them."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        meet = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(probe.getsockname()[1])}
    job = meet | {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    ranks = [{"RANK": rank, "LOCAL_RANK": rank} for rank in ("0", "1")]
    started = [preloaded.start(*words, code=SCRIPT.read_text(), **job | rank) for rank in ranks]
    for ran in [ended(process) for process in started]:
        assert ran.code == 0, ran.err


def test_its_checkpoint_is_that_of_any_run(folder: Path, medtrain: Callable[..., Ran], phantom_cache: Path) -> None:
    both(*WORDS, "trainer.strategy=fsdp", "trainer.devices=2", "hydra.run.dir=run")
    ran = medtrain("test", "run=run", "trainer=cpu", "name=one")
    assert ran.code == 0, ran.err
    probs = [pd.read_csv(folder / "run" / part / "test_predictions.csv") for part in (".", "test_one")]
    assert list(probs[0]["case"]) == list(probs[1]["case"])
    np.testing.assert_allclose(probs[0]["prob_1"], probs[1]["prob_1"], atol=1e-5)
    assert medtrain(*WORDS, "trainer.devices=1", "init_from=run", "hydra.run.dir=warm").code == 0


@pytest.mark.slow
def test_it_trains_like_ddp(folder: Path, phantom_cache: Path) -> None:
    """Not resumed: on a CPU, PyTorch gathers the optimizer's two moments into one buffer and saves that twice."""
    words = [*WORDS, "trainer.devices=2", "trainer.accumulate_grad_batches=2", "trainer.max_epochs=2"]
    both(*words, "trainer.strategy=ddp", "hydra.run.dir=ddp")
    both(*words, "trainer.strategy=fsdp", "hydra.run.dir=fsdp")
    columns = ["train_loss", "val_loss", "lr"]
    ddp, fsdp = (pd.read_csv(folder / run / "metrics.csv")[columns] for run in ("ddp", "fsdp"))
    np.testing.assert_allclose(ddp, fsdp, rtol=0.01)  # Adam enlarges rounding


def test_what_it_cannot_do_is_refused_by_name(medtrain: Callable[..., Ran]) -> None:
    words = ["trainer=fsdp", "callbacks=ema", "trainer.gradient_clip_val=1", "transfer=freeze", "trainer.compile=true"]
    ran = medtrain(*words)
    asked = "callbacks.ema, trainer.gradient_clip_val, trainer.compile, transfer"
    assert ran.code == 2 and f"trainer.strategy=fsdp can't do {asked}: leave them out, or take trainer=ddp" in ran.err
