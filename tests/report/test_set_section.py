"""The report's section of prediction sets."""

from __future__ import annotations

from pathlib import Path

from medtrain.report.folder import RunFolder
from medtrain.report.html import draw
from medtrain.report.prediction_sets import prediction_sets

SETS = {
    "promised": 0.9, "coverage": {"a<b": {"value": 0.91, "ci95": [0.85, 0.95]}, "c": {"value": None, "ci95": None}},
    "size": {"value": 1.25, "ci95": [1.2, 1.3]}, "empty": 0.0, "one": 0.75, "several": 0.25,
}  # fmt: skip


def test_coverage_by_class_and_the_size_of_sets(tmp_path: Path) -> None:
    spec = {"label_kind": "binary", "classes": ["a<b", "c"]}
    html = draw(prediction_sets(RunFolder(tmp_path, run={"spec": spec}, test={"prediction_sets": SETS})))
    assert "0.910" in html and "0.850 to 0.950" in html and "a&lt;b" in html and "1.250 classes on average" in html
    assert "0.0 % empty, 75.0 % one, 25.0 % several" in html
    assert draw(prediction_sets(RunFolder(tmp_path, run={"spec": spec}, test={"prediction_sets": None}))) == ""


def test_labels_have_both_answers_and_no_sets_a_reason(tmp_path: Path) -> None:
    spec = {"label_kind": "multilabel", "classes": ["u", "v"]}
    sizes = {"size": {"value": 1.1, "ci95": None}, "empty": 0.0, "one": 0.9, "several": 0.1}
    sets = {
        "promised": 0.9,
        "coverage": {name: {"value": 0.92, "ci95": [0.8, 0.97]} for name in "uv"},
        "coverage_absent": {name: {"value": 0.88, "ci95": [0.7, 0.95]} for name in "uv"},
        "labels": dict.fromkeys("uv", sizes),
    }
    html = draw(prediction_sets(RunFolder(tmp_path, run={"spec": spec}, test={"prediction_sets": sets})))
    assert "0.920" in html and "0.880" in html and "0.0 % empty, 90.0 % one, 10.0 % several" in html
    none = {"prediction_sets": {"reason": "no case in common"}}
    assert "None: no case in common." in draw(prediction_sets(RunFolder(tmp_path, run={"spec": spec}, test=none)))
