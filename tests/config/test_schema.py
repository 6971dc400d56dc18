"""What keys may hold: of strict nodes as `schema` says, of a `_target_` as its own signature says."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from medtrain.config import allowed, schema, search
from medtrain.config.check import MISSING
from medtrain.config.compose import compose, resolved
from medtrain.core.errors import UsageError
from tests.options import read

CODE = """
from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from torch import nn

from medtrain.core.ranges import Above, AtLeast, Between


def net(spec, size: int = 32, norm: Literal["layer", "none"] = "layer", weights: Sequence[float] = ()) -> nn.Module:
    return nn.Linear(1, spec.n_logits)


def silent(spec, size=32, gamma=1) -> nn.Module:
    return nn.Linear(1, spec.n_logits)


def loss(
    spec,
    gamma: Annotated[float, AtLeast(0)] = 1.0,
    weights: list[float] | None = None,
    share: Annotated[float, Between(0, 1)] = 0.5,
    scale: Annotated[float, Above(0)] = 1.0,
    steps: int = 3,
    hard: bool = False,
    alpha: float | Literal["auto"] = "auto",
) -> nn.Module:
    return nn.Identity()


class Sampler(torch.utils.data.Sampler):
    def __init__(self, labels, groups, *, batch_size: int, seed: int, length: str = "all"): ...


class Optimizer(torch.optim.SGD):
    def __init__(self, params, lr: str = "fast"):
        super().__init__(params, 0.1)
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A user's config folder, with code of their own in it."""
    (tmp_path / "own_code.py").write_text(CODE)
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield tmp_path
    sys.modules.pop("own_code", None)


def write(folder: Path, name: str, text: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"# mine\n{text}")


def refused(*words: str) -> str:
    with pytest.raises(UsageError) as error:
        compose(list(words), signatures=True)
    return str(error.value)


def test_a_user_s_network_has_its_own_schema(folder: Path) -> None:
    write(
        folder, "model/mine.yaml", "_target_: own_code.net\nkind: image\nsize: 64\nnorm: layer\nweights: [1.0, 2.0]\n"
    )
    cfg = resolved(compose(["model=mine"], signatures=True).cfg)
    assert (cfg.model.size, cfg.model.norm, cfg.model.weights) == (64, "layer", [1.0, 2.0])
    allowed.check_targets(cfg)
    assert refused("model=mine", "model.size=n") == "model.size=n: text, where a whole number is wanted"
    assert refused("model=mine", "model.norm=batch") == "model.norm=batch: it can be layer, none"
    assert "x in it: text, where a number is wanted" in refused("model=mine", "model.weights=[1.0,x]")


def test_without_annotations_anything_goes(folder: Path) -> None:
    write(folder, "model/mine.yaml", "_target_: own_code.silent\nkind: image\nsize: large\ngamma: -1\n")
    assert compose(["model=mine"], signatures=True).cfg.model.size == "large"
    assert "own_code.silent takes no such argument" in refused("model=mine", "+model.sise=3")


def test_a_user_s_loss_has_its_own_schema(folder: Path) -> None:
    write(folder, "loss/mine.yaml", "_target_: own_code.loss\ngamma: 1\nweights: [1.0, 2.0]\nassign: [x]\n")
    assert "loss/mine.yaml: loss.assign: own_code.loss takes no such argument" in refused("loss=mine")
    write(folder, "loss/mine.yaml", "_target_: own_code.loss\ngamma: -1\nweights: [1.0, 2.0]\n")
    assert refused("loss=mine") == "loss/mine.yaml: loss.gamma=-1: it must be at least 0"
    assert compose(["loss=mine", "loss.gamma=0"], signatures=True).cfg.loss.weights == [1.0, 2.0]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("gamma=-0.1", "it must be at least 0"),
        ("gamma=true", "true or false, where a number is wanted"),
        ("gamma=null", "null, where a number is wanted"),
        ("gamma=high", "text, where a number is wanted"),
        ("weights=inverse", "text, where a list is wanted"),
        ("weights=[1,[2]]", "[2] in it: a list, where a number is wanted"),
        ("share=1", "it is not between 0 and 1"),
        ("scale=0.0", "it must be above 0"),
        ("steps=true", "true or false, where a whole number is wanted"),
        ("steps=2.5", "a number, where a whole number is wanted"),
        ("hard=1", "a number, where true or false is wanted"),
        ("alpha=atuo", "it can be auto, or a number"),
    ],
)
def test_values_that_an_annotation_shuts_out(folder: Path, word: str, text: str) -> None:
    write(folder, "loss/mine.yaml", "_target_: own_code.loss\n")
    assert refused("loss=mine", f"+loss.{word}") == f"+loss.{word}: {text}"


@pytest.mark.parametrize("word", ["gamma=3", "weights=null", "weights=[]", "share=0.1", "alpha=2", "hard=true"])
def test_values_that_an_annotation_takes(folder: Path, word: str) -> None:
    write(folder, "loss/mine.yaml", "_target_: own_code.loss\n")
    compose(["loss=mine", f"+loss.{word}"], signatures=True)


def test_limits_for_foreign_code_are_none_for_the_user_s_own(folder: Path) -> None:
    write(folder, "optimizer/mine.yaml", "_target_: own_code.Optimizer\nlr: fast\n")
    write(folder, "sampler/mine.yaml", "_target_: own_code.Sampler\nlength: all\n")
    compose(["optimizer=mine", "sampler=mine"], signatures=True)
    assert refused("optimizer.lr=-1") == "optimizer.lr=-1: it must be at least 0"
    assert "where a number is wanted" in refused("optimizer=sgd", "optimizer.lr=fast")
    assert "it must be at least 0" in refused("optimizer.weight_decay=-0.1")
    assert "takes no such argument" in refused("sampler=mine", "+sampler.seed=3")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("model.dropout=1", "model.dropout=1: it must be a share: at least 0 and below 1"),
        ("model.stem=tiny", "model.stem=tiny: it can be auto, standard, small"),
        ("model.weights=3", "model.weights=3: a number, where text is wanted"),
        ("model.attention=1", "model.attention=1: a number, where true or false is wanted"),
        ("task=volume_cls model.norm=layer", "model.norm=layer: it can be batch, instance, group"),
        ("task=volume_cls model.width=0", "model.width=0: it must be at least 1"),
        ("task=wsi_mil model.hidden=[512,0]", "model.hidden=[512,0]: 0 in it: it must be at least 1"),
        ("task=wsi_mil model.hidden=512", "model.hidden=512: a number, where a list is wanted"),
        ("task=wsi_mil model=topk_mil model.k=0", "model.k=0: it must be at least 1"),
        ("task=lesion_det model.overlap=1", "model.overlap=1: it is not between 0 and 1"),
        ("task=lesion_det model=retinanet model.anchors=0", "model.anchors=0: it must be at least 1"),
        ("task=lesion_det model=yolo model.size=64", "model.size=64: it can be n, s, m"),
        ("task=lesion_det model=yolo model.strides=[8,12]", "model.strides=[8,12]: 12 in it: it can be 4, 8, 16, 32"),
        ("task=lesion_det model=yolo loss.box=l1", "loss.box=l1: it can be ciou, giou"),
        ("loss=focal loss.gamma=-1", "loss.gamma=-1: it must be at least 0"),
        ("loss=focal loss.alpha=atuo", "loss.alpha=atuo: it can be auto, or a number or a list"),
        ("loss=balanced_cross_entropy loss.weights=[1,2]",
         "loss.weights=[1,2]: it can be inverse, sqrt_inverse, effective_number"),
        ("loss.label_smoothing=1", "loss.label_smoothing=1: it must be a share: at least 0 and below 1"),
        ("sampler=weighted sampler.power=-1", "sampler.power=-1: it must be a share: at least 0 and at most 1"),
        ("sampler=balanced sampler.length=0", "sampler.length=0: it must be at least 1"),
        ("task=lesion_det sampler=negatives sampler.negatives=1", "sampler.negatives=1: it is not between 0 and 1"),
        ("augment.rotate=-1", "augment.rotate=-1: it must be at least 0"),
        ("transfer.freeze_epochs=-2", "transfer.freeze_epochs=-2: it must be at least -1"),
        ("transfer.layer_decay=0", "transfer.layer_decay=0: it must be above 0"),
        ("scheduler.warmup=1", "scheduler.warmup=1: it must be a share: at least 0 and below 1"),
        ("scheduler=plateau scheduler.mode=up", "scheduler.mode=up: it can be min, max"),
        ("callbacks=ema callbacks.ema.decay=2.0", "callbacks.ema.decay=2.0: it is not between 0 and 1"),
        ("callbacks.early_stopping.patience=x",
         "callbacks.early_stopping.patience=x: text, where a whole number is wanted"),
        ("callbacks.last.minutes=0", "callbacks.last.minutes=0: it must be above 0"),
        ("task=wsi_mil encoder=torchvision encoder.size=0", "encoder.size=0: it must be at least 1"),
        ("logger=mlflow logger.mlflow.experiment=3", "logger.mlflow.experiment=3: a number, where text is wanted"),
    ],
)  # fmt: skip
def test_packaged_targets_say_what_they_take(words: str, text: str) -> None:
    assert refused(*words.split()) == text


@pytest.mark.parametrize(
    "words",
    [
        "model.weights=null", "model.dropout=0", "loss=focal loss.alpha=[0.2,0.8]", "loss=focal loss.alpha=0.25",
        "loss=focal loss.alpha=auto", "callbacks.last.minutes=null", "callbacks.last.every_n_steps=5",
        "optimizer.lr=1", "+optimizer.betas=[0.8,0.9]", "+optimizer.foreach=null", "sampler=balanced sampler.length=7",
        "model=custom model._target_=torchvision.models.resnet18 +model.weights=IMAGENET1K_V1",
        "model=custom model._target_=timm.create_model +model.model_name=resnet18 +model.drop_rate=0.1",
        "+callbacks.t._target_=pytorch_lightning.callbacks.Timer +callbacks.t.duration='00:01:00:00'",
        "task=lesion_det model=yolo model.strides=[4,8,16]", "transfer.freeze_epochs=-1",
    ],
)  # fmt: skip
def test_what_packaged_and_foreign_targets_take_passes(words: str) -> None:
    compose(words.split(), signatures=True)


def test_all_faults_of_both_kinds_at_once_and_each_once(folder: Path) -> None:
    write(folder, "loss/mine.yaml", "_target_: own_code.loss\ngamma: -1\n")
    text = refused(
        "model=resnt18", "data.batch_size=0", "loss=mine", "optimizer.lr=-1", "model.dropot=1", "task.mixup=-1",
        "model.dropout=2", "callbacks.best._target_=os.system",
    )  # fmt: skip
    lines = text.splitlines()
    assert len(lines) == 8, text
    for part in ("resnt18", "data.batch_size=0", "loss.gamma=-1", "optimizer.lr=-1", "dropot", "mixup", "os.system"):
        assert sum(part in line for line in lines) == 1, text


def test_each_value_of_a_sweep_meets_its_signature(folder: Path) -> None:
    with pytest.raises(UsageError) as error:
        compose(["optimizer.lr=0.1,slow", "model.dropout=0,0.5,1"], multirun=True, signatures=True)
    assert str(error.value).splitlines() == [
        "optimizer.lr=slow: text, where a number is wanted",
        "model.dropout=1: it must be a share: at least 0 and below 1",
    ]


def test_kind_is_no_argument() -> None:
    assert "model=densenet121 is for 5 tasks, task=xray_cls is a image task" in refused("model.kind=5")


STRICT = [g for g in search.packaged_groups() if g not in allowed.SLOTS]


def keys(node: dict[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        yield f"{path}{key}", value
        if isinstance(value, dict):
            yield from keys(value, f"{path}{key}.")


def packaged() -> list[tuple[str, Any]]:
    """(key, value) of all strict nodes of all packaged options, and of the primary file."""
    import yaml

    primary = yaml.safe_load((search.packaged_folder() / f"{search.PRIMARY}.yaml").read_text())
    pairs = list(keys({k: v for k, v in primary.items() if k not in ("defaults", "hydra")}, ""))
    for group in STRICT:
        for option in search.option_files()[group]:
            node = read(group, option)
            pairs += keys(node if group == "task" else {group: node}, "")
    return pairs


def test_no_rule_is_for_a_key_that_does_not_exist() -> None:
    def rules(node: type, path: str = "") -> Iterator[str]:
        for key, annotation in typing.get_type_hints(node).items():
            inner = isinstance(annotation, type) and annotation.__module__ == schema.__name__
            yield from rules(annotation, f"{path}{key}.") if inner else [f"{path}{key}"]

    assert set(rules(schema.Configuration)) - {key for key, _ in packaged()} == set()


def test_a_packaged_null_takes_text_unless_a_rule_says_otherwise() -> None:
    assert schema.wrong("data.table", "a.csv", None) == schema.wrong("data.folds", 5, None) == ""
    assert "where text is wanted" in schema.wrong("data.table", 3, None)
    assert "where a whole number is wanted" in schema.wrong("data.folds", "a.csv", None)


def test_every_packaged_value_fits_its_own_rule() -> None:
    for key, value in packaged():
        if value != MISSING and "${" not in str(value) and not isinstance(value, dict):
            assert schema.wrong(key, value, value) == "", key


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("data.std=0", "it must be above 0"),
        ("data.std=[0.2,-0.1,0.2]", "-0.1 in it: it must be above 0"),
        ("trainer.gradient_clip_val=-1", "it must be at least 0"),  # would turn gradients round
        ("trainer.limit_train_batches=-1", "it must be at least 0"),
        ("trainer.limit_val_batches=-0.5", "it must be at least 0"),
        ("trainer.limit_test_batches=-1", "it must be at least 0"),
        ("callbacks.early_stopping.patience=-1", "it must be at least 0"),
        ("callbacks.early_stopping.min_delta=-0.1", "it must be at least 0"),
    ],
)
def test_lengths_waits_and_limits_are_not_negative(word: str, text: str) -> None:
    assert text in refused(f"{'+' * ('min_delta' in word)}{word}")
