"""`trainer.deterministic` counts for its own run, also where one process carries several out."""

from __future__ import annotations

from pathlib import Path

import torch

from medtrain.command import build
from medtrain.config.compose import compose, resolved


def test_what_one_run_switches_on_the_next_switches_off(tmp_path: Path) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    try:
        for asked in (False, True, True, False, False):
            cfg = resolved(compose([f"trainer.deterministic={str(asked).lower()}", "trainer.accelerator=cpu"]).cfg)
            build.trainer(cfg, tmp_path, training=False)
            assert torch.are_deterministic_algorithms_enabled() is asked
    finally:
        torch.use_deterministic_algorithms(before)
