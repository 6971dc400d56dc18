"""A sweep as Hydra goes through it: which jobs come out, and to whom they are handed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from medtrain.config import multirun
from medtrain.config.compose import compose, resolved


class Noted:
    """Notes what each job would be: its folder's name, its seed, its words."""

    def __init__(self) -> None:
        self.ran: list[tuple[str, int, list[str]]] = []
        self.submitted: list[tuple[str, int, list[str]]] = []
        self.settings: Mapping[str, Any] = {}

    def note(self, composed: DictConfig, hydra_cfg: DictConfig) -> tuple[str, int, list[str]]:
        return str(hydra_cfg.hydra.sweep.subdir), resolved(composed).seed, list(hydra_cfg.hydra.overrides.task)

    def run(self, composed: DictConfig, hydra_cfg: DictConfig) -> float | None:
        self.ran.append(self.note(composed, hydra_cfg))
        return 0.5

    def submit(self, composed: Iterable[DictConfig], settings: Mapping[str, Any]) -> list[float | None]:
        self.settings = settings
        self.submitted += [self.note(cfg, cfg) for cfg in composed]
        return [None for _ in self.submitted]


WANTED = [("0", 1, ["seed=1", "verb=train"]), ("1", 2, ["seed=2", "verb=train"])]


def test_jobs_here_come_one_by_one(tmp_path: Path) -> None:
    jobs = Noted()
    multirun.run(compose(["seed=1,2", "verb=train"], multirun=True), tmp_path / "sweep", jobs)
    assert jobs.ran == WANTED and not jobs.submitted
    assert (tmp_path / "sweep" / "multirun.yaml").is_file()


def test_jobs_for_slurm_are_handed_over_together(tmp_path: Path) -> None:
    jobs = Noted()
    words = ["seed=1,2", "verb=train", "hydra/launcher=slurm", "hydra.launcher.setup=[module load a]"]
    composition = compose(words, multirun=True)
    multirun.run(composition, tmp_path / "sweep", jobs)
    assert jobs.submitted == WANTED and not jobs.ran
    assert jobs.settings["setup"] == ["module load a"] and "_target_" not in jobs.settings
    assert jobs.settings == multirun.slurm_settings(composition.cfg)
