"""The numbers that a training computes in, where that is left to the device."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from medtrain.command import precision
from medtrain.command.opening import in_numbers
from medtrain.command.precision import processor_has_bfloat16, settled


@pytest.mark.parametrize("wanted", ["32-true", "bf16-mixed", "16-mixed"])
def test_what_is_wanted_stands(wanted: str) -> None:
    assert settled(wanted, cuda=False) == settled(wanted, cuda=True) == wanted


@pytest.mark.parametrize("cuda", [False, True])
@pytest.mark.parametrize("able", [False, True])
def test_auto_is_what_the_own_device_computes_in(monkeypatch: pytest.MonkeyPatch, cuda: bool, able: bool) -> None:
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: able != cuda)  # the other one says the opposite
    monkeypatch.setattr(precision, "cuda_has_bfloat16", lambda: able == cuda)
    assert settled("auto", cuda) == ("bf16-mixed" if able else "32-true")


def test_the_processor_is_asked_for_bfloat16() -> None:
    flags = Path("/proc/cpuinfo")
    if not flags.is_file() or "flags" not in flags.read_text():
        pytest.skip("no list of what the processor can do")
    words = set(flags.read_text().split())
    assert processor_has_bfloat16() == bool(words & {"avx512_bf16", "amx_bf16"})


def test_people_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    node = {"accelerator": "cpu", "precision": "auto"}
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: True)
    assert "training in bf16-mixed" in in_numbers(OmegaConf.create({"trainer": node}))
    monkeypatch.setattr(precision, "processor_has_bfloat16", lambda: False)
    assert "training in 32-true" in in_numbers(OmegaConf.create({"trainer": node}))
    assert in_numbers(OmegaConf.create({"trainer": node | {"precision": "32-true"}})) == ""
