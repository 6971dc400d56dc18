"""A run that is stopped in the middle of an epoch goes on to the same weights, losses and predictions, bit for bit."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from medtrain.callbacks import LastCheckpoint
from tests.integration.conftest import TINIES, Ran

# (kind, words, stopped after so many checkpoints): in the first epoch, or in the second one
RECIPES = {
    "plateau, EMA, dropout, mixup, workers": (
        "image",
        "scheduler=plateau callbacks=ema callbacks.ema.decay=0.9 model.dropout=0.2 task.mixup=0.2 augment=light "
        "data.batch_size=8 data.num_workers=2",
        2,
    ),
    "one cycle, balanced, accumulated, freezing": (
        "image",
        "scheduler=one_cycle sampler=balanced trainer.accumulate_grad_batches=2 transfer=freeze "
        "transfer.freeze_epochs=1 data.batch_size=8 data.num_workers=0",
        4,
    ),
    "random patches, augmented": ("volume", "data.batch_size=4 data.num_workers=1 augment=volume_strong", 3),
    "masks, augmented": ("mask", "data.batch_size=4 data.patches_per_volume=2 data.num_workers=0", 3),
    "bags, instances drawn": ("bag", "data.batch_size=4 data.max_instances=8 data.num_workers=0", 2),
    "boxes, mined": ("boxes", "data.batch_size=8 sampler=hard_negative augment=boxes_flips", 4),
}


@pytest.mark.parametrize(("kind", "recipe", "stop"), RECIPES.values(), ids=RECIPES.keys())
def test_it_goes_on_to_the_same_result(
    kind: str,
    recipe: str,
    stop: int,
    medtrain: Callable[..., Ran],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    phantom_cache: Path,
) -> None:
    words = [word for word in TINIES[kind] if word.partition("=")[0] not in ("trainer.max_epochs", "data.batch_size")]
    words += [*recipe.split(), "trainer.max_epochs=2", "callbacks.last.every_n_steps=1"]
    assert medtrain(*words, "hydra.run.dir=whole").code == 0
    save, saved = LastCheckpoint._save_checkpoint, list[int]()

    def save_and_stop(self: LastCheckpoint, trainer: Any, path: str) -> None:
        save(self, trainer, path)
        saved.append(trainer.global_step)
        if len(saved) == stop:
            raise KeyboardInterrupt

    monkeypatch.setattr(LastCheckpoint, "_save_checkpoint", save_and_stop)
    assert medtrain(*words, "hydra.run.dir=stopped").code == 130
    monkeypatch.undo()
    monkeypatch.chdir(folder)
    ran = medtrain("resume=stopped")
    assert ran.code == 0 and "batches of the next" in ran.out, ran.err
    states = [torch.load(folder / run / "checkpoints" / "last.ckpt", weights_only=True) for run in ("whole", "stopped")]
    for key in ("state_dict", "current_model_state"):
        assert (key in states[0]) == (key in states[1])
        whole, stopped = (state.get(key, {}) for state in states)
        assert whole.keys() == stopped.keys() and all(torch.equal(whole[k], stopped[k]) for k in whole)
    assert states[0]["global_step"] == states[1]["global_step"]
    timing = ["images_per_s", "data_wait"]
    logs = [pd.read_csv(folder / run / "metrics.csv").drop(columns=timing) for run in ("whole", "stopped")]
    pd.testing.assert_frame_equal(*logs, check_exact=True)
    file = "test_predictions.json" if kind == "boxes" else "test_predictions.csv"
    tables = [(folder / run / file).read_text() for run in ("whole", "stopped")]
    assert tables[0] == tables[1]
