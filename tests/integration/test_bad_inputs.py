"""What people get wrong, and what they are told: the message, the exit code, no traceback."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.integration.conftest import TINY, Ran

# (command line, exit code, texts that the message holds)
COMMANDS: list[tuple[str, int, list[str]]] = [
    ("tarin model=resnet18", 2, ["'tarin'", "did you mean 'train'"]),
    ("--multi", 2, ["--multi", "--multirun"]),
    ("export run=x", 2, ["run=x: no such folder"]),
    ("model=resnet19", 2, ["model=resnet19", "did you mean 'resnet18'"]),
    ("modle=resnet18", 2, ["modle=resnet18: no such key", "did you mean 'model'"]),
    ("data.bach_size=3", 2, ["data.bach_size=3", "did you mean 'batch_size'"]),
    ("+data.bach_size=3", 2, ["data.bach_size", "did you mean 'batch_size'"]),
    ("++trainer.max_epoch=3", 2, ["trainer.max_epoch", "did you mean 'max_epochs'"]),
    ("data.batch_size=many", 2, ["data.batch_size=many", "a whole number is wanted"]),
    ("data.batch_size=0", 2, ["data.batch_size=0", "at least 1"]),
    ("optimizer.lr=fast", 2, ["optimizer.lr=fast", "a number is wanted"]),
    ("data.leakage=maybe", 2, ["data.leakage=maybe", "error, warn, drop"]),
    ("eval.threshold=youdem model=resnet18", 2, ["eval.threshold", "youden"]),
    ("eval.groups=[sexx]", 2, ["eval.groups", "no column 'sexx'", "did you mean 'sex'"]),
    ("eval.prevalence=1.5", 2, ["eval.prevalence=1.5", "between 0 and 1"]),
    ("model.dropot=0.5", 2, ["model.dropot=0.5", "did you mean 'dropout'"]),
    ("+model.dropot=0.5", 2, ["model.dropot", "takes no such argument", "did you mean 'dropout'"]),
    ("model.dropout=1.5", 2, ["model", "dropout"]),
    ("data=image_table", 2, ["data.table is needed"]),
    ("data=image_table data.table=nowhere.csv", 2, ["nowhere.csv"]),
    ("model=custom", 2, ["model._target_ is needed"]),
    ("model=custom model._target_=os.system", 2, ["os.system", "not an allowed target"]),
    ("model=custom model._target_=torch.hub.load", 2, ["torch.hub.load", "not allowed here"]),
    ("model=custom model._target_=torchvision.models.resnet81", 2, ["resnet81", "did you mean 'resnet18'"]),
    ("model=custom model._target_=torchvision.models.resnet18 +model.foo=1", 2, ["model", "foo"]),
    ("data._target_=torch.nn.Linear", 2, ["data", "a _target_ can't stand here"]),
    ("model=resnet18,resnet50", 2, ["add -m"]),
    ("test", 2, ["run=DIR"]),
    ("test run=nowhere", 2, ["run=nowhere", "no such folder"]),
    ("predict run=nowhere input=a output=b", 2, ["run=nowhere"]),
    ("resume=nowhere", 2, ["nowhere"]),
    ("init_from=nowhere", 2, ["init_from", "nowhere"]),
    ("trainer.accelerator=gpu trainer.devices=1 model=resnet18", 2, ["trainer", "accelerator=gpu"]),
    ("data.fold=1", 2, ["data.fold"]),
    ("--cfg jobs", 2, ["--cfg jobs", "job, hydra, all"]),
    ("list modles", 2, ["modles", "did you mean 'model'"]),
    ("data.root=a${b}", 2, ["data.root", "${"]),
]


@pytest.mark.parametrize(("line", "code", "texts"), COMMANDS, ids=[c[0] for c in COMMANDS])
def test_command_line_faults(
    line: str, code: int, texts: list[str], medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    import torch

    if "gpu" in line and torch.cuda.is_available():
        pytest.skip("this machine has the GPU that the command asks for")
    small = (
        ["data.patients=24", "data.image_size=32"]
        if any(word in line for word in ("init_from", "fold", "groups"))
        else []
    )
    ran = medtrain(*line.split(), *small)
    assert ran.code == code, ran.err
    for text in texts:
        assert text in ran.err
    assert "Traceback" not in ran.err
    assert len(ran.err.strip().splitlines()) <= 3


def test_all_faults_at_once(medtrain: Callable[..., Ran]) -> None:
    ran = medtrain("model=resnt18", "data.batch_size=x", "+nonsense=1", "optimizer.lr=-1", "data.leakage=no")
    assert ran.code == 2
    for text in ("resnt18", "data.batch_size=x", "nonsense", "optimizer.lr=-1", "data.leakage=no"):
        assert text in ran.err


def test_a_sweep_is_checked_before_its_first_job(medtrain: Callable[..., Ran], folder: Path) -> None:
    ran = medtrain("-m", "model=resnet18,resnet99", "optimizer.lr=0.1,slow")
    assert ran.code == 2 and "resnet99" in ran.err and "optimizer.lr=slow" in ran.err
    assert not (folder / "outputs").exists()


def test_a_fault_of_the_configuration_leaves_no_folder(medtrain: Callable[..., Ran], folder: Path) -> None:
    assert medtrain("+model.dropot=0.5").code == 2
    assert not (folder / "outputs").exists()


def write_images(folder: Path, count: int = 40) -> list[str]:
    """A table of `count` readable images, two a patient; returns its lines."""
    rng = np.random.default_rng(0)
    lines = ["path,label,patient"]
    for i in range(count):
        Image.fromarray(rng.integers(0, 255, (20, 20), dtype=np.uint8)).save(folder / f"i{i}.png")
        lines.append(f"i{i}.png,{i // 2 % 2},p{i // 2}")
    return lines


TABLES: list[tuple[str, Callable[[Path, list[str]], list[str]], list[str], int, list[str]]] = [
    ("empty table", lambda f, t: t[:1], [], 1, ["my.csv"]),
    ("missing file", lambda f, t: [*t, "gone.png,1,p99"], [], 1, ["gone.png", "row 42"]),
    ("no label column", lambda f, t: [line.replace("label", "lable") for line in t], [], 2, ["data.columns.label"]),
    ("named column missing", lambda f, t: t, ["data.columns.label=lebel"], 2, ["lebel", "label"]),
    ("one class only", lambda f, t: [t[0], *(x.replace(",1,", ",0,") for x in t[1:])], [], 1, ["class"]),
    ("words without positive", lambda f, t: [x.replace(",1,", ",sick,").replace(",0,", ",well,") for x in t], [], 2,
     ["data.classes=[well,sick]", "data.positive='sick'"]),
    ("label outside classes", lambda f, t: [*t[:5], "i39.png,7,p88", *t[5:-1]], ["data.classes=[0,1]"], 1, ["7"]),
    ("bad query", lambda f, t: t, ["data.filter=nothing > 3"], 2, ["data.filter"]),
    ("bad pattern", lambda f, t: t, ["data.patient_pattern=(("], 2, ["data.patient_pattern"]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "change", "extra", "code", "texts"), TABLES, ids=[t[0] for t in TABLES])
def test_table_faults(
    name: str,
    change: Callable[[Path, list[str]], list[str]],
    extra: list[str],
    code: int,
    texts: list[str],
    medtrain: Callable[..., Ran],
    folder: Path,
) -> None:
    (folder / "my.csv").write_text("\n".join(change(folder, write_images(folder))) + "\n")
    small = ["model=resnet18", "data.image_size=32", "trainer=cpu", "trainer.max_epochs=1", "data.num_workers=0"]
    ran = medtrain("data=image_table", "data.table=my.csv", f"data.cache_dir={folder / 'cache'}", *small, *extra)
    assert ran.code == code, ran.err
    for text in texts:
        assert text in ran.err
    assert "Traceback" not in ran.err


def test_unreadable_images_are_all_listed_and_kept(medtrain: Callable[..., Ran], folder: Path) -> None:
    lines = write_images(folder)
    for i in range(25):
        (folder / f"i{i}.png").write_bytes(b"" if i % 2 else (folder / f"i{i}.png").read_bytes()[:60])
    (folder / "my.csv").write_text("\n".join(lines) + "\n")
    common = ["data=image_table", "data.table=my.csv", f"data.cache_dir={folder / 'cache'}", "data.num_workers=0"]
    ran = medtrain(*common, "model=resnet18", "data.image_size=32", "hydra.run.dir=out", "trainer=cpu")
    assert ran.code == 1 and "25" in ran.err and "i0.png" in ran.err
    again = medtrain(*common, "model=resnet18", "data.image_size=32", "hydra.run.dir=out", "trainer=cpu")
    assert again.code == 1 and "unreadable" in again.err  # nothing was lost there: the folder can be used again
    listed = (folder / "out" / "problems.csv").read_text()
    assert all(f"i{i}.png" in listed for i in range(25))
    assert '"status": "failed"' in (folder / "out" / "run.json").read_text()


def test_a_damaged_run_is_refused(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    copy = folder / "copy"
    shutil.copytree(trained, copy)
    (copy / "checkpoints" / "best.ckpt").write_bytes(b"not a checkpoint")
    ran = medtrain("test", f"run={copy}")
    assert ran.code == 1 and "best.ckpt" in ran.err
    shutil.copy(trained / "checkpoints" / "last.ckpt", copy / "checkpoints" / "best.ckpt")
    blob = bytearray((copy / "checkpoints" / "best.ckpt").read_bytes())
    (copy / "checkpoints" / "best.ckpt").write_bytes(bytes(blob) + b"\0")
    ran = medtrain("test", f"run={copy}")
    assert ran.code == 1 and ("SHA-256" in ran.err or "decision.json" in ran.err)


def test_a_stranger_s_run_runs_no_code(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    copy = folder / "copy"
    shutil.copytree(trained, copy)
    config = (copy / "config.yaml").read_text()
    evil = config.replace("_target_: medtrain.model.resnet18", "_target_: subprocess.Popen\n  args: [touch, hacked]")
    (copy / "config.yaml").write_text(evil)
    for verb in (["test"], ["predict", "input=.", "output=o.csv"], ["train", "hydra.run.dir=new"]):
        ran = medtrain(*verb, f"run={copy}")
        assert ran.code == 2 and "not an allowed target" in ran.err
    (copy / "config.yaml").write_text(evil.replace("trust: []", "trust: [subprocess]"))
    ran = medtrain("test", f"run={copy}")
    assert ran.code == 2
    assert not (folder / "hacked").exists()


# every verb by the real command, here or, where it needs more, with what it writes
INSTALLED: list[tuple[str, int, str]] = [
    ("--help", 0, "usage: medtrain"),
    ("predict --help", 0, "examples:"),
    ("model=resnet19", 2, "did you mean 'resnet18'"),
    ("data.bach_size=3 debug=true", 2, "Traceback"),
    ("export run=nowhere", 2, "no such folder"),
    ("compare a b", 2, "a: no such run"),
    ("data=image_table data.table=nowhere.csv", 2, "nowhere.csv"),
    ("test run=nowhere", 2, "no such folder"),
    ("explain run=nowhere input=a output=b", 2, "no such folder"),
    ("ensemble runs=nowhere", 2, "nowhere: no such run"),
    ("status nowhere", 2, "nowhere: no such run"),
    ("submit model=resnet19", 2, "did you mean 'resnet18'"),
    ("init data.table=nowhere.csv", 2, "no such file: nowhere.csv"),
    ("embed task=wsi_mil data=slide_table data.table=nowhere.csv", 2, "nowhere.csv"),
    ("list model", 0, "resnet18"),
    ("doctor", 0, "torch"),
    ("--cfg job", 0, "name: phantom_xray"),
]


@pytest.mark.parametrize(("line", "code", "text"), INSTALLED, ids=[i[0] for i in INSTALLED])
def test_installed_command(line: str, code: int, text: str, real: Callable[..., Ran]) -> None:
    ran = real(*line.split())
    assert ran.code == code, ran.err
    assert text in ran.out + ran.err


def test_tiny_is_valid(medtrain: Callable[..., Ran]) -> None:
    assert medtrain(*TINY, "--cfg", "job").code == 0
