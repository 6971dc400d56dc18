"""What the loop makes of a batch: accumulated steps, plateau, views."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medtrain.core.streams import torch_seed
from medtrain.loss import cross_entropy
from medtrain.scheduler import Plateau, cosine
from medtrain.target import DataSpec
from medtrain.task.classification import Classification

SPEC = DataSpec.of("binary", ("0", "1"), 1, (4, 4))
DRAW = torch.Generator().manual_seed(0)
X, Y = torch.rand(16, 1, 4, 4, generator=DRAW), (torch.rand(16, 1, generator=DRAW) > 0.5).float()


def loader(size: int) -> DataLoader[Any]:
    rows = [{"x": x, "y": y, "case": torch.tensor(i)} for i, (x, y) in enumerate(zip(X, Y, strict=True))]
    return DataLoader(rows, size)  # type: ignore[arg-type]


def fitted(folder: Path, size: int, schedule: Any, **settings: Any) -> tuple[Classification, pl.Trainer]:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 1))
    sgd = partial(torch.optim.SGD, lr=0.5, momentum=0.9, nesterov=True)
    task = Classification(SPEC, net, loss=cross_entropy(SPEC), optimizer=sgd, scheduler=schedule)
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, num_sanity_val_steps=0, default_root_dir=str(folder), **settings,
    )  # fmt: skip
    trainer.fit(task, loader(size), loader(16))
    return task, trainer


@pytest.mark.parametrize("size", [8, 5])
def test_accumulated_batches_step_like_one_large_batch(tmp_path: Path, size: int) -> None:
    plain, _ = fitted(tmp_path, 16, cosine, max_epochs=3)
    small, trainer = fitted(tmp_path, size, cosine, max_epochs=3, accumulate_grad_batches=-(-16 // size))
    assert trainer.global_step == 3 and int(trainer.estimated_stepping_batches) == 3
    if size == 8:  # of equal batches the mean of means is the mean
        for a, b in zip(plain.parameters(), small.parameters(), strict=True):
            torch.testing.assert_close(a, b)
    rates = [task.trainer.optimizers[0].param_groups[0]["lr"] for task in (plain, small)]
    assert rates[0] == rates[1] == pytest.approx(0, abs=1e-9)  # the schedule has come to its end


def test_plateau_is_stepped_once_an_epoch_with_its_metric(tmp_path: Path) -> None:
    schedule = partial(Plateau, monitor="val_loss", mode="max", factor=0.5, patience=0)  # a falling loss is 'no better'
    task, trainer = fitted(tmp_path, 4, schedule, max_epochs=4)
    config = trainer.lr_scheduler_configs[0].scheduler
    assert isinstance(config, Plateau) and config.last_epoch == 4
    assert task.trainer.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.5 * 0.5**3)


class Brightness(nn.Module):
    def forward(self, x: Tensor) -> Any:
        yield x
        yield x + 1
        yield x + 3


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_probabilities_of_views_are_averaged_in_the_end_only(kind: str) -> None:
    classes = ("a", "b") if kind == "binary" else ("a", "b", "c")
    spec = DataSpec.of(kind, classes, 1, (4, 4), mean=(0.5,), std=(0.25,))  # type: ignore[arg-type]
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, spec.n_logits))
    task = Classification(spec, net, loss=cross_entropy(spec), views=Brightness(), pool="max").eval()
    batch = {"x": (X[:5] * 255).to(torch.uint8), "case": torch.tensor([3, 1, 1, 0, 9])}
    x = batch["x"] / 255

    def probs(logits: Tensor) -> Tensor:
        return logits.softmax(1) if kind == "multiclass" else logits.sigmoid()

    with torch.no_grad():
        expected = torch.stack([probs(net((x + more - 0.5) / 0.25)) for more in (0, 1, 3)]).mean(0)
        found = task.final_outputs(batch)
        torch.testing.assert_close(probs(found["logits"]), expected)
        assert found["case"].tolist() == [3, 1, 1, 0, 9]  # a row an instance, as without views
        torch.testing.assert_close(task.outputs(batch)["logits"], net((x - 0.5) / 0.25))


def test_sure_cases_stay_apart_when_averaged() -> None:
    task = Classification(SPEC, nn.Identity(), loss=cross_entropy(SPEC))
    logits = torch.tensor([[18.0], [19.0], [-18.0], [-19.0]])
    batch = {"logits": logits, "case": torch.arange(4), "instance": torch.zeros(4, dtype=torch.long)}
    torch.testing.assert_close(task.cases([batch])["logits"], logits, rtol=0, atol=0.01)


def test_a_step_on_a_cpu_asks_no_other_device_and_draws_what_its_place_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "manual_seed_all", None)  # torch.manual_seed calls it, with a stack trace
    noise: list[Tensor] = []
    monkeypatch.setattr(Classification, "on_before_zero_grad", lambda *_: noise.append(torch.rand(2)), raising=False)
    with monkeypatch.context() as patch:
        patch.setattr(torch, "manual_seed", torch.default_generator.manual_seed)
        task, _ = fitted(tmp_path, 8, cosine, max_epochs=2)
    wanted = []
    for place in ((0, 0), (0, 1), (1, 0), (1, 1)):
        torch.default_generator.manual_seed(torch_seed(task.seed, "step", *place, 0))
        wanted.append(torch.rand(2))
    assert torch.equal(torch.stack(noise), torch.stack(wanted))
