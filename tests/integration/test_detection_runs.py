"""Detection through the real command: train, test, predict, explain, a gate, what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.integration.conftest import TINY_BOXES, Ran, run_of


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, phantom_cache: Path) -> Iterator[Path]:
    yield from run_of([*TINY_BOXES, "sampler=hard_negative"], tmp_path_factory)


def read(file: Path) -> dict[str, object]:
    return json.loads(file.read_text())


def test_a_run_says_what_it_found_in_cocos_words(run: Path) -> None:
    told = read(run / "test_metrics.json")
    wanted = {
        "map",
        "map50",
        "map75",
        "ap10",
        "ap30",
        "map_small",
        "cpm",
        "froc_0.125",
        "froc_8",
        "fp_per_negative_image",
    }
    assert wanted <= set(told["metrics"]) and set(told["per_class"]) == {"nodule"}  # type: ignore[call-overload]
    assert read(run / "decision.json")["policy"] == "f1"
    truth, said = read(run / "test_truth.json"), json.loads((run / "test_predictions.json").read_text())
    splits = pd.read_csv(run / "splits.csv")
    assert [i["file_name"] for i in truth["images"]] == splits.loc[splits["split"] == "test", "case"].tolist()  # type: ignore[attr-defined]
    size = {i["id"]: (i["width"], i["height"]) for i in truth["images"]}  # type: ignore[attr-defined]
    for row in said:
        x, y, w, h = row["bbox"]
        assert x >= -1 and y >= -1 and x + w <= size[row["image_id"]][0] + 1 and y + h <= size[row["image_id"]][1] + 1
    assert "val_map50" in pd.read_csv(run / "metrics.csv")
    page = (run / "report.html").read_text()
    assert "FROC" in page and "mAP at IoU 0.50" in page and 'id="pictures"' in page
    assert (run / "plots" / "froc.png").is_file() and (run / "val_truth.json").is_file()


def test_map_is_pycocotools_on_the_files(run: Path) -> None:
    coco, evaluation = pytest.importorskip("pycocotools.coco"), pytest.importorskip("pycocotools.cocoeval")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(run / "test_truth.json"))
        judged = evaluation.COCOeval(truth, truth.loadRes(str(run / "test_predictions.json")), "bbox")
        judged.evaluate()
        judged.accumulate()
        judged.summarize()
    own = read(run / "test_metrics.json")["metrics"]
    names = ("map", "map50", "map75")
    assert [own[name]["value"] for name in names] == pytest.approx(judged.stats[:3].tolist(), abs=1e-9)  # type: ignore[index]


def test_test_again_predict_and_explain(run: Path, medtrain: Callable[..., Ran], folder: Path) -> None:
    shutil.copytree(run, folder / "run")
    again = medtrain("test", "run=run", "trainer=cpu")
    assert again.code == 0, again.err
    first, second = (read(folder / "run" / name / "test_metrics.json") for name in ("", "test_test"))
    assert second["metrics"] == first["metrics"]
    (folder / "films").mkdir()
    for number, shape in enumerate([(90, 120), (64, 64)]):
        noise = np.random.default_rng(number).integers(0, 255, shape, dtype=np.uint8)
        Image.fromarray(noise).save(folder / "films" / f"{number}.png")
    (folder / "films" / "broken.png").write_text("no picture")
    said = medtrain("predict", "run=run", "input=films", "output=found.json", "trainer=cpu")
    assert said.code == 1 and "broken.png" in said.err
    said = medtrain("predict", "run=run", "input=films", "output=corrected", "format=yolo", "trainer=cpu")
    assert said.code == 1 and "below it are left out" in said.out
    labels = {file.stem: len(file.read_text().splitlines()) for file in (folder / "corrected/labels").iterdir()}
    shown = [row["file_name"] for row in json.loads((folder / "found.json").read_text()) if row["shown"]]
    assert labels == {name: shown.count(f"{name}.png") for name in ("0", "1")}
    beside = pd.read_csv(folder / "corrected.images.csv").set_index("case")
    assert beside["boxes"].to_dict() == {f"{name}.png": labels.get(name, 0) for name in ("0", "1", "broken")}
    assert isinstance(beside.loc["broken.png", "error"], str)
    refused = medtrain("predict", "run=run", "input=films", "output=corrected", "format=yolo", "trainer=cpu")
    assert refused.code == 2 and "is there already" in refused.err
    rows = json.loads((folder / "found.json").read_text())
    assert {row["image_id"] for row in rows} <= {1, 2} and {"bbox", "score", "category", "shown"} <= set(rows[0])
    assert all(row["bbox"][0] + row["bbox"][2] <= 121 for row in rows)
    shown = medtrain("explain", "run=run", "input=films", "output=maps", "trainer=cpu")
    assert shown.code == 1, shown.err
    table = pd.read_csv(folder / "maps" / "explain.csv")
    assert set(table["case"]) == {"0.png", "1.png", "broken.png"}
    assert (folder / "maps" / "pictures" / "0_boxes.png").is_file()
    assert "0_boxes.png" in (folder / "maps" / "index.html").read_text()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["loss=own"], "take loss=detection"),
        (["model=faster_rcnn_mobilenet", "loss=detection"], "take loss=own"),
        (["loss=focal"], "detectors bring their own losses"),
        (["model=densenet121"], "is for image tasks"),
        (["augment=strong", "sampler=hard_negative", "task=xray_cls", "model=resnet18"], "is for boxes tasks"),
        (["eval.threshold=youden"], "fp_per_image@X"),
        (["model.strides=[8,32]"], "model.strides"),
        (["eval.tta=4"], "eval.tta=4: task=lesion_det does without"),
        (["eval.mc_dropout=4"], "eval.mc_dropout=4"),
        (["loss.assign=hungarian"], "it can be task_aligned, centre"),
    ],
)
def test_refused_before_data_are_read(words: list[str], told: str, medtrain: Callable[..., Ran], folder: Path) -> None:
    chosen = {word.partition("=")[0] for word in words}
    ran = medtrain(*[word for word in TINY_BOXES[:2] if word.partition("=")[0] not in chosen], *words)
    assert ran.code == 2 and told in ran.err, ran.err


def test_a_gate_takes_boxes_away_where_it_sees_no_lesion(
    run: Path, trained: Path, medtrain: Callable[..., Ran], folder: Path
) -> None:
    shutil.copytree(run, folder / "run")
    shutil.copytree(trained, folder / "gate")
    decision = read(folder / "gate" / "decision.json")
    decision["thresholds"] = dict.fromkeys(decision["thresholds"], 1.0)  # type: ignore[call-overload]
    (folder / "gate" / "decision.json").write_text(json.dumps(decision))
    ran = medtrain("test", "run=run", "trainer=cpu", "eval.gate=gate", "eval.bootstrap=0")
    assert ran.code == 0, ran.err
    assert json.loads((folder / "run" / "test_test" / "test_predictions.json").read_text()) == []
    scaled = medtrain(
        "test", "run=run", "trainer=cpu", "eval.gate=gate", "eval.gate_by=scale", "eval.bootstrap=0", "name=s"
    )
    assert scaled.code == 0, scaled.err
    before, after = (json.loads((folder / "run" / n / "test_predictions.json").read_text()) for n in ("", "test_s"))
    assert len(before) == len(after) and max(r["score"] for r in after) < max(r["score"] for r in before)
    wrong = medtrain("test", "run=gate", "trainer=cpu", "eval.gate=gate")
    assert wrong.code == 2 and "is for boxes" in wrong.err
