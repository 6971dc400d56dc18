"""The life of a run: its files, repeating it, stopping and going on, warm starts, external data, real films."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from sklearn.metrics import roc_auc_score

from medtrain.core import process
from tests import preloaded
from tests.integration.conftest import TINY, Ran, ended


def weights(run: Path, name: str = "last") -> dict[str, torch.Tensor]:
    return torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


def test_the_files_of_a_run(trained: Path) -> None:
    names = (
        "config.yaml run.json splits.csv checkpoints/best.ckpt checkpoints/last.ckpt decision.json metrics.csv "
        "train.log test_metrics.json test_predictions.csv report.html plots tensorboard failures/failures.csv"
    )
    for name in names.split():
        assert (trained / name).exists(), name
    run = json.loads((trained / "run.json").read_text())
    assert run["status"] == "finished" and run["synthetic"] is True and run["tests_counted"] == 1
    keys = (
        "verb host pid heartbeat versions devices seed spec wall_time_s peak_memory_mb images_per_s data_wait "
        "fingerprints world_size git"
    )
    assert set(keys.split()) <= set(run)
    assert (
        run["excluded"] == {}
        and run["spec"]["classes"] == ["0", "1"]
        and set(run["fingerprints"]) == {"table", "split"}
    )
    assert str(trained) not in (trained / "config.yaml").read_text()
    assert "synthetic" in (trained / "report.html").read_text().lower()


def test_metrics_agree_with_the_predictions(trained: Path) -> None:
    table = pd.read_csv(trained / "test_predictions.csv")
    splits = pd.read_csv(trained / "splits.csv")
    assert list(table.columns) == ["case", "patient", "target", "prediction", "prob_0", "prob_1"]
    assert list(table["case"]) == list(splits.loc[splits["split"] == "test", "case"])
    metrics = json.loads((trained / "test_metrics.json").read_text())
    assert metrics["n_cases"] == len(table) and metrics["n_patients"] == table["patient"].nunique()
    auroc = metrics["metrics"]["auroc"]
    assert auroc["value"] == pytest.approx(roc_auc_score(table["target"], table["prob_1"]))
    assert auroc["ci95"][0] <= auroc["value"] <= auroc["ci95"][1]
    assert splits.groupby("patient")["split"].nunique().max() == 1


def test_a_run_is_repeated_to_the_bit(real: Callable[..., Ran], folder: Path, trained: Path) -> None:
    ran = real("train", f"run={trained}", "hydra.run.dir=again")
    assert ran.code == 0, ran.err
    assert same(weights(trained), weights(folder / "again"))
    for name in ("test_predictions.csv", "splits.csv", "config.yaml"):
        assert (trained / name).read_text() == (folder / "again" / name).read_text()


def test_a_named_folder_that_holds_a_run_is_refused(medtrain: Callable[..., Ran], trained: Path) -> None:
    before = (trained / "run.json").read_text()
    ran = medtrain(*TINY, f"hydra.run.dir={trained}")
    assert ran.code == 2 and "already holds a run" in ran.err
    assert (trained / "run.json").read_text() == before


def test_a_finished_run_says_so(medtrain: Callable[..., Ran], trained: Path) -> None:
    for words in (["resume=auto", f"hydra.run.dir={trained}", *TINY], [f"resume={trained}"]):
        ran = medtrain(*words)
        assert ran.code == 0 and "finished" in ran.out, ran.err


@pytest.mark.parametrize("change", ["seed=99", "model.dropout=0.9", "data.split_seed=3", "model=resnet34"])
def test_a_run_goes_on_as_what_it_is(medtrain: Callable[..., Ran], trained: Path, change: str) -> None:
    before = (trained / "config.yaml").read_text()
    ran = medtrain(f"resume={trained}", change)
    assert ran.code == 2 and f"{change.partition('=')[0]}" in ran.err and "init_from" in ran.err
    assert (trained / "config.yaml").read_text() == before
    assert medtrain(f"resume={trained}", *TINY, "data.batch_size=8").code == 0  # the same words, and what may change


def test_a_live_run_is_refused(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    copy = folder / "copy"
    shutil.copytree(trained, copy)
    run = json.loads((copy / "run.json").read_text())
    (copy / "run.json").write_text(json.dumps(run | {"status": "running"} | process.identity()))
    ran = medtrain(f"resume={copy}")
    assert ran.code == 2 and "still running" in ran.err
    from medtrain.io import record

    run.pop("process")  # of another machine nothing but the heartbeat can be seen
    (copy / "run.json").write_text(
        json.dumps(run | {"status": "running", "host": "elsewhere", "heartbeat": record.now()})
    )
    assert medtrain(f"resume={copy}").code == 2
    old = "2020-01-01T00:00:00+00:00"
    (copy / "run.json").write_text(json.dumps(run | {"status": "running", "host": "elsewhere", "heartbeat": old}))
    assert record.status(record.read(copy)) == "lost"


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_stopped_run_goes_on_to_the_same_result(
    number: int, folder: Path, installed: Callable[..., Ran], phantom_cache: Path
) -> None:
    words = [*TINY, "trainer.max_epochs=4", "augment=light", "model.dropout=0.2"]
    assert installed(*words, "hydra.run.dir=whole").code == 0
    process = preloaded.start(*words, "seed=0", "hydra.run.dir=stopped")
    while not (folder / "stopped" / "checkpoints" / "last.ckpt").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait() == (143 if number == signal.SIGTERM else -9)
    from medtrain.io import record

    fields = record.read(folder / "stopped")
    assert record.status(fields) == ("interrupted" if number == signal.SIGTERM else "lost")
    shutil.move(folder / "stopped", folder / "moved")  # a run folder can be moved
    ran = installed("resume=moved")
    assert ran.code == 0 and "going on after epoch" in ran.out, ran.err
    for name in ("last", "best"):
        assert same(weights(folder / "whole", name), weights(folder / "moved", name))
    for name in ("test_predictions.csv", "splits.csv"):
        assert (folder / "whole" / name).read_text() == (folder / "moved" / name).read_text()
    epochs = [list(pd.read_csv(folder / run / "metrics.csv")["epoch"]) for run in ("whole", "moved")]
    assert epochs[0] == epochs[1] == [0, 1, 2, 3]


def test_auto_finds_the_newest_unfinished_run_of_the_same_configuration(
    medtrain: Callable[..., Ran], folder: Path, trained: Path
) -> None:
    ran = medtrain(*TINY, "seed=3")
    assert ran.code == 0
    (first,) = (folder / "outputs" / "xray_cls").iterdir()
    run = json.loads((first / "run.json").read_text())
    (first / "run.json").write_text(json.dumps(run | {"status": "interrupted"}))
    assert medtrain(*TINY, "seed=4", "resume=auto").code == 0  # another configuration: a new run
    assert len(list((folder / "outputs" / "xray_cls").iterdir())) == 2
    ran = medtrain(*TINY, "seed=3", "resume=auto")
    assert ran.code == 0 and str(first.name) in ran.out
    assert len(list((folder / "outputs" / "xray_cls").iterdir())) == 2
    assert json.loads((first / "run.json").read_text())["status"] == "finished"


def test_warm_start_with_other_classes(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    more = ["data.columns.label=finding", "hydra.run.dir=warm", "optimizer.lr=0"]
    ran = medtrain(*TINY, f"init_from={trained}", *more)
    assert ran.code == 0, ran.err
    assert "left fresh" in ran.out
    run = json.loads((folder / "warm" / "run.json").read_text())
    assert run["spec"]["label_kind"] == "multiclass"
    before, after = weights(trained, "best"), weights(folder / "warm")
    assert torch.equal(before["model.conv1.weight"], after["model.conv1.weight"])


def test_multilabel_and_positive_order(medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path) -> None:
    ran = medtrain(*TINY, "data.columns.label=[opacity,nodule]", "hydra.run.dir=run", "eval.threshold=youden")
    assert ran.code == 0, ran.err
    table = pd.read_csv(folder / "run" / "test_predictions.csv")
    for cls in ("opacity", "nodule"):
        assert {f"target_{cls}", f"prediction_{cls}", f"prob_{cls}"} <= set(table)
    decision = json.loads((folder / "run" / "decision.json").read_text())
    assert set(decision["thresholds"]) == {"opacity", "nodule"}
    for cls, limit in decision["thresholds"].items():
        assert ((table[f"prob_{cls}"] >= limit) == (table[f"prediction_{cls}"] == 1)).all()
    assert medtrain("test", "run=run", "eval.split=val").code == 0


def test_testing_again_and_on_other_data(medtrain: Callable[..., Ran], folder: Path, trained: Path) -> None:
    run = folder / "run"
    shutil.copytree(trained, run)
    assert medtrain("test", "run=run").code == 0
    first = (run / "test_predictions.csv").read_text()
    assert (run / "test_test" / "test_predictions.csv").read_text() == first
    assert json.loads((run / "run.json").read_text())["tests_counted"] == 2
    assert medtrain("test", "run=run").code == 0 and (run / "test_test_2").is_dir()
    ran = medtrain("test", "run=run", "data=phantom_xray", "data.phantom_seed=9", "data.patients=12", "name=other site")
    assert ran.code == 0, ran.err
    metrics = json.loads((run / "test_other site" / "test_metrics.json").read_text())
    assert metrics["n_patients"] == 12  # other data count whole
    assert metrics["decision"] == json.loads((run / "test_metrics.json").read_text())["decision"]
    ran = medtrain("test", "run=run", "data=phantom_xray", "data.image_size=64")
    assert ran.code == 2 and "data.image_size" in ran.err
    ran = medtrain("test", "run=run", "model=resnet50")
    assert ran.code == 2 and "fixed by the run" in ran.err


def test_real_films(medtrain: Callable[..., Ran], folder: Path, test_data: Path) -> None:
    """PNG and JPEG films of several sizes and depths from a table: an epoch, then predictions, one bad."""
    films = sorted(p for p in (test_data / "xray").rglob("*") if p.suffix in (".png", ".jpg"))
    rows = [f"{p.relative_to(test_data / 'xray')},{i % 2},p{i},{s}" for i, p in enumerate(films) for s in ["train"]]
    parts = ["train", "train", "val", "val", "test", "test", "train"]
    rows = [row.replace(",train", f",{parts[i]}") for i, row in enumerate(rows)]
    (folder / "films é.csv").write_text("path,label,patient,split\n" + "\n".join(rows) + "\n")
    ran = medtrain(
        "data=image_table", "data.table=films é.csv", f"data.root={test_data / 'xray'}", "data.image_size=64",
        "data.batch_size=3", "data.num_workers=0", "data.cache_dir=cache", "model=resnet18", "trainer=cpu",
        "trainer.max_epochs=1", "hydra.run.dir=run", "eval.bootstrap=20",
    )  # fmt: skip
    assert ran.code == 0, ran.err
    run = json.loads((folder / "run" / "run.json").read_text())
    assert run["synthetic"] is False
    odd = folder / "new (1), é & co=#"
    odd.mkdir()
    shutil.copy(films[0], odd / "a b.png")
    (odd / "broken.png").write_bytes(films[0].read_bytes()[:500])
    ran = medtrain("predict", "run=run", f"input={odd}", f"output={odd / 'out, 1.csv'}")
    assert ran.code == 1 and "broken.png" in ran.err
    table = pd.read_csv(odd / "out, 1.csv").set_index("case")
    assert table.loc["a b.png", ["prob_0", "prob_1"]].sum() == pytest.approx(1)
    assert isinstance(table.loc["broken.png", "error"], str) and pd.isna(table.loc["broken.png", "prob_1"])


def test_a_job_that_fails_leaves_the_others_running(
    medtrain: Callable[..., Ran], folder: Path, phantom_cache: Path
) -> None:
    """The fault shows only in the data, so the check before the sweep can't find it."""
    ran = medtrain("-m", *TINY, "data.columns.label=lable,label", "hydra.sweep.dir=sweep")
    assert ran.code == 1, ran.err
    states = [json.loads((folder / "sweep" / str(job) / "run.json").read_text())["status"] for job in (0, 1)]
    assert states == ["failed", "finished"]
    assert "did you mean 'label'" in ran.err and "failed" in ran.out and "finished" in ran.out
    rows = pd.read_csv(folder / "sweep" / "sweep.csv")
    assert rows["status"].tolist() == ["finished", "failed"] and rows["job"].tolist() == [1, 0]
    assert rows["data.columns.label"].tolist() == ["label", "lable"] and 0 <= rows["test_auroc"][0] <= 1


def test_a_full_disk_is_told_and_nothing_is_half_written(folder: Path, phantom_cache: Path) -> None:
    """An injected error: the checkpoint cannot be written."""
    code = (
        "import errno, torch\n"
        "def full(*a, **k): raise OSError(errno.ENOSPC, 'No space left on device')\n"
        "torch.save = full\n"
    )
    ran = ended(preloaded.start(*TINY, "hydra.run.dir=run", code=code))
    assert ran.code == 1 and "No space left on device" in ran.err and "Traceback" not in ran.err
    assert not list((folder / "run" / "checkpoints").glob("*"))
    assert json.loads((folder / "run" / "run.json").read_text())["status"] == "failed"


def test_auto_finds_a_run_on_a_table_named_from_here(medtrain: Callable[..., Ran], folder: Path) -> None:
    """Paths relative to the working folder: the same run, not another one."""
    from tests.integration.test_bad_inputs import write_images

    (folder / "films").mkdir()
    (folder / "my.csv").write_text("\n".join(write_images(folder / "films")) + "\n")
    words = ["data=image_table", "data.table=my.csv", "data.root=films", "data.cache_dir=cache", "data.num_workers=0"]
    words += ["model=resnet18", "data.image_size=32", "trainer=cpu", "trainer.max_epochs=1", "eval.bootstrap=20"]
    assert medtrain(*words).code == 0
    (first,) = (folder / "outputs" / "xray_cls").iterdir()
    run = json.loads((first / "run.json").read_text())
    (first / "run.json").write_text(json.dumps(run | {"status": "interrupted"}))
    ran = medtrain(*words, "resume=auto")
    assert ran.code == 0 and list((folder / "outputs" / "xray_cls").iterdir()) == [first]
    (folder / "my.csv").write_text((folder / "my.csv").read_text().replace("i0.png,0", "i0.png,1"))
    (first / "run.json").write_text(json.dumps(run | {"status": "interrupted"}))
    assert medtrain(*words, "resume=auto").code == 0  # other labels: another run
    assert len(list((folder / "outputs" / "xray_cls").iterdir())) == 2
