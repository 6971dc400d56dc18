"""What a run folder and a sweep's words may not do; and who may."""

from __future__ import annotations

import os
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from omegaconf import OmegaConf

from medtrain.config import start
from medtrain.config.compose import compose, resolved
from medtrain.config.saved import load_saved
from medtrain.core.errors import UsageError
from medtrain.launch import retry
from medtrain.verbs import VERBS
from tests.strangers import NODES

# runs


@cache
def shipped(*words: str) -> dict[str, Any]:
    """A resolved configuration, as runs save it."""
    plain: Any = OmegaConf.to_container(resolved(compose(list(words)).cfg))
    return plain


class Run:
    """A run folder whose config.yaml a stranger has changed.

    Attributes:
        cfg: what a verb makes of it (`started`).
    """

    cfg: Any

    def __init__(self, folder: Path) -> None:
        self.file = folder / "RUN" / "config.yaml"
        self.file.parent.mkdir()

    def __call__(self, node: dict[str, Any] | str, *words: str, verb: str = "train", key: str = "run") -> str:
        """Change it and say what a verb says of it before it composes; '' if nothing."""
        merged = node if isinstance(node, str) else yaml.safe_dump(deeper(deepcopy(shipped("model=resnet18")), node))
        self.file.write_text(merged)
        self.given = dict(word.partition("=")[::2] for word in (f"{key}=RUN", *words))
        try:
            self.saved = start.saved_of(VERBS[verb], self.given)
        except UsageError as error:
            return str(error)
        finally:
            assert not Path("ran").exists()
        return ""

    def started(self, node: dict[str, Any] | str, *words: str, verb: str = "train") -> str:
        """Do the same and compose what the verb starts with."""
        if text := self(node, *words, verb=verb):
            return text
        try:
            composition = compose(list(words), saved=self.saved)
            assert self.saved is not None
            start.keep_to(self.saved, VERBS[verb], composition.cfg, self.given)
            self.cfg = resolved(composition.cfg)
        except UsageError as error:
            return str(error)
        return ""


def deeper(into: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    for key, value in more.items():
        both = isinstance(value, dict) and isinstance(into.get(key), dict)
        into[key] = deeper(into[key], value) if both else value
    return into


@pytest.fixture
def run(here: Path) -> Run:
    return Run(here)


@pytest.mark.parametrize("node", NODES, ids=str)
def test_a_hydra_node_of_a_run(run: Run, node: dict[str, Any]) -> None:
    assert "RUN/config.yaml: hydra: no part of a run's configuration" in run({"hydra": node}, "seed=1")


def test_a_defaults_list_of_a_run(run: Run) -> None:
    assert "RUN/config.yaml: defaults" in run({"defaults": [{"override hydra/launcher": "slurm"}]}, "seed=1")


@pytest.mark.parametrize("verb", ["train", "test", "predict", "explain"])
@pytest.mark.parametrize(
    "node", [{"name": "${oc.env:SECRET}"}, {"x": ["${seed}"]}, {"${a}": 1}, {"y": "\\${oc.env:A}"}]
)
def test_an_interpolation_in_a_run(run: Run, verb: str, node: dict[str, Any]) -> None:
    assert "a saved configuration is resolved" in run(node, verb=verb)


CHECKPOINT, TIMER = "pytorch_lightning.callbacks.ModelCheckpoint", "pytorch_lightning.callbacks.Timer"
LOGGERS = "pytorch_lightning.loggers"
MLFLOW = {"_target_": "medtrain.logger.MLflowLog", "experiment": "medtrain"}
PLACES: list[tuple[str, dict[str, Any]]] = [
    ("logger.m.tracking_uri", {"logger": {"m": MLFLOW | {"tracking_uri": "http://evil.example"}}}),
    ("logger.m.tracking_uri", {"logger": {"m": MLFLOW | {"tracking_uri": "databricks"}}}),
    ("logger.w.entity", {"logger": {"w": {"_target_": "medtrain.logger.WandbLog", "entity": "evil"}}}),
    ("logger.c.save_dir", {"logger": {"c": {"_target_": "pytorch_lightning.loggers.CSVLogger", "save_dir": "x"}}}),
    ("logger.c.log_model", {"logger": {"c": {"_target_": f"{LOGGERS}.WandbLogger", "log_model": "all"}}}),
    ("callbacks.b.dirpath", {"callbacks": {"b": {"_target_": CHECKPOINT, "dirpath": "x"}}}),
    ("callbacks.b.filename", {"callbacks": {"b": {"_target_": CHECKPOINT, "filename": "../../x"}}}),
    ("callbacks.b.other", {"callbacks": {"b": {"_target_": TIMER, "other": "~/x"}}}),
    ("callbacks.b.n.deep", {"callbacks": {"b": {"_target_": TIMER, "n": {"deep": "C:\\x"}}}}),
    ("model.pretrained_cfg.url", {"model": {"pretrained_cfg": {"url": "http://evil.example/x"}}}),
    ("data.table", {"data": {"table": "s3://evil/x.csv"}}),
]  # fmt: skip


@pytest.mark.parametrize(("place", "node"), PLACES, ids=[f"{p} {n}" for p, n in PLACES])
def test_a_place_to_send_or_write_to(run: Run, place: str, node: dict[str, Any]) -> None:
    for words, key in ((["seed=1"], "run"), ([], "resume")):
        text = run(node, *words, key=key)
        assert f"RUN/config.yaml: {place}=" in text and "no place of its own" in text and len(text.splitlines()) == 1


@pytest.mark.parametrize(("place", "node"), PLACES, ids=[f"{p} {n}" for p, n in PLACES])
def test_who_may_say_it(run: Run, place: str, node: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    value = OmegaConf.select(OmegaConf.create(node), place)
    assert "no place of its own" not in run(node, f"{place}={value}")
    monkeypatch.setenv("MY_SERVER", str(value))
    assert "no place of its own" not in run(node)
    monkeypatch.delenv("MY_SERVER")
    Path("site").mkdir()
    Path("site/own.yaml").write_text(yaml.safe_dump(node))
    assert "no place of its own" in run(node)
    monkeypatch.setenv("MEDTRAIN_CONFIG_DIR", "site")
    assert "no place of its own" not in run(node)


@pytest.mark.parametrize("verb", ["test", "predict", "explain"])
def test_who_builds_no_logger_is_not_asked_about_it(run: Run, verb: str) -> None:
    node = {"logger": PLACES[0][1]["logger"], "callbacks": PLACES[5][1]["callbacks"]}
    assert run(node, verb=verb) == ""
    assert "no place of its own" in run(PLACES[-2][1], verb=verb)  # a network is built


def test_what_the_package_ships_passes(run: Run) -> None:
    for logger in ("default", "mlflow", "wandb"):
        cfg = shipped(f"logger={logger}", "callbacks=ema")
        assert run({"logger": cfg["logger"], "callbacks": cfg["callbacks"]}, "seed=1") == ""


def test_what_is_of_one_start_stays_behind(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    node = {"output": "/tmp/x", "input": "/etc", "name": "../x", "debug": True, "cache": {"clean": True}}
    assert run.started(node, "seed=1") == ""
    told = capsys.readouterr().err
    cfg = run.cfg
    assert (cfg.output, cfg.input, cfg.name, cfg.debug, cfg.cache.clean) == (None, None, None, False, False)
    assert all(f"RUN/config.yaml: {key}=" in told for key in node)


def test_a_cache_of_a_stranger_s_choice(
    run: Run, here: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    node = {"data": {"cache_dir": str(here / "shared")}}
    for verb in ("train", "test"):
        assert run.started(node, verb=verb) == "" and run.cfg.data.cache_dir is None
        assert "data.cache_dir=" in capsys.readouterr().err
        assert run.started(node, "data.cache_dir=mine", verb=verb) == ""
        assert run.cfg.data.cache_dir == "mine"
    monkeypatch.setenv("MEDTRAIN_CACHE", str(here / "shared"))
    capsys.readouterr()
    assert run(node, verb="test") == "" and capsys.readouterr().err == ""


def test_bags_are_not_written_where_a_stranger_says(run: Run, here: Path) -> None:
    cfg = deepcopy(shipped("task=wsi_mil"))
    cfg["data"]["bags"] = str(here / "bags")
    (here / "bags").mkdir()
    text = yaml.safe_dump(cfg)
    assert run.started(text, verb="test") == "" and run.cfg.data.bags is None
    (here / "bags" / "a.h5").touch()
    assert run.started(text, verb="test") == "" and run.cfg.data.bags == str(here / "bags")


@pytest.mark.parametrize("name", ["../../x", "/abs", "a\nb", "x" * 300, ""])
def test_a_task_s_name_becomes_a_folder(run: Run, name: str) -> None:
    assert "it names a folder" in run.started({"task": {"name": name}}, "seed=1")


@pytest.mark.parametrize("node", ["task", "data", "eval", "trainer", "model", "callbacks", "logger"])
def test_a_node_that_is_none(run: Run, here: Path, node: str) -> None:
    cfg = shipped()
    for value in (5, "text", [1]):
        assert f"{node}=" in run(yaml.safe_dump(cfg | {node: value}), verb="test")


def test_what_is_no_file_or_no_yaml(run: Run, here: Path) -> None:
    for text in ("[" * 200_000, "a: &a [*a]", "- 1", "", "a: b: c", "\x00", "a: 1\na: 2"):
        assert "RUN/config.yaml" in run(text, verb="test")
    (here / "RUN" / "config.yaml").unlink()
    os.mkfifo(here / "RUN" / "config.yaml")
    with pytest.raises(UsageError, match="it has no config.yaml"):
        load_saved("RUN")


# sweeps that are to go on

GO_ON = ["hydra.sweep.dir=SWEEP", "sweep.retry=failed"]


def go_on(here: Path, task: list[str], hydra: list[str], *more: str) -> str:
    (here / "SWEEP").mkdir(exist_ok=True)
    saved = {"hydra": {"overrides": {"task": task, "hydra": hydra}}}
    (here / "SWEEP" / "multirun.yaml").write_text(yaml.safe_dump(saved))
    try:
        retry.words([*GO_ON, *more], "SWEEP")
    except UsageError as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    "word",
    [
        "+hydra.callbacks.e._target_=torch.load", "hydra.launcher.setup=[touch ran]", "hydra.launcher.extra=[qos=x]",
        "hydra.launcher._target_=torch.load", "hydra.launcher.partition='a\\nb'", "hydra.run.dir=elsewhere",
        "hydra.searchpath=[pkg://evil]", "hydra/launcher=../x", "hydra.job.chdir=true", "hydra.launcher.partition=a b",
    ],
)  # fmt: skip
def test_words_of_hydra_s_in_a_sweep(here: Path, word: str) -> None:
    assert f"{word}: counts from the command line only" in go_on(here, ["seed=1,2"], [word])
    assert go_on(here, ["seed=1,2"], [word], word) == ""


@pytest.mark.parametrize(
    "word",
    [
        "logger.mlflow.tracking_uri='http://evil.example'", "+callbacks.best.dirpath=elsewhere",
        "name=${oc.env:SECRET}", "seed=1,${oc.env:SECRET}", "+optimizer@hydra.callbacks.e=adamw",
        "data.table=a.csv,s3://evil/b.csv", "+logger={m: {tracking_uri: 'http://evil.example'}}",
        "~logger=http://evil.example",
    ],
)  # fmt: skip
def test_words_of_the_task_in_a_sweep(here: Path, word: str) -> None:
    assert "counts from the command line only" in go_on(here, [word], [])
    assert go_on(here, [word], [], word) == ""


def test_words_of_an_honest_sweep(here: Path) -> None:
    task = [
        "task=xray_cls",
        "data.table='my table.csv'",
        "optimizer.lr=1e-3,1e-4",
        "logger=mlflow",
        "data.classes=[a,b]",
    ]
    hydra = ["hydra/launcher=slurm", "hydra.launcher.memory=32G", "hydra.launcher.time='2-00:00:00'"]
    assert go_on(here, task, hydra) == ""


@pytest.mark.parametrize(
    "content", ["", "[1]", "hydra: 3", "hydra: {overrides: {task: 3}}", "a: &a [*a]", "[" * 99_999]
)
def test_words_that_are_none(here: Path, content: str) -> None:
    (here / "SWEEP").mkdir()
    (here / "SWEEP" / "multirun.yaml").write_text(content)
    with pytest.raises(Exception) as error:
        retry.words(GO_ON, "SWEEP")
    assert "multirun.yaml" in str(error.value)
