"""Run folders that version 0.1.0 left: tested, predicted with, explained, compared, made an ensemble, resumed.

scripts/fixtures_0_1.py made them, with the released commit. What 0.1.0 said of them lies beside them, and holds for
whatever reads them: the same predictions, the same point values. A format that changes is migrated on reading.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from tests.integration.conftest import Ran

FIXTURES = Path(__file__).parents[1] / "fixtures" / "runs_0_1"
PLACE = "/runs_0_1"  # where paths in the fixtures say that they lie
TASKS = {
    "xray_cls": ["run"],
    "xray_classes": ["run", "multilabel"],
    "volume_cls": ["run"],
    "wsi_mil": ["run"],
    "lesion_det": ["run"],
}
ENSEMBLES = {
    ("xray_cls", "folds"): "fold_0,fold_1",
    ("volume_cls", "both"): "run,other",
    ("wsi_mil", "both"): "run,other",
}
RUNS = [(task, run) for task, runs in TASKS.items() for run in runs]
PAIRS = ["xray_cls", "volume_cls", "wsi_mil"]  # 0.1 compares no boxes
# Other processors add in another order: seen from AVX-512 to SSE, a probability then differs by less than 1e-6 after a
# forward pass, and weights by less than 1e-4 after the trainings' last steps. The slope of a calibration is that of
# logits that differ little, which enlarges it.
FORWARD, TRAINED, PIXELS = 1e-6, 1e-4, 1e-3
ENLARGED = {"calibration_slope": 100, "calibration_intercept": 100}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As the fixtures were made: with more threads, sums are rounded otherwise."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def lay(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that copies parts of a task's fixture to the working folder, and data beside them."""

    def copy(task: str, *names: str) -> None:
        for name in ("data", *names):
            shutil.copytree(FIXTURES / task / name, folder / task / name)
        for file in folder.glob(f"{task}/*/config.yaml"):
            file.write_text(file.read_text().replace(PLACE, str(folder)))
        monkeypatch.chdir(folder / task)

    return copy


def read(file: Path | str) -> Any:
    return json.loads(Path(file).read_text())


def same_table(now: Path | str, before: Path, atol: float) -> None:
    """Compare the columns that 0.1.0 wrote: numbers within `atol`, pixels within `PIXELS`, all else exactly."""
    tables = [pd.read_csv(file, dtype={"case": str, "patient": str}) for file in (now, before)]
    columns = list(tables[1].columns)
    assert set(columns) <= set(tables[0].columns)
    places = [column for column in columns if column.partition("_")[0] in ("peak", "x", "y")]
    for names, limit in (([c for c in columns if c not in places], atol), (places, PIXELS)):
        pd.testing.assert_frame_equal(tables[0][names], tables[1][names], rtol=0, atol=limit)


def same_predictions(now: Path | str, before: Path, atol: float) -> None:
    """Compare two files of predictions: tables, or boxes in COCO's format."""
    if before.suffix == ".csv":
        same_table(now, before, atol)
        return
    boxes, kept = read(now), read(before)
    assert len(boxes) == len(kept) > 0
    for box, its in zip(boxes, kept, strict=True):
        assert {k: box[k] for k in its if k not in ("bbox", "score")} == {
            k: v for k, v in its.items() if k not in ("bbox", "score")
        }
        assert box["score"] == pytest.approx(its["score"], abs=atol)
        assert box["bbox"] == pytest.approx(its["bbox"], abs=PIXELS)


def point_values(metrics: Any, name: str = "") -> dict[str, Any]:
    """All numbers and words of test_metrics.json by their path, but for intervals."""
    if isinstance(metrics, dict):
        items = [(key, value) for key, value in metrics.items() if key != "ci95"]
    elif isinstance(metrics, list):
        items = list(enumerate(metrics))
    else:
        return {name: metrics}
    return {path: leaf for key, value in items for path, leaf in point_values(value, f"{name}/{key}").items()}


def same_metrics(now: Path | str, before: Path, atol: float) -> None:
    after, kept = (point_values(read(file)) for file in (now, before))
    for path, value in kept.items():
        limit = atol * next((times for name, times in ENLARGED.items() if name in path), 1)
        near = pytest.approx(value, abs=limit, rel=limit) if isinstance(value, float) else value
        assert after.get(path) == near, path


def predictions_of(run: Path) -> Path:
    return next(run.glob("test_predictions.*"))


@pytest.mark.parametrize(("task", "run"), [*RUNS, ("xray_cls", "fold_1"), ("wsi_mil", "both")])
def test_it_is_tested(task: str, run: str, lay: Callable[..., None], medtrain: Callable[..., Ran]) -> None:
    lay(task, run)
    ran = medtrain("test", f"run={run}")
    assert ran.code == 0, ran.err
    before = FIXTURES / task / run
    same_predictions(predictions_of(Path(run, "test_test")), predictions_of(before), FORWARD)
    same_metrics(f"{run}/test_test/test_metrics.json", before / "test_metrics.json", FORWARD)


@pytest.mark.parametrize(("task", "run"), [*RUNS, *ENSEMBLES])
def test_it_predicts_and_explains(task: str, run: str, lay: Callable[..., None], medtrain: Callable[..., Ran]) -> None:
    lay(task, run)
    expected = FIXTURES / task / "expected"
    (before,) = expected.glob(f"{run}_predict.*")
    ran = medtrain("predict", f"run={run}", "input=data/new", f"output={before.name}")
    assert ran.code == 0, ran.err
    same_predictions(before.name, before, FORWARD)
    ran = medtrain("explain", f"run={run}", "input=data/new", "output=maps", "explain.sanity=0")
    assert ran.code == 0, ran.err
    for file in ("explain.csv", "regions.csv"):
        assert Path("maps", file).is_file() == (expected / f"{run}_{file}").is_file()
        if Path("maps", file).is_file():
            same_table(f"maps/{file}", expected / f"{run}_{file}", TRAINED)


@pytest.mark.parametrize("task", PAIRS)
def test_two_are_compared(task: str, lay: Callable[..., None], medtrain: Callable[..., Ran]) -> None:
    lay(task, "run", "other")
    ran = medtrain("compare", "run", "other", "output=now.json", "eval.bootstrap=50")
    assert ran.code == 0, ran.err
    now, before = read("now.json"), read(FIXTURES / task / "expected" / "compare.json")
    for key in ("n_cases", "n_patients", "metrics", "per_class"):
        both = [point_values([part.get(key) for part in report["differences"]]) for report in (now, before)]
        both = [{k: v for k, v in one.items() if k.split("/")[-1] not in ("p", "p_holm")} for one in both]
        assert {k: v for k, v in both[0].items() if k in both[1]} == pytest.approx(both[1], nan_ok=True)
    assert [run["run"] for run in now["runs"]] == [run["run"] for run in before["runs"]] == ["run", "other"]


@pytest.mark.parametrize(("task", "made"), ENSEMBLES)
def test_they_are_put_together(task: str, made: str, lay: Callable[..., None], medtrain: Callable[..., Ran]) -> None:
    members = ENSEMBLES[task, made]
    lay(task, *members.split(","))
    ran = medtrain("ensemble", f"runs={members}", "hydra.run.dir=now", "eval.bootstrap=50")
    assert ran.code == 0, ran.err
    before = FIXTURES / task / made
    same_predictions("now/test_predictions.csv", before / "test_predictions.csv", 1e-12)
    same_metrics("now/test_metrics.json", before / "test_metrics.json", 1e-12)
    assert read("now/decision.json")["thresholds"] == read(before / "decision.json")["thresholds"]


@pytest.mark.parametrize("task", TASKS)
def test_a_stopped_one_goes_on(task: str, lay: Callable[..., None], medtrain: Callable[..., Ran]) -> None:
    """To the bit where this machine trains the whole run again to the bit, as it must where 0.1.0 trained it."""
    lay(task, "run", "stopped")
    ran = medtrain("train", "run=run", "hydra.run.dir=again")
    assert ran.code == 0, ran.err
    ran = medtrain("resume=stopped")
    assert ran.code == 0 and "going on after epoch" in ran.out, ran.err
    again, now, whole = Path("again"), Path("stopped"), FIXTURES / task / "run"
    limit = 0.0 if farthest(again, whole, "last") == 0 else TRAINED
    assert farthest(now, whole, "last") <= limit
    # of epochs with an equal AUROC 0.1 kept the first, and today the one with the lower loss is kept
    alike = next(run for run in (whole, again) if best_step(run) == best_step(now))
    assert farthest(now, alike, "best") <= limit
    same_predictions(predictions_of(now), predictions_of(alike), limit)
    same_metrics(now / "test_metrics.json", alike / "test_metrics.json", limit)


def best_step(run: Path) -> int:
    """The optimizer step of the epoch that validation chose."""
    return int(torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)["global_step"])


def farthest(one: Path, other: Path, name: str) -> float:
    """The largest difference of a weight between two runs' checkpoints."""
    a, b = (torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for run in (one, other))
    assert a["global_step"] == b["global_step"] and a["state_dict"].keys() == b["state_dict"].keys()
    return max(float((a["state_dict"][key] - b["state_dict"][key]).abs().max()) for key in a["state_dict"])
