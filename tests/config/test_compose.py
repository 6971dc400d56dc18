"""Composition: what wins over what, what is refused, where a fault stands."""

from __future__ import annotations

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from medtrain.config.compose import compose, resolved
from medtrain.core.errors import UsageError
from tests.options import all_options, words


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's config folder in the working folder."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "medtrain_configs").mkdir()
    return tmp_path / "medtrain_configs"


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text)


def test_defaults() -> None:
    cfg = resolved(compose([]).cfg)
    assert (cfg.task.name, cfg.data.name, cfg.model._target_) == (
        "xray_cls",
        "phantom_xray",
        "medtrain.model.densenet121",
    )
    assert cfg.model.weights == "none" and cfg.eval.threshold == 0.5


@pytest.mark.parametrize(("group", "option"), [(g, o) for g, o in all_options() if "/" not in g and g != "experiment"])
def test_every_option_composes_and_passes_its_check(group: str, option: str) -> None:
    compose(words(group, option))


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("image_table", "table"), ("image_folder", "root"), ("medmnist", "file"), ("volume_table", "table"),
        ("feature_bags", "table"), ("slide_table", "table"), ("box_table", "table"), ("coco", "root"), ("voc", "root"),
        ("yolo", "root"),
    ],
)  # fmt: skip
def test_where_the_data_are_has_to_be_said(option: str, key: str) -> None:
    task = words("data", option)[0]
    with pytest.raises(UsageError) as error:
        compose([task, f"data={option}"])
    assert str(error.value) == f"data.{key} is needed: add data.{key}=..."


def test_shared_files_are_no_options() -> None:
    with pytest.raises(UsageError, match="data=_table: no such option"):
        compose(["data=_table"])
    assert not [option for _, option in all_options() if option.startswith("_")]


def test_the_command_line_beats_experiment_beats_task(mine: Path) -> None:
    write(
        mine, "experiment/e.yaml",
        "# @package _global_\n# e\ndefaults:\n  - override /model: resnet18\noptimizer:\n  lr: 0.5\nseed: 7\n",
    )  # fmt: skip
    cfg = resolved(compose(["experiment=e"]).cfg)
    assert cfg.model._target_.endswith("resnet18") and cfg.optimizer.lr == 0.5 and cfg.seed == 7
    cfg = resolved(compose(["experiment=e", "model=resnet50", "optimizer.lr=0.25"]).cfg)
    assert cfg.model._target_.endswith("resnet50") and cfg.optimizer.lr == 0.25


def test_a_user_s_file_wins_over_a_packaged_one_of_the_same_name(mine: Path) -> None:
    write(mine, "optimizer/adamw.yaml", "# mine\n_target_: torch.optim.AdamW\nlr: 0.125\n")
    assert compose([]).cfg.optimizer.lr == 0.125


def test_a_user_s_data_option_builds_on_a_packaged_one(mine: Path) -> None:
    write(mine, "data/hospital.yaml", "# ours\ndefaults:\n  - image_table\n  - _self_\ntable: a.csv\nimage_size: 320\n")
    cfg = resolved(compose(["data=hospital"]).cfg)
    assert (cfg.data.name, cfg.data.image_size, cfg.data.batch_size) == ("image_table", 320, 32)
    write(mine, "data/hospital.yaml", "# ours\ndefaults:\n  - image_table\n  - _self_\ntable: a.csv\nimage_sise: 3\n")
    with pytest.raises(UsageError, match=r"data/hospital.yaml: data.image_sise.*image_size"):
        compose(["data=hospital"])


def test_a_misspelt_key_in_a_file_names_the_file(mine: Path) -> None:
    write(mine, "experiment/e.yaml", "# @package _global_\n# e\ntrainer:\n  max_epoch: 3\n  precision: [1]\nfoo: 1\n")
    with pytest.raises(UsageError) as error:
        compose(["experiment=e"])
    text = str(error.value)
    assert "experiment/e.yaml: trainer.max_epoch" in text and "did you mean 'max_epochs'" in text
    assert "trainer.precision" in text and "foo: no such key" in text


def test_a_network_for_another_kind_of_data_is_refused(mine: Path) -> None:
    write(mine, "model/net3d.yaml", "# 3D\n_target_: torch.nn.Linear\nkind: volume\n")
    with pytest.raises(
        UsageError, match=r"is for volume tasks, task=xray_cls is a image task; model can be: .*resnet18"
    ):
        compose(["model=net3d"])


def test_callbacks_can_be_added_and_switched_off() -> None:
    cfg = resolved(
        compose(["callbacks.early_stopping=null", "+callbacks.t._target_=pytorch_lightning.callbacks.Timer"]).cfg
    )
    assert cfg.callbacks.early_stopping is None and cfg.callbacks.t._target_.endswith("Timer")
    with pytest.raises(UsageError, match="callbacks.earl_stopping"):
        compose(["+callbacks.earl_stopping.patience=3"])


def test_interpolations_work_and_dead_ones_are_told() -> None:
    assert resolved(compose(["data.batch_size=${trainer.max_epochs}"]).cfg).data.batch_size == 10
    with pytest.raises(UsageError, match="nowhere"):
        resolved(compose(["data.batch_size=${nowhere.at.all}"]).cfg)


def test_each_value_of_a_sweep_is_checked_once() -> None:
    found = compose(["model=resnet18,resnet50", "optimizer.lr=0.1,0.2,0.3"], multirun=True)
    assert len(found.variants) == 4  # 1 + 1 further model + 2 further rates, not 6
    with pytest.raises(UsageError, match="data.fold=x"):
        compose(["data.folds=5", "data.fold=0,x"], multirun=True)


def test_a_saved_run_takes_overrides_and_another_data_option() -> None:
    saved = resolved(compose(["model=resnet18", "optimizer.lr=0.5", "data.patients=40"]).cfg)
    again = resolved(compose(["seed=3"], saved=saved).cfg)
    assert again.seed == 3 and OmegaConf.merge(again, {"seed": 0}) == saved
    other = resolved(compose(["data=image_table", "data.table=x.csv"], saved=saved).cfg)
    assert other.data.name == "image_table" and other.model == saved.model and "patients" not in other.data
    with pytest.raises(UsageError, match="data.patient=3.*did you mean 'patients'"):
        compose(["data.patient=3"], saved=saved)
