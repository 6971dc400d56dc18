"""Recipes through the real command: each goes on after a stop to the bit, and each is one override."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from medtrain.task.base import Task
from tests.integration.conftest import TINY, Ran


def checkpoint(run: Path, name: str) -> dict[str, Any]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)


def equal(a: Any, b: Any) -> bool:
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


def stop_before_epoch(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def on_train_epoch_start(self: Task) -> None:
        if self.current_epoch == number:
            raise KeyboardInterrupt

    monkeypatch.setattr(Task, "on_train_epoch_start", on_train_epoch_start)


@pytest.mark.parametrize(
    "recipe",
    [
        "optimizer=sgd scheduler=plateau scheduler.patience=0 scheduler.mode=min callbacks=ema augment=small",
        "scheduler=one_cycle task.mixup=0.4 trainer.accumulate_grad_batches=2 trainer.precision=bf16-mixed",
    ],
)
def test_a_stopped_run_goes_on_to_the_same_result(
    recipe: str, medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, *recipe.split(), "trainer.max_epochs=3", "trainer.gradient_clip_val=1.0"]
    ran = medtrain(*words, "hydra.run.dir=whole")
    assert ran.code == 0, ran.err
    with monkeypatch.context() as stopping:
        stop_before_epoch(2, stopping)
        assert medtrain(*words, "hydra.run.dir=stopped").code == 130
    ran = medtrain("resume=stopped")
    assert ran.code == 0 and "going on after epoch 2" in ran.out, ran.err
    whole, stopped = (checkpoint(folder / run, "last") for run in ("whole", "stopped"))
    keys = ["state_dict", "optimizer_states", "lr_schedulers", "global_step"]
    keys += ["current_model_state", "averaging_state"] if "ema" in recipe else []
    for key in keys:
        assert equal(whole[key], stopped[key]), key
    assert equal(
        checkpoint(folder / "whole", "best")["state_dict"], checkpoint(folder / "stopped", "best")["state_dict"]
    )
    tables = [(folder / run / "test_predictions.csv").read_text() for run in ("whole", "stopped")]
    assert tables[0] == tables[1]
    logs = [pd.read_csv(folder / run / "metrics.csv")[["lr", "train_loss", "val_loss"]] for run in ("whole", "stopped")]
    assert logs[0].equals(logs[1]) and logs[0]["lr"].nunique() > 1


def test_the_average_is_what_is_tested(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    ran = medtrain(*TINY, "callbacks=ema", "callbacks.ema.decay=0.5", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    best = checkpoint(folder / "run", "best")
    name = "model.bn1.running_mean"
    assert not torch.equal(best["state_dict"][name], best["current_model_state"][name])
    assert medtrain("test", "run=run").code == 0
    first, again = (folder / "run" / p / "test_predictions.csv" for p in ("", "test_test"))
    assert first.read_text() == again.read_text()
    logged = pd.read_csv(folder / "run" / "metrics.csv")["val_auroc"].iloc[0]
    assert medtrain("test", "run=run", "eval.split=val").code == 0
    tested = json.loads((folder / "run" / "test_val" / "test_metrics.json").read_text())["metrics"]["auroc"]["value"]
    assert tested == pytest.approx(logged, abs=1e-6)  # validated with what was kept


def test_views_belong_to_the_run(medtrain: Callable[..., Ran], folder: Path) -> None:
    words = [*TINY, "trainer.channels_last=false", "optimizer.lr=0.01", "data.cache_dir=cache"]  # with its own films
    assert medtrain(*words, "hydra.run.dir=plain").code == 0
    ran = medtrain(*words, "eval.tta=3", "hydra.run.dir=run")
    assert ran.code == 0, ran.err
    assert equal(checkpoint(folder / "plain", "last")["state_dict"], checkpoint(folder / "run", "last")["state_dict"])
    tables = {run: pd.read_csv(folder / run / "test_predictions.csv").set_index("case") for run in ("plain", "run")}
    assert (tables["plain"]["prob_1"] != tables["run"]["prob_1"]).any()
    assert medtrain("test", "run=run").code == 0
    assert pd.read_csv(folder / "run" / "test_test" / "test_predictions.csv").equals(tables["run"].reset_index())
    images = next(p for p in (folder / "cache").rglob("images") if list(p.glob("*.png")))
    some = folder / "some"
    some.mkdir()
    for case in tables["run"].index[:3]:
        file = next(images.parent.rglob(f"{Path(case).stem}*.png"))
        (some / file.name).write_bytes(file.read_bytes())
    ran = medtrain("predict", "run=run", f"input={some}", "output=out.csv")
    assert ran.code == 0, ran.err
    found = pd.read_csv("out.csv")
    assert len(found) == 3
    assert sorted(found["prob_1"]) == pytest.approx(sorted(tables["run"]["prob_1"].iloc[:3]), abs=1e-6)
    for verb in (["test"], ["predict", f"input={some}", "output=out.csv"]):
        ran = medtrain(*verb, "run=run", "eval.tta=8")
        assert ran.code == 2 and "eval.tta=8: fixed by the run" in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("trainer.precision=16-mixed", "16-mixed needs a CUDA GPU"),
        ("trainer.precision=16-true", "it can be auto, 32-true, bf16-mixed, 16-mixed"),
        ("eval.tta=-1", "it must be at least 0"),
        ("task.mixup=-0.1", "it must be at least 0"),
        ("callbacks=ema callbacks.ema.decay=2.0", "not between 0 and 1"),
        ("augment.interpolation=cubic", "it can be bilinear, bicubic"),
    ],
)
def test_what_cannot_be_is_refused(words: str, told: str, medtrain: Callable[..., Ran], folder: Path) -> None:
    ran = medtrain(*TINY, *words.split())
    assert ran.code == 2 and told in ran.err, ran.err


def test_a_run_of_half_precision_is_judged_without_a_gpu(
    medtrain: Callable[..., Ran], folder: Path, trained: Path
) -> None:
    import shutil

    shutil.copytree(trained, folder / "run")
    config = folder / "run" / "config.yaml"
    config.write_text(config.read_text().replace("precision: 32-true", "precision: 16-mixed"))
    assert medtrain("test", "run=run").code == 0
    tables = [folder / "run" / p / "test_predictions.csv" for p in ("", "test_test")]
    assert tables[0].read_text() == tables[1].read_text()


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.slow)])
def test_compiled(
    backend: str,
    medtrain: Callable[..., Ran],
    folder: Path,
    phantom_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Traced always; through the compiler itself, a minute of C++, with the slow tests."""
    (folder / "tiny.py").write_text(
        "from torch import nn\n\n\ndef net(spec) -> nn.Sequential:\n"
        "    return nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(16, spec.n_logits))\n"
    )
    words = [w for w in TINY if not w.startswith("model")] + ["model=custom", "model._target_=tiny.net"]
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(folder))
    real, compiled_ones = torch.nn.Module.compile, []

    def compile(self: torch.nn.Module, **more: Any) -> None:
        compiled_ones.append(self)
        real(self, backend=backend, **more)

    monkeypatch.setattr(torch.nn.Module, "compile", compile)
    assert medtrain(*words, "hydra.run.dir=plain").code == 0
    ran = medtrain(*words, "trainer.compile=true", "hydra.run.dir=compiled")
    assert ran.code == 0 and len(compiled_ones) == 1, ran.err
    plain, compiled = (checkpoint(folder / run, "best")["state_dict"] for run in ("plain", "compiled"))
    assert plain.keys() == compiled.keys()  # test and predict load it, compiled or not
    torch.testing.assert_close(plain, compiled, rtol=1e-3, atol=1e-5)
