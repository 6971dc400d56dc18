"""The numbers that a training computes in, where that is left to the device."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from medtrain.command import precision
from medtrain.command.opening import in_numbers
from medtrain.command.precision import settled


@pytest.mark.parametrize("wanted", ["32-true", "bf16-mixed", "16-mixed"])
def test_what_is_wanted_stands(wanted: str) -> None:
    assert settled(wanted, cuda=False) == settled(wanted, cuda=True) == wanted


@pytest.mark.parametrize("able", [False, True])
def test_auto_is_what_a_gpu_computes_in(monkeypatch: pytest.MonkeyPatch, able: bool) -> None:
    monkeypatch.setattr(precision, "cuda_has_bfloat16", lambda: able)
    assert settled("auto", cuda=True) == ("bf16-mixed" if able else "32-true")
    assert settled("auto", cuda=False) == "32-true"


def test_people_are_told() -> None:
    def told(wanted: str) -> str:
        return in_numbers(OmegaConf.create({"trainer": {"accelerator": "cpu", "precision": wanted}}))

    assert "training in 32-true" in told("auto")
    assert "warning: trainer.precision=bf16-mixed on a processor: gradients are wrong" in told("bf16-mixed")
    assert told("32-true") == ""
