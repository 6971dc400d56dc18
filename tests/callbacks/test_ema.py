"""The average of weights by hand: its steps, counters, constants and what is validated and saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from medtrain.callbacks import EMA
from medtrain.core.errors import UsageError


def test_steps_by_hand() -> None:
    ema = EMA(decay=0.5)
    average, current = [torch.tensor([4.0, 1 / 3])], [torch.tensor([8.0, 1 / 3])]
    ema.average(average, current, torch.tensor(0))
    assert average[0][0] == pytest.approx(4 + 0.9 * 4)  # decay 1/10
    assert average[0][1] == torch.tensor(1 / 3)  # a constant stays, to the bit
    ema.average(average, current, 1000)
    assert average[0][0] == pytest.approx(7.8)
    counters = [torch.tensor(3)]
    ema.average(counters, [torch.tensor(9)], 1000)
    assert counters[0] == 9


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0])
def test_a_decay_is_a_share(decay: float) -> None:
    with pytest.raises(UsageError, match=r"callbacks\.ema\.decay"):
        EMA(decay)


class Net(pl.LightningModule):
    """Batch norm and a linear layer; notes the weights of every step, and those that it is validated with."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.steps: list[dict[str, Tensor]] = []
        self.validated: dict[str, Tensor] = {}

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        return self.net(batch).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        self.validated = {k: v.clone() for k, v in self.state_dict().items()}

    def on_before_zero_grad(self, optimizer: object) -> None:
        return

    def optimizer_step(self, *args: object, **kwargs: object) -> None:
        super().optimizer_step(*args, **kwargs)  # type: ignore[arg-type]
        self.steps.append({k: v.clone() for k, v in self.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_the_average_is_validated_and_saved(tmp_path: Path, accumulate: int) -> None:
    rows = torch.randn(24, 3, generator=torch.Generator().manual_seed(0)) * 2 + 1
    net = Net()
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[EMA(0.7)], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        accumulate_grad_batches=accumulate, default_root_dir=str(tmp_path),
    )  # fmt: skip
    trainer.fit(net, DataLoader(rows, 4), DataLoader(rows, 4))
    assert len(net.steps) == 6 // accumulate
    expected = {k: v.clone() for k, v in net.steps[0].items()}  # the first step is taken over
    for n, step in enumerate(net.steps[1:], start=1):
        decay = min(0.7, (1 + n) / (10 + n))
        for key, value in step.items():
            whole = not value.is_floating_point()
            expected[key] = value if whole else decay * expected[key] + (1 - decay) * value
    assert {k for k, v in expected.items() if not torch.equal(v, net.steps[-1][k])} >= {
        "net.0.running_mean",
        "net.1.weight",
    }
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    for key, value in expected.items():
        torch.testing.assert_close(net.validated[key], value)
        torch.testing.assert_close(saved["state_dict"][key], value)
