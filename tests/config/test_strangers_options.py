"""What a config folder that merely lies here may not do; and whose may."""

from __future__ import annotations

import json
import os
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from medtrain.config import multirun, search, strangers
from medtrain.config.compose import Composition, compose, resolved
from medtrain.core.errors import UsageError
from medtrain.io.yaml_file import read_yaml
from tests.strangers import ACTS, NODES


def write(folder: Path, name: str, content: Any) -> None:
    file = folder / "medtrain_configs" / f"{name}.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))


def refused(*words: str, multirun: bool = True) -> str:
    with pytest.raises(UsageError) as error:
        compose(list(words), multirun=multirun)
    assert not Path("ran").exists()
    return str(error.value)


GLOBAL = "# @package _global_\n"


@pytest.mark.parametrize("node", NODES, ids=str)
def test_a_hydra_node_of_an_experiment_that_lies_here(here: Path, node: dict[str, Any]) -> None:
    write(here, "experiment/x", GLOBAL + yaml.safe_dump({"hydra": node}))
    text = refused("experiment=x", "seed=1,2")
    assert "experiment/x.yaml" in text and "MEDTRAIN_CONFIG_DIR" in text and len(text.splitlines()) == 1


EVIL = yaml.safe_dump({"callbacks": {"e": ACTS[0]}})
WAYS = {
    "a package in the file": ("experiment/x", f"# @package hydra\n{EVIL}", "experiment=x"),
    "a package below": ("experiment/x", f"# @package hydra.callbacks\n{yaml.safe_dump(ACTS[0])}", "experiment=x"),
    "a package from the root": ("experiment/x", f"# @package _global_.hydra\n{EVIL}", "experiment=x"),
    "the file's own name": ("model/hydra", f"# @package _name_\n{EVIL}", "model=hydra"),
    "a group of Hydra's": ("hydra/launcher/mine", yaml.safe_dump(ACTS[0]), "hydra/launcher=mine"),
    "a new group of Hydra's": ("hydra/callbacks/mine", yaml.safe_dump(ACTS[0]), "+hydra/callbacks=mine"),
    "Hydra's first file": ("hydra/config", EVIL, "seed=1"),
    "Hydra's default": ("hydra/launcher/basic", yaml.safe_dump(ACTS[0]), "seed=1"),
    "Hydra's output": ("hydra/job_logging/none", yaml.safe_dump(ACTS[3]["config"]), "seed=1"),
    "the packaged launcher": ("hydra/launcher/slurm", yaml.safe_dump(ACTS[0]), "hydra/launcher=slurm"),
    "the primary file": ("train", yaml.safe_dump({"hydra": {"searchpath": ["pkg://evil"]}}), "seed=1"),
    "an override": ("experiment/x", f"{GLOBAL}defaults:\n- override /hydra/launcher: slurm\n", "experiment=x"),
    "an override of logging": (
        "experiment/x", f"{GLOBAL}defaults:\n- override /hydra/job_logging: default\n", "experiment=x",
    ),
    "a group put there": ("experiment/x", f"{GLOBAL}defaults:\n- /model@hydra.callbacks.e: resnet18\n", "experiment=x"),
    "a group put there from the root": (
        "experiment/x", f"{GLOBAL}defaults:\n- /model@_global_.hydra.callbacks.e: resnet18\n", "experiment=x",
    ),
    "a second file": (
        "experiment/x", f"{GLOBAL}defaults:\n- y@_global_: y\n- _self_\n", "experiment=x",
    ),
    "a choice by another key": (
        "experiment/x", GLOBAL + "defaults:\n- override /hydra/launcher: ${data}\n", "experiment=x",
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_ways_to_a_hydra_node(here: Path, way: str) -> None:
    name, content, word = WAYS[way]
    write(here, name, content)
    write(here, "experiment/y/y", f"{GLOBAL}hydra: {{callbacks: {{e: {{_target_: torch.load}}}}}}")
    text = refused(word)
    assert "hydra" in text and ("MEDTRAIN_CONFIG_DIR" in text or "does nothing here" in text), text


def test_the_outcome_counts_whatever_the_way(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of single files the comparison of what came out refuses it too, in each job of a sweep."""
    monkeypatch.setattr(strangers, "check_option", lambda *_: None)
    write(here, "experiment/x", GLOBAL + yaml.safe_dump({"hydra": {"callbacks": {"e": ACTS[0]}}}))
    write(here, "experiment/y", f"{GLOBAL}seed: 3\n")
    assert "hydra.callbacks.e" in refused("experiment=y,x")
    composition = compose(["experiment=y"], multirun=True)
    late = Composition(composition.variants, composition.loader, composition.primary, ["experiment=x"])
    with pytest.raises(UsageError, match="hydra.callbacks.e"):
        multirun.run(late, here / "sweep", None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "value",
    [
        "${oc.env:SECRET}", "${oc.${data.name}:SECRET}", "x${oc.env:SECRET}y", "\\${oc.env:SECRET}", "${oc.decode:x}",
        "${now:%Y}", "${hydra:runtime.cwd}", "${${data.name}}", "${oc.create:{a:1}}", "${oc.env:SECRET,other}",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "node", ["{{task: {{monitor: {0}}}}}", "{{defaults: [{{/model: {0}}}]}}", "{{data: {{classes: [{0}]}}}}"]
)
def test_a_resolver_in_a_file_that_lies_here(here: Path, value: str, node: str) -> None:
    write(here, "experiment/x", GLOBAL + node.format(json.dumps(value)))
    assert "only other keys can be referred to here" in refused("experiment=x")


def test_a_resolver_put_together_of_harmless_parts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "the-secret")
    write(
        here, "experiment/x",
        GLOBAL + "optimizer: {a: $, b: '{oc.env:SECRET}'}\ntask: {monitor: '${optimizer.a}${optimizer.b}'}\n",
    )  # fmt: skip
    with pytest.raises(UsageError, match=r"can't hold '\$\{'") as error:
        resolved(compose(["experiment=x"]).cfg)
    assert "the-secret" not in str(error.value)


def test_other_keys_can_be_referred_to(here: Path) -> None:
    write(here, "experiment/x", GLOBAL + "data: {batch_size: '${trainer.max_epochs}'}\n")
    assert resolved(compose(["experiment=x"]).cfg).data.batch_size == 10


ALIASES = "a: &a [1,1,1]\n" + "".join(f"{b}: &{b} [*{a},*{a},*{a}]\n" for a, b in pairwise("abcdefghij"))
BOMBS = {
    "itself": "a: &a [*a]",
    "deep": "[" * 200_000,
    "aliases": ALIASES,
    "python": "a: !!python/object/apply:os.system [touch ran]",
    "zero": "\x00",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
def test_a_bomb_for_an_experiment(here: Path, content: str) -> None:
    write(here, "experiment/x", content)
    assert "x.yaml is no YAML" in refused("experiment=x", multirun=False)


@pytest.mark.parametrize("how", ["MEDTRAIN_CONFIG_DIR", "trust"])
def test_a_site_s_own_launcher_counts_where_its_folder_is_named(
    here: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    write(here, "hydra/launcher/site", "defaults: [slurm]\npartition: gpu\nsetup: [module load cuda]\n")
    write(
        here,
        "experiment/x",
        GLOBAL + "defaults:\n- override /hydra/launcher: site\nseed: '${oc.decode:${oc.env:SEED}}'\n",
    )
    monkeypatch.setenv("SEED", "5")
    refused("experiment=x")
    if how == "trust":
        monkeypatch.setenv("MEDTRAIN_TRUST", "medtrain_configs")
    else:
        shutil.move("medtrain_configs", "site")
        monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", "site")
    cfg = compose(["experiment=x"], multirun=True).cfg
    assert cfg.hydra.launcher.partition == "gpu" and resolved(cfg).seed == 5
    assert compose(["hydra/launcher=site"], multirun=True).cfg.hydra.launcher.setup == ["module load cuda"]


def test_the_command_line_counts_beside_a_folder_that_lies_here(here: Path) -> None:
    write(here, "experiment/x", f"{GLOBAL}seed: 3\n")
    words = ["experiment=x", "hydra/launcher=slurm", "hydra.launcher.setup=[module load a]", "hydra.sweep.dir=s"]
    cfg = compose(words, multirun=True).cfg
    assert cfg.hydra.launcher.setup == ["module load a"] and cfg.seed == 3


@pytest.mark.parametrize("named", [".", "medtrain_configs"])
def test_folders_called_like_keys_hide_none(here: Path, monkeypatch: pytest.MonkeyPatch, named: str) -> None:
    """A run's folder has a config.yaml, so that `run` would be a group with that option."""
    top = Path() if named == "." else Path(named)
    for name in ("run", "name", "runs", "input", "outputs/x", "seed", "images"):
        (top / name).mkdir(parents=True)
        (top / name / "config.yaml").write_text("a: 1\n")
    (top / "model").mkdir()
    (top / "model" / "mine.yaml").write_text("_target_: medtrain.model.resnet18\nkind: [image]\n")
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", named)
    cfg = compose(["run=outputs/x", "name=a", "seed=3", "model=mine"]).cfg
    assert (cfg.run, cfg.name, cfg.seed) == ("outputs/x", "a", 3) and cfg.model._target_.endswith("resnet18")
    assert search.passed_over() == ["images", "input", "name", "run", "runs", "seed"]
    assert {"run", "name", "outputs/x"}.isdisjoint(search.option_files()) and "mine" in search.option_files()["model"]


def test_a_config_dir_that_is_not_there(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", "nowhere")
    assert "no such folder" in refused("seed=1")


def test_the_packaged_files_keep_to_the_rules_of_strangers() -> None:
    for file in search.packaged_folder().rglob("*.yaml"):
        if "hydra" not in file.parts[-3:] and file.stem != search.PRIMARY:
            strangers.check_option(read_yaml(file), f"{file.parent.name}/{file.stem}", "", file)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("defaults: 5", "defaults must be a list (got int)"),
        ("defaults: {a: b}", "defaults must be a list (got mapping)"),
        ("defaults: [5]", "Unsupported type in defaults : int"),
        ("defaults: [x]", "a defaults list leads to itself"),
        ("[1, 2]", "x.yaml: not a map of keys and values"),
        ("5", "x.yaml: not a map of keys and values"),
        ("seed: 1\nseed: 2", "x.yaml is no YAML: found duplicate key seed (line 3)"),
        ("model: 5", "experiment/x.yaml: model=5: not a map of keys and values"),
        ("model: []", "Cannot merge DictConfig with ListConfig"),
        ("data: null", "data=None: not a map of keys and values"),
        ("data: {columns: 5}", "experiment/x.yaml: data.columns=5: a number, where a map is wanted"),
    ],
)
@pytest.mark.parametrize("vouched", [False, True])
def test_a_file_of_the_wrong_form(
    here: Path, monkeypatch: pytest.MonkeyPatch, content: str, text: str, vouched: bool
) -> None:
    if vouched:
        monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", "medtrain_configs")
    file = here / "medtrain_configs" / "experiment" / "x.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"# @package _global_\n{content}\n")
    with pytest.raises(UsageError) as error:
        compose(["experiment=x"])
    assert text in str(error.value) and len(str(error.value).splitlines()) == 1


def test_pipes_and_devices_are_no_options(here: Path) -> None:
    folder = here / "medtrain_configs" / "experiment"
    folder.mkdir(parents=True, exist_ok=True)
    os.mkfifo(folder / "pipe.yaml")
    (folder / "zero.yaml").symlink_to("/dev/zero")
    (folder / "gone.yaml").symlink_to("nothing")
    for name in ("pipe", "zero", "gone"):
        with pytest.raises(UsageError, match="no such option"):
            compose([f"experiment={name}"])
