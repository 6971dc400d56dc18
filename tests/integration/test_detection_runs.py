"""Detection through the real command: train, test, predict, explain, a gate, what is refused."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_curve

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


def luna16(truth: dict[str, Any], predicted: list[dict[str, Any]], threshold: float) -> tuple[list[float], float]:
    """FROC at 1/8 to 8 false positives a film, and sensitivity at a threshold, as LUNA16's script has them.

    A lesion is found by the surest box whose centre lies within half of its diameter (an ellipse here); further boxes
    on it, and boxes on an excluded finding, are dropped, the others are false positives; roc_curve gives the curve,
    which numpy.interp reads.
    """
    scores, is_lesion, lesions, above = [], [], 0, 0
    for image in truth["images"]:
        boxes = [row for row in predicted if row["image_id"] == image["id"]]
        false = list(range(len(boxes)))
        for lesion in (row for row in truth["annotations"] if row["image_id"] == image["id"]):
            excluded = lesion["iscrowd"]
            x, y, wide, high = lesion["bbox"]
            within = []
            for n, row in enumerate(boxes):
                left, top, w, h = row["bbox"]
                away = (left + w / 2 - x - wide / 2) / (wide / 2), (top + h / 2 - y - high / 2) / (high / 2)
                if away[0] ** 2 + away[1] ** 2 < 1:
                    within.append(n)
            false = [n for n in false if n not in within]
            lesions += not excluded
            if within and not excluded:
                best = max(boxes[n]["score"] for n in within)
                scores, is_lesion, above = [*scores, best], [*is_lesion, 1], above + (best >= threshold)
        scores, is_lesion = [*scores, *(boxes[n]["score"] for n in false)], [*is_lesion, *[0] * len(false)]
    false_rate, true_rate, _ = roc_curve(is_lesion, scores)
    hits = sum(is_lesion)
    per_film = false_rate * (len(scores) - hits) / len(truth["images"])
    rates = (0.125, 0.25, 0.5, 1, 2, 4, 8)
    return [float(np.interp(rate, per_film, true_rate * hits / lesions)) for rate in rates], above / lesions


def test_a_run_is_judged_by_luna16s_rule_where_it_is_asked_to(
    run: Path, medtrain: Callable[..., Ran], folder: Path
) -> None:
    """Other films, whose lesions lie where the network sees something: some by the centre alone, one is excluded."""
    shutil.copytree(run, folder / "run")
    films = folder / "other" / "test"
    films.mkdir(parents=True)
    for number in range(6):
        noise = np.random.default_rng(number).integers(0, 255, (64, 64), dtype=np.uint8)
        Image.fromarray(noise).save(films / f"{number}.png")
    assert medtrain("predict", "run=run", f"input={films}", "output=seen.json", "trainer=cpu").code == 0
    seen, marks = json.loads((folder / "seen.json").read_text()), []
    for number in range(1, 7):
        own = [row["bbox"] for row in seen if row["image_id"] == number]
        x, y, wide, high = own[min(number, len(own) - 1)]  # the surest but one, two, ...
        left, top = max(x + wide / 4, 0), max(y, 0)
        box = [left, top, min(x + 1.25 * wide, 64) - left, min(y + 2 * high, 64) - top]
        marks.append({"image_id": number, "bbox": box, "iscrowd": int(number == 6)})
        left, top = max(x + wide / 2 - 4, 0), max(y + high / 2 - 3, 0)
        box = [left, top, min(left + 8, 64) - left, min(top + 6, 64) - top]
        marks.append({"image_id": number, "bbox": box, "iscrowd": 0})
    more = {"category_id": 1, "area": 48}
    file = {
        "images": [{"id": n, "file_name": f"{n - 1}.png", "height": 64, "width": 64} for n in range(1, 7)],
        "annotations": [row | more | {"id": n} for n, row in enumerate(marks, start=1)],
        "categories": [{"id": 1, "name": "nodule"}],
    }
    (films / "_annotations.coco.json").write_text(json.dumps(file))
    words = ["run=run", "data=coco", "data.root=other", "trainer=cpu", "eval.thumbnails=0"]
    results = {}
    for hit in ("centre", "iou"):
        ran = medtrain("test", *words, f"name={hit}", f"eval.hit={hit}")
        assert ran.code == 0, ran.err
        results[hit] = read(folder / "run" / f"test_{hit}" / "test_metrics.json")
    (limit,) = read(run / "decision.json")["thresholds"].values()  # type: ignore[attr-defined]
    folder_of = folder / "run" / "test_centre"
    truth, predicted = (json.loads((folder_of / f"test_{name}.json").read_text()) for name in ("truth", "predictions"))
    rates, sensitivity = luna16(truth, predicted, limit)
    own = {name: entry["value"] for name, entry in results["centre"]["metrics"].items()}  # type: ignore[attr-defined]
    names = [f"froc_{rate:g}" for rate in (0.125, 0.25, 0.5, 1, 2, 4, 8)]
    assert [own[name] for name in names] == pytest.approx(rates, abs=1e-12) and rates[-1] > 0
    assert own["cpm"] == pytest.approx(np.mean(rates), abs=1e-12) and own["sensitivity"] == pytest.approx(sensitivity)
    assert own["cpm"] > results["iou"]["metrics"]["cpm"]["value"]  # type: ignore[index]
    assert results["centre"]["hit"] == "centre" and "LUNA16" in (folder_of / "report.html").read_text()


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
        (["loss=focal"], "loss=focal doesn't fit a target of kind boxes: take a detector's own"),
        (["model=densenet121"], "is for image tasks"),
        (["augment=strong", "sampler=hard_negative", "task=xray_cls", "model=resnet18"], "is for boxes tasks"),
        (["eval.threshold=youden"], "fp_per_image@X"),
        (["model.strides=[8,32]"], "model.strides"),
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
