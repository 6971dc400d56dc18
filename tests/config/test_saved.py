"""What a saved configuration lacks or holds wrongly is named before anything is built of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from medtrain.config import check, search
from medtrain.config.compose import compose, resolved
from medtrain.config.migrate import SINCE_0_1, migrate
from medtrain.config.saved import read_saved, whole
from medtrain.config.start import load_settled
from medtrain.config.strangers import OF_A_START
from medtrain.core.errors import UsageError

TASKS = ("xray_cls", "volume_cls", "wsi_mil", "lesion_det")
FIXTURES = Path(__file__).parents[1] / "fixtures"


@cache
def shipped(task: str) -> dict[str, Any]:
    """A resolved configuration, as runs save it."""
    plain: Any = OmegaConf.to_container(resolved(compose([f"task={task}"]).cfg))
    return plain


def keys(node: dict[str, Any], *path: str) -> Iterator[tuple[str, ...]]:
    """Each key of a configuration but arguments of targets, as a path."""
    for key, value in node.items():
        yield (*path, key)
        if isinstance(value, dict) and "_target_" not in value and key not in ("callbacks", "logger"):
            yield from keys(value, *path, key)


def place(cfg: dict[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    for key in path[:-1]:
        cfg = cfg[key]
    return cfg


def refusal(cfg: dict[str, Any]) -> str:
    with pytest.raises(UsageError) as caught:
        whole(cfg, Path("RUN/config.yaml"))
    return str(caught.value)


@pytest.mark.parametrize("task", TASKS)
def test_any_key_that_lacks_is_named_or_what_an_older_version_did(task: str) -> None:
    for path in keys(shipped(task)):
        key, cfg = ".".join(path), deepcopy(shipped(task))
        del place(cfg, path)[path[-1]]
        if key in SINCE_0_1 or key in ("task.slice", "task.dims"):
            meaning = SINCE_0_1[key] if key in SINCE_0_1 else shipped(task)["task"][path[-1]]
            assert whole(cfg, Path("RUN/config.yaml")) == [key] and place(cfg, path)[path[-1]] == meaning
        elif key not in check.UNNEEDED:
            text = refusal(cfg)
            assert f"RUN/config.yaml lacks {key}" in text and len(text.splitlines()) == 1, text


def test_a_target_that_lacks_and_many_keys_at_once() -> None:
    cfg = deepcopy(shipped("xray_cls"))
    for group in ("model", "loss", "optimizer", "scheduler", "sampler", "augment", "transfer"):
        del cfg[group]["_target_"]
    assert "model._target_" in refusal(cfg)
    text = refusal({"verb": "train", "task": {"name": "xray_cls"}, "data": {}, "eval": {}})
    assert "callbacks" in text and "more keys" in text and len(text) < 400


def test_a_user_s_own_task_has_what_every_task_has() -> None:
    cfg = deepcopy(shipped("xray_cls"))
    cfg["task"] = {"name": "mine", "slice": "classification", "kind": "image", "monitor": "val_auroc", "own": 3}
    assert whole(cfg, Path("RUN/config.yaml")) == []
    del cfg["task"]["monitor"]
    assert "lacks task.monitor" in refusal(cfg)


@pytest.mark.parametrize("task", TASKS)
def test_a_map_a_list_or_a_word_for_another_type_is_named(task: str) -> None:
    for path in keys(shipped(task)):
        value, key = place(shipped(task), path)[path[-1]], ".".join(path)
        if not isinstance(value, bool | int | float) or path[0] in check.GROUPS_OF_TARGETS or "_target_" in str(path):
            continue
        for wrong in ({"a": 1}, "some words"):
            if path[0] in OF_A_START or (key == "eval.threshold" and isinstance(wrong, str)):
                continue  # settled whatever they hold; a threshold's words are its target's affair
            cfg = deepcopy(shipped(task))
            place(cfg, path)[path[-1]] = wrong
            text = refusal(cfg)
            assert "config.yaml: " in text and key in text and len(text.splitlines()) == 1, text


def test_it_is_read_from_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cfg = deepcopy(shipped("lesion_det"))
    del cfg["data"]["tile_whole"]
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(cfg))
    assert load_settled(tmp_path, "run", {}, training=False).data.tile_whole is False
    assert "config.yaml: of a version without data.tile_whole; what" in capsys.readouterr().err
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(cfg | {"seed": "zero"}))
    with pytest.raises(UsageError, match=r"config\.yaml: seed=zero: .*whole number"):
        read_saved(tmp_path)


def test_every_key_that_0_1_lacked_has_its_meaning() -> None:
    """tests/fixtures/keys_0_1.json was read off the release's own options."""
    before: dict[str, list[str]] = json.loads((FIXTURES / "keys_0_1.json").read_text())
    later = set()
    for group in ("data", "eval", "trainer", "task"):
        for file in search.packaged_options(group):
            option = check.reference({group: {}}, {group: file.stem}, None)
            node = option[group]
            if f"{group}={file.stem}" in before:  # of options that there weren't, no run could be saved
                later |= {".".join((group, *path)) for path in keys(node)} - set(before[f"{group}={file.stem}"])
    root = {".".join(path) for path in keys(check.reference({}, {}, None))}
    later |= {
        key for key in root - set(before["train"]) if key.split(".")[0] not in ("data", "eval", "trainer", "task")
    }
    later -= {"model", "model.fusion"}  # all have a network; what its node lacks is added below
    later -= {"task.slice", "task.dims", *(key for key in later if key.rpartition(".")[0] in later)}
    assert later == set(SINCE_0_1)
    saved: dict[str, Any] = {"model": {"_target_": "medtrain.model.resnet18"}}
    assert migrate(saved, []) == [] and saved["model"]["fusion"] == "concat"
