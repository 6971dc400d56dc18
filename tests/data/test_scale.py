"""The scale that weights were trained on: data.mean and data.std."""

from __future__ import annotations

import pytest
import torch

from medtrain.command.train import tell_other_scale
from medtrain.data.settings import normalisation
from medtrain.target import DataSpec

SCALES = {
    "0..1": (0, 1, [0.0, 0.5, 1.0]),
    "-1..1": (0.5, 0.5, [-1.0, 0.0, 1.0]),
    "torchxrayvision's": (0.5, 0.00048828125, [-1024.0, 0.0, 1024.0]),  # (2 x - 1) 1024 of x in 0..1
}


@pytest.mark.parametrize(("mean", "std", "seen"), SCALES.values(), ids=SCALES)
def test_published_scales_can_be_set(mean: float, std: float, seen: list[float]) -> None:
    (m,), (s,) = normalisation({"mean": mean, "std": [std]}, 1)
    torch.testing.assert_close((torch.tensor([0.0, 0.5, 1.0]) - m) / s, torch.tensor(seen))


def test_weights_of_another_scale_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    def spec(mean: float, std: float) -> DataSpec:
        return DataSpec.of("binary", ("a", "b"), 1, (32, 32), mean=(mean,), std=(std,))

    tell_other_scale(spec(0.449, 0.226), spec(0.449, 0.226))
    tell_other_scale(None, spec(0.449, 0.226))
    assert capsys.readouterr().out == ""
    tell_other_scale(spec(0.5, 0.25), spec(0.449, 0.226))
    assert "data.mean=[0.5] data.std=[0.25]; these data have another scale" in capsys.readouterr().out
