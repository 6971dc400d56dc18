"""sweep.retry: the sweep's own words again, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from medtrain.core.errors import UsageError
from medtrain.launch.retry import words


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    task = ["model=resnet18", "optimizer.lr=1e-3,1e-4", "verb=train"]
    hydra = ["hydra/launcher=slurm", "hydra.launcher.memory=8G", "hydra.launcher.wait=false", "hydra.sweep.dir=s"]
    saved = {"hydra": {"overrides": {"task": task, "hydra": [*hydra, "hydra.mode=MULTIRUN"]}}}
    (tmp_path / "multirun.yaml").write_text(yaml.safe_dump(saved))
    return tmp_path


def test_its_own_words_come_back(sweep: Path) -> None:
    given = [f"hydra.sweep.dir={sweep}", "sweep.retry=failed"]
    own = ["model=resnet18", "optimizer.lr=1e-3,1e-4", "hydra/launcher=slurm", "hydra.launcher.memory=8G"]
    assert words(given, str(sweep)) == own + given
    assert words([*given, "model=resnet18"], str(sweep))[-1] == "model=resnet18"  # said again


def test_what_the_launcher_asks_for_may_be_new(sweep: Path) -> None:
    given = ["hydra.launcher.memory=64G", "sweep.retry=failed"]
    found = words(given, str(sweep))
    assert "hydra.launcher.memory=8G" not in found and "hydra.launcher.memory=64G" in found
    here = words(["hydra/launcher=basic", "sweep.retry=failed"], str(sweep))
    assert here == ["model=resnet18", "optimizer.lr=1e-3,1e-4", "hydra/launcher=basic", "sweep.retry=failed"]


def test_another_sweep_is_refused(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="model=resnet50"):
        words(["model=resnet50", "sweep.retry=failed"], str(sweep))
    with pytest.raises(UsageError, match=r"needs .* hydra\.sweep\.dir"):
        words(["sweep.retry=failed"], None)
    with pytest.raises(UsageError, match=r"no multirun\.yaml"):
        words(["sweep.retry=failed"], str(sweep / "none"))
