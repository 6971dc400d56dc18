"""Transfer learning through the real command: it starts from a run, freezes, and is resumed to the bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from medtrain.transfer import Transfer
from tests.integration.conftest import TINY, Ran
from tests.integration.test_runs import same, weights


def test_a_run_stopped_at_the_unfreezing_goes_on_to_the_same_result(
    medtrain: Callable[..., Ran], folder: Path, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, f"init_from={trained}", "transfer=layerwise", "transfer.freeze_epochs=1", "trainer.max_epochs=2"]
    words += ["trainer.limit_train_batches=2", "trainer.gradient_clip_val=1", "optimizer.lr=1e-4"]
    ran = medtrain(*words, "transfer.layer_decay=2", "hydra.run.dir=whole")
    assert ran.code == 2 and "transfer.layer_decay=2" in ran.err  # before any folder is made
    ran = medtrain(*words, "hydra.run.dir=whole")
    assert ran.code == 0, ran.err
    assert "transfer: 513 weights of the head train at 0.001; 11,170,240 frozen for 1 epochs, then at" in ran.out

    def stopped(self: Transfer, network: torch.nn.Module, epoch: int, distributed: bool) -> None:
        if epoch == 1:
            raise KeyboardInterrupt
        before(self, network, epoch, distributed)

    before = Transfer.enter_epoch
    monkeypatch.setattr(Transfer, "enter_epoch", stopped)
    assert medtrain(*words, "hydra.run.dir=parts").code == 130
    body = {k: v for k, v in weights(trained, "best").items() if not k.startswith("model.fc.")}
    frozen = weights(folder / "parts")
    assert all(torch.equal(frozen[k], v) for k, v in body.items())  # batch norm's statistics too
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    ran = medtrain("resume=parts")
    assert ran.code == 0 and "going on after epoch 1" in ran.out, ran.err
    assert same(weights(folder / "whole"), weights(folder / "parts"))
    assert not torch.equal(weights(folder / "whole")["model.conv1.weight"], body["model.conv1.weight"])
