"""What compositions of one command share, and what they don't."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from medtrain.config import search
from medtrain.config.compose import compose
from medtrain.config.loader import loader


def plain(cfg: DictConfig) -> Any:
    return OmegaConf.to_container(cfg, resolve=False)


def test_each_composition_is_hydra_s_own_whatever_was_composed_before() -> None:
    ours = loader()
    lists = [["seed=1", "data.patients=40"], ["seed=2"], ["model=resnet18", "++trainer.new=1"], ["model=resnet18"], []]
    for words in [*lists, *reversed(lists)]:
        cfg = ours.load_configuration(search.PRIMARY, words, RunMode.RUN)
        hydras = ConfigLoaderImpl(ours.config_search_path).load_configuration(search.PRIMARY, words, RunMode.RUN)
        assert plain(cfg) == plain(hydras)
        OmegaConf.set_struct(cfg, False)
        cfg.model, cfg.data.patients, cfg.hydra.job.name = None, -1, "changed"  # of this one alone


def test_names_of_options_may_be_made_of_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\n# e\ndefaults:\n  - /optimizer@again: ${experiment}\n  - _self_\nagain:\n  lr: 0.5\n"
    for name in ("sgd", "adamw"):
        (tmp_path / "experiment" / f"{name}.yaml").write_text(text)
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(tmp_path))
    ours = loader()
    for name in ("sgd", "adamw"):
        cfg = ours.load_configuration(search.PRIMARY, [f"experiment={name}"], RunMode.RUN)
        assert (cfg.again._target_.rpartition(".")[2].lower(), cfg.again.lr) == (name, 0.5)


def test_jobs_of_a_sweep_are_theirs_alone() -> None:
    one, other = compose(["seed=1,2", "data.patients=40"], multirun=True).variants
    one.data.patients = 50
    assert (one.seed, other.seed, other.data.patients) == (1, 2, 40)
