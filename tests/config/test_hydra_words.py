"""Hydra's own words on the command line: what does something, what is refused, and with what advice."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from medtrain import cli
from medtrain.cli import parse
from medtrain.config import completion
from medtrain.config.compose import compose, resolved
from medtrain.core.errors import UsageError
from medtrain.verbs import VERBS


def refused(*words: str, multirun: bool = False) -> str:
    with pytest.raises(UsageError) as error:
        compose(list(words), multirun=multirun)
    return str(error.value)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("~seed", "~seed: seed is needed; write seed=..."),
        ("~trainer", "~trainer: trainer is needed; write trainer=OPTION (auto, cpu"),
        ("~data.image_size", "~data.image_size: data.image_size is needed"),
        ("~data.batch_size", "data.batch_size is needed"),
        ("~eval.threshold", "eval.threshold is needed"),
        ("~augment", "write augment=none"),
        ("~transfer", "write transfer=none"),
        ("~model", "model is needed; write model=OPTION"),
        ("~task", "task is needed"),
        ("~model._target_", "model._target_ is needed"),
        ("~verb", "verb is needed"),
        ("~nothing", "'nothing' does not exist"),
        ("~data.nothing", "'data.nothing' does not exist"),
        ("~hydra.run.dir", "Hydra's own keys can't be taken out"),
        ("~hydra/launcher", "Hydra's own keys can't be taken out"),
    ],
)
def test_taking_out_what_is_needed(word: str, text: str) -> None:
    for multirun in (False, True):
        assert text in refused(word, multirun=multirun)


def test_taking_out_what_may_go() -> None:
    cfg = resolved(compose(["~logger.tensorboard", "~callbacks.early_stopping", "~optimizer.weight_decay"]).cfg)
    assert list(cfg.logger) == ["csv"] and "early_stopping" not in cfg.callbacks and "weight_decay" not in cfg.optimizer
    cfg = resolved(compose(["~logger", "~callbacks", "~experiment", "~encoder"]).cfg)
    assert cfg.logger == {} and cfg.callbacks == {}


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("hydra.job.chdir=true", "a run works in the folder where it was started"),
        ("hydra.output_subdir=x", "what Hydra would save is in the run folder"),
        ("hydra.verbose=true", "debug=true"),
        ("hydra.mode=MULTIRUN", "write -m"),
        ("+hydra.job.env_set.A=1", "set the variable in the shell"),
        ("hydra/job_logging=default", "train.log"),
        ("hydra/hydra_logging=default", "train.log"),
        ("hydra/help=default", "medtrain --help"),
        ("hydra.help.app_name=x", "medtrain --help"),
        ("+hydra.foo=1", "of hydra there are: run.dir"),
        ("+hydra.callbacks.e._target_=a.B", "count in a sweep (-m)"),
        ("hydra.sweep.dir=x", "counts in a sweep only: add -m, or name the run by hydra.run.dir"),
        ("+hydra.sweeper.params.seed='1,2'", "counts in a sweep only: add -m"),
        ("hydra/launcher=slrum", "no such launcher; there are: basic, slurm; did you mean 'slurm'?"),
        ("hydra/sweeper=optuna", "counts in a sweep only: add -m"),
        ("hydra/sweeper=grid", "no such sweeper; there are: basic, optuna"),
    ],
)
def test_what_does_nothing_is_refused(word: str, text: str) -> None:
    told = refused(word)
    assert text in told and len(told.splitlines()) == 1 and told.startswith(word.partition("=")[0])


def test_of_a_sweep() -> None:
    assert "hydra.sweep.dir" in refused("hydra.run.dir=x", multirun=True)
    assert "no such launcher" in refused("hydra/launcher=slurm,slrum", multirun=True)
    compose(["hydra.sweep.subdir=${hydra.job.num}", "hydra.sweep.dir=x", "hydra/launcher=slurm"], multirun=True)


def test_what_changes_nothing_passes() -> None:
    compose(["hydra.job.chdir=false", "hydra.output_subdir=null", "hydra/job_logging=none", "hydra.run.dir=x"])
    compose(["hydra/launcher=basic", "hydra/sweeper=basic"])


@pytest.mark.parametrize(
    "word",
    ["+hydra.sweeper.params.seed='1,2'", "hydra.sweeper.params.seed='1,2'", "hydra.sweeper.params={seed:'1,2'}"],
)
def test_parameters_of_the_sweeper(word: str) -> None:
    assert [v.seed for v in compose([word], multirun=True).variants] == [1, 2]


def test_parameters_of_the_sweeper_are_checked_and_can_be_replaced() -> None:
    word = "hydra.sweeper.params.seed='1,x'"
    assert refused(word, multirun=True) == "seed=x: text, where a whole number is wanted"
    assert [v.seed for v in compose([word, "seed=5"], multirun=True).variants] == [5]


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("seed=-1", "it must be at least 0"),
        ("seed=4294967296", "it must be at most 4294967295"),
        ("optimizer.lr=nan", "it is no finite number"),
        ("optimizer.lr=inf", "it is no finite number"),
        ("optimizer.lr=-inf", "it is no finite number"),
        ("data.window=[0,nan]", "it is no finite number"),
        ("+optimizer.betas=[0.9,inf]", "it is no finite number"),
        ("trainer.gradient_clip_val=inf", "it is no finite number"),
        ("eval.prevalence=nan", "it is not between 0 and 1"),
        (f"name={'x' * 300}", "has 305 bytes, where 255 are the most"),
        (f"name='{'é' * 126}'", "has 257 bytes"),
        ("name=a/b", "may hold no /"),
        ("name=..\\b", "may hold no /"),
        ("name=' '", "it names a folder"),
        ("name=..", "nor be . or .."),
        ("name='. '", "nor be . or .."),
        ('name="a\x1bb"', "control character"),
        ("hydra.run.dir=", "hydra.run.dir=: it names a folder"),
        ("hydra.run.dir=null", "it names a folder"),
        ("data.columns=5", "data.columns=5: a number, where a map is wanted"),
        ("data.columns=null", "null, where a map is wanted"),
        ("explain=all", "explain=all: text, where a map is wanted"),
        ("model=null", "model is needed; write model=OPTION"),
        ("hydra.searchpath=[file:///no/such/place]", "hydra.searchpath: /no/such/place: no such folder or package"),
        ("hydra.searchpath=[pkg://nosuchpackage]", "nosuchpackage: no such folder or package"),
    ],
)  # fmt: skip
def test_values_that_can_t_be(word: str, text: str) -> None:
    assert text in refused(word)


def test_a_group_that_is_null_is_taken_out() -> None:
    cfg = compose(["logger=null", "callbacks=null", "encoder=null", "experiment=null"]).cfg
    assert cfg.logger == {} and cfg.callbacks == {} and "encoder" not in cfg
    assert "leave it out of the sweep" in refused("encoder=null,uni", multirun=True)


@pytest.mark.parametrize("word", ["seed=range(3,1)", "model=glob(*nothing*)", "seed=glob(*)"])
def test_a_sweep_over_nothing_is_refused(word: str) -> None:
    assert refused(word, multirun=True).startswith(f"{word}: no value")


def test_a_plus_before_what_is_there_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for plus in ("", "+", "++"):
        words = [f"{plus}model=resnet18", f"{plus}task=xray_cls", f"{plus}hydra.run.dir=there"]
        assert cli.main([*words, "--cfg", "job", "--package", "model._target_"]) == 0
        assert capsys.readouterr().out == "medtrain.model.resnet18\n"
        assert cli.main(["predict", f"{plus}hydra.run.dir=x"]) == 2
        assert "predict makes no folder of its own" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ["name=a"],
            "name=a: train does nothing with it; of such keys it takes run, resume, init_from, sweep; hydra.run",
        ),
        (["inspect", "output=x"], "output=x: inspect does nothing with it; of such keys it takes run; hydra.run.dir="),
        (["test", "run=x", "output=y"], "output=y: test does nothing with it; of such keys it takes run, name"),
        (["predict", "run=x", "resume=y"], "resume=y: predict does nothing with it"),
        (["predict", "run=x", "init_from=y"], "init_from=y: predict does nothing with it"),
        (["embed", "run=x"], "run=x: embed does nothing with it; of such keys it takes output"),
        (["doctor", "input=x"], "input=x: doctor does nothing with it; of such keys it takes cache"),
        (["compare", "a", "b", "run=x"], "run=x: compare does nothing with it"),
        (["status", "a", "compare.metric=x"], "compare.metric=x: status does nothing with it"),
        (["cache.clean=true"], "cache.clean=true: train does nothing with it"),
        (["+input=x"], "input=x: train does nothing with it"),
        (["run=x", "resume=y"], "run=x and resume=y: one of them says where to start from"),
        (["--resolve"], "add --cfg job"),
        (["--package=model"], "add --cfg job"),
        (["--cfg", "job", "--info"], "one of them at a time"),
    ],
)
def test_what_a_verb_does_not_read_is_refused(words: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    assert text in capsys.readouterr().err


def test_a_name_of_250_bytes_passes() -> None:
    compose([f"name={'x' * 250}"])


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--config-name", "x"], "experiment=NAME"),
        (["-cn=x"], "experiment=NAME"),
        (["--config-path=x"], "--config-dir DIR"),
        (["--shell-completion", "install=bash"], "medtrain --completion bash"),
        (["--hydra-help"], "medtrain --help"),
        (["--experimental-rerun=x"], "run=RUN hydra.run.dir=NEW"),
        (["--info", "nothing"], "it can be all, config, defaults"),
        (["--completion", "tcsh"], "it can be bash, zsh, fish"),
        (["--completion"], "wants a value: bash|zsh|fish"),
        (["--config-dir"], "wants a value"),
        (["--cfg", "x"], "it can be job, hydra, all"),
        (["--multi"], "did you mean '--multirun'?"),
    ],
)
def test_options(words: list[str], text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert text in str(error.value)


def test_options_that_are_there() -> None:
    assert parse(["--info", "seed=1"]).info == "all" and parse(["-i", "defaults"]).info == "defaults"
    assert parse(["--info", "train"]).verb == "train" and parse(["--info=config"]).info == "config"
    assert parse(["-r", "--config-dir=x", "train"]).config_dir == "x"


def test_info_and_config_dir(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "site" / "hydra" / "launcher").mkdir(parents=True)
    (tmp_path / "site" / "hydra" / "launcher" / "gpu.yaml").write_text("# ours\ndefaults: [slurm]\npartition: gpu\n")
    words = ["--config-dir", "site", "-m", "hydra/launcher=gpu", "seed=1,2"]
    assert cli.main([*words, "--cfg", "hydra", "--package", "hydra.launcher.partition"]) == 0
    assert capsys.readouterr().out == "gpu\n"
    assert cli.main(["--config-dir", "site", "--info", "searchpath"]) == 0
    assert str(tmp_path / "site") in "".join(capsys.readouterr())
    assert cli.main(["--config-dir", "nowhere"]) == 2 and "no such folder" in capsys.readouterr().err
    assert cli.main(["predict", "hydra.run.dir=x"]) == 2 and "makes no folder" in capsys.readouterr().err
    for what in ("all", "config", "defaults", "defaults-tree", "plugins"):
        assert cli.main(["--info", what]) == 0


def proposals(*words: str) -> list[str]:
    return completion.proposals(list(words), VERBS, cli.FLAGS)


def test_completion() -> None:
    assert proposals("pre") == ["predict"]
    assert {"train", "predict", "model=", "seed="} <= set(proposals("")) and "data.table=" not in proposals("")
    assert proposals("data.tab") == ["data.table="]
    assert proposals("model=resnet1") == ["model=resnet101", "model=resnet10_3d", "model=resnet18", "model=resnet18_3d"]
    assert proposals("-m", "model=resnet18,densenet12") == [
        "model=resnet18,densenet121", "model=resnet18,densenet121_3d",
    ]  # fmt: skip
    assert proposals("--comp") == ["--completion"] and proposals("list", "optim") == ["optimizer"]
    assert proposals("seed=1", "see") == [] and proposals("debug=") == ["debug=false", "debug=true"]
    assert proposals("predict", "input=") == []  # the shell knows its files


def test_completion_in_bash(tmp_path: Path) -> None:
    script = (
        f'medtrain() {{ {sys.executable} -m medtrain "$@"; }}\nsource <(medtrain --completion bash)\n'
        'try() { COMP_LINE="$1"; COMP_POINT=${#1}; COMPREPLY=(); _medtrain 2>/dev/null; echo "${COMPREPLY[*]}"; }\n'
        'try "medtrain pre"; try "medtrain model=resnet18"; try "medtrain predict run=r"\n'
    )
    (tmp_path / "runs").mkdir()
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.splitlines() == ["predict", "resnet18 resnet18_3d", "runs"], done.stderr


@pytest.mark.parametrize("words", [["--help"], ["--completion", "zsh"], ["--complete", "mod"], ["train", "--help"]])
def test_what_answers_without_torch_and_hydra(words: list[str]) -> None:
    code = (
        f"import sys\nfrom medtrain.cli import main\nassert main({words!r}) == 0\n"
        "late = {'torch', 'hydra', 'omegaconf', 'pytorch_lightning', 'pandas', 'numpy'} & set(sys.modules)\n"
        "assert not late, late"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
