"""What a configuration may build, and what a stranger's may not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from medtrain.config import allowed
from medtrain.core.errors import UsageError
from medtrain.target import DataSpec

SPEC = DataSpec.of("binary", ("0", "1"), 1, (32, 32))

REFUSED = [
    ("model", "os.system"),
    ("model", "subprocess.Popen"),
    ("model", "builtins.eval"),
    ("model", "torch.hub.load"),
    ("model", "torch.load"),
    ("model", "torch.utils.collect_env.run"),
    ("model", "torchvision.models.densenet.torch.hub.load"),
    ("model", "torchvision.models.get_weight"),
    ("model", "torchvision.models.resnet.partial"),
    ("model", "torchvision.models._utils.warnings.warn"),
    ("model", "medtrain.launch.ranks.run_ranks"),
    ("model", "medtrain.model.weights.load_weights"),
    ("model", "medtrain.cli.main"),
    ("model", "torch.optim.AdamW"),
    ("loss", "medtrain.model.resnet18"),
    ("optimizer", "torch.nn.Linear"),
    ("scheduler", "medtrain.loss.cross_entropy"),
    ("callbacks", "torch.nn.Linear"),
    ("logger", "pytorch_lightning.callbacks.EarlyStopping"),
    ("sampler", "medtrain.model.resnet18"),
    ("model", "torchvision.models.resnet81"),
    ("model", "nosuchpackage.Net"),
]


@pytest.mark.parametrize(("slot", "name"), REFUSED, ids=[f"{s}-{n}" for s, n in REFUSED])
def test_refused(slot: str, name: str) -> None:
    cfg = {slot: {"_target_": name}}
    with pytest.raises(UsageError):
        if faults := allowed.check_names(cfg):
            raise UsageError(faults[0])
        allowed.allowed(slot, name)


ALLOWED = [
    ("model", "medtrain.model.resnet18"),
    ("model", "torchvision.models.resnet18"),
    ("model", "torchvision.models.mobilenet_v3_small"),
    ("model", "torch.nn.Sequential"),
    ("model", "timm.create_model"),
    ("loss", "medtrain.loss.cross_entropy"),
    ("loss", "torch.nn.BCEWithLogitsLoss"),
    ("optimizer", "torch.optim.SGD"),
    ("scheduler", "torch.optim.lr_scheduler.StepLR"),
    ("scheduler", "medtrain.scheduler.cosine"),
    ("callbacks", "pytorch_lightning.callbacks.EarlyStopping"),
    ("logger", "medtrain.logger.CSVLog"),
    ("sampler", "medtrain.sampler.Shuffle"),
    ("augment", "medtrain.augment.Augment2d"),
]


@pytest.mark.parametrize(("slot", "name"), ALLOWED, ids=[f"{s}-{n}" for s, n in ALLOWED])
def test_allowed(slot: str, name: str) -> None:
    assert allowed.check_names({slot: {"_target_": name}}) == []
    assert callable(allowed.allowed(slot, name))


def test_nested_targets_are_checked_and_built() -> None:
    node = {
        "_target_": "torch.nn.Sequential",
        "_args_": None,
    }
    assert allowed.check_arguments("model", node)  # Sequential takes no such argument
    node = {"_target_": "torch.nn.TransformerEncoder", "num_layers": 1}
    node["encoder_layer"] = {"_target_": "torch.nn.TransformerEncoderLayer", "d_model": 8, "nhead": 2}
    assert allowed.check_arguments("model", node) == []
    assert isinstance(allowed.build("model", node), torch.nn.TransformerEncoder)
    node["encoder_layer"] = {"_target_": "os.system", "command": "true"}
    assert "os.system" in allowed.check_names({"model": node})[0]
    with pytest.raises(UsageError):
        allowed.build("model", node)


def test_a_target_where_none_belongs() -> None:
    assert "can't stand here" in allowed.check_names({"data": {"x": {"_target_": "torch.nn.Linear"}}})[0]


def test_arguments_are_checked_by_signature() -> None:
    faults = allowed.check_arguments("model", {"_target_": "medtrain.model.resnet18", "dropot": 0.1, "dropout": "much"})
    assert "did you mean 'dropout'" in faults[0] and "dropout=much: text, where a number is wanted" in faults[1]
    assert "no such argument" in allowed.check_arguments("optimizer", {"_target_": "torch.optim.AdamW", "params": 3})[0]


def test_all_faults_of_a_configuration() -> None:
    cfg = OmegaConf.create(
        {
            "model": {"_target_": "medtrain.model.resnet18", "kind": "image", "a": 1},
            "loss": {"_target_": "medtrain.loss.cross_entropy", "b": 1},
            "callbacks": {"x": {"_target_": "pytorch_lightning.callbacks.EarlyStopping", "monitr": "val_loss"}},
        }
    )
    with pytest.raises(UsageError) as error:
        allowed.check_targets(cfg)
    assert len(str(error.value).splitlines()) == 3
    assert "callbacks.x.monitr" in str(error.value) and "did you mean 'monitor'" in str(error.value)


def test_trust_and_the_person_s_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mynets_for_test.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n    def __init__(self, spec, width: int = 3):\n"
        "        super().__init__()\n        self.width = width\n"
    )
    name = "mynets_for_test.Net"
    assert "not an allowed target" in allowed.check_names({"model": {"_target_": name}})[0]
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MEDTRAIN_TRUST", "mynets_for_test")
    assert allowed.check_names({"model": {"_target_": name}}) == []
    assert allowed.build("model", {"_target_": name, "width": 5}, spec=SPEC).width == 5
    monkeypatch.delenv("MEDTRAIN_TRUST")
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(tmp_path))
    assert allowed.check_names({"model": {"_target_": name}}) == []
    monkeypatch.delenv("MEDTRAIN_CONFIG_DIR")
    monkeypatch.chdir(tmp_path)
    os.makedirs("medtrain_configs")
    (tmp_path / "mynets_for_test.py").rename(tmp_path / "medtrain_configs" / "mynets_for_test.py")
    assert allowed.check_names({"model": {"_target_": name}})  # a folder that merely lies here runs no code


def test_partial_waits_for_its_parameters() -> None:
    make = allowed.partial("optimizer", {"_target_": "torch.optim.SGD", "lr": 0.5})
    optimizer = make([torch.nn.Parameter(torch.zeros(1))], total_steps=9)
    assert optimizer.param_groups[0]["lr"] == 0.5
