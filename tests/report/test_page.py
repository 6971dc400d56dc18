"""The report: one file, no network, every user text escaped, whatever of the run is there."""

from __future__ import annotations

import base64
import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest
from fabricate import make_run

from medtrain.core.errors import MedtrainError
from medtrain.report import write_report
from medtrain.report.folder import read_folder

EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def binary(tmp_path_factory):
    """A binary run and its report."""
    folder = make_run(tmp_path_factory.mktemp("binary") / "run", "binary", ["normal", "pneumonia"])
    return folder, write_report(folder).read_text(encoding="utf-8")


def copy(folder, to, *without):
    shutil.copytree(folder, to, ignore=shutil.ignore_patterns(*without, "plots", "report.html"))
    return to


def test_explorer_table_and_file_have_the_same_intervals(binary):
    folder, html = binary
    metrics = json.loads((folder / "test_metrics.json").read_text())["metrics"]
    curve = json.loads(re.search(r'id="explorer-data">(.*?)</script>', html, re.S)[1])[0]
    for name in ("sensitivity", "specificity", "ppv", "npv"):
        value, low, high = curve[name][curve["start"]]
        assert [value, low, high] == pytest.approx([metrics[name]["value"], *metrics[name]["ci95"]], abs=1e-5)
        assert f"{low:.3f} to {high:.3f}" in html


def test_few_patients_of_a_class_are_told(binary, tmp_path):
    folder = copy(binary[0], tmp_path / "run")
    test = json.loads((folder / "test_metrics.json").read_text())
    assert test["few"] is None and "not to be relied on" not in binary[1]
    few = {"few": {"pneumonia": {"positive": 4, "negative": 76}}}
    group = {"n_cases": 9, "n_patients": 9, "events": {"pneumonia": 4}, "metrics": test["metrics"]} | few
    test |= few | {"groups": {"site": {"north": group}}}
    test["metrics"]["auroc"] = {"value": 1.0, "ci95": None, "reason": "1 from 4 patients"}
    (folder / "test_metrics.json").write_text(json.dumps(test))
    html = write_report(folder).read_text(encoding="utf-8")
    sentence = (
        "ewer than 10 positive or negative patients: pneumonia (4 positive, 76 negative). Their intervals are not"
    )
    assert html.count(sentence) == 2 and "none: 1 from 4 patients" in html


def test_one_file_that_asks_nothing_of_the_network(binary):
    _, html = binary
    assert "http://" not in html and "https://" not in html
    sources = re.findall(r'(?:src|href)="([^"]{0,30})', html)
    assert sum(s.startswith("data:image/png") for s in sources) == 7
    assert all(s.startswith(("data:", "#")) for s in sources)
    assert "url(" not in html and "@import" not in html
    for picture in re.findall(r"data:image/png;base64,([^\"]+)", html):
        assert base64.b64decode(picture).startswith(b"\x89PNG")


def test_it_says_what_the_run_found(binary):
    folder, html = binary
    metrics = json.loads((folder / "test_metrics.json").read_text())["metrics"]
    assert "<h1>densenet121 on phantom_xray</h1>" in html and "xray_cls" in html
    for name in ("auroc", "f1", "ece"):
        assert f"{metrics[name]['value']:.3f}</td>" in html
        if name == "ece":  # biased: no interval
            continue
        low, high = metrics[name]["ci95"]
        assert f"{low:.3f} to {high:.3f}" in html
    assert f"160 cases of 80 patients), AUROC for pneumonia is {metrics['auroc']['value']:.3f} (95 %" in html
    positives = (pd.read_csv(folder / "test_predictions.csv")["target"] == "pneumonia").sum()
    shown = re.sub(r"<[^>]+>", " ", html)
    assert re.search(rf"test: 160 images\s+80 patients\s+{positives} positive \(pneumonia\)", shown)
    assert re.search(r"train: 300 images\s+100 patients\s+fits the weights", shown)
    for fact in ("6 min 12 s", "812 MB", "4 % of the time", "torch 2.6.0", "9f86d081884c7d65", "finished"):
        assert fact in html
    assert "<h3>By class" not in html
    assert "&lt;b&gt;not bold&lt;/b&gt;" in html and '<details id="config">' in html


def test_figures_are_files_too(binary):
    folder, _ = binary
    names = {path.stem for path in (folder / "plots").iterdir()}
    curves = {"curves", "roc", "precision_recall", "calibration_curve", "decision_curve"}
    assert names == {*curves, "reliability", "confusion"}


def test_the_banner_appears_only_for_synthetic_data(binary, tmp_path):
    folder, html = binary
    assert "Synthetic data:" in html
    real = copy(folder, tmp_path / "real", "test_predictions.csv", "metrics.csv")
    run = json.loads((real / "run.json").read_text())
    del run["synthetic"]
    (real / "run.json").write_text(json.dumps(run))
    assert "ynthetic" not in write_report(real).read_text(encoding="utf-8")


def test_a_constant_prediction_is_a_banner(binary, tmp_path):
    folder = copy(binary[0], tmp_path / "flat")
    test = json.loads((folder / "test_metrics.json").read_text())
    (folder / "test_metrics.json").write_text(json.dumps(test | {"warnings": [f"constant prediction: {EVIL}"]}))
    html = write_report(folder).read_text(encoding="utf-8")
    assert "constant prediction: &lt;script" in html and "constant prediction" not in binary[1]


@pytest.mark.parametrize("kind", ["binary", "multiclass", "multilabel"])
def test_user_text_is_escaped(kind, tmp_path):
    classes = ["a & b $x_$", EVIL] if kind == "binary" else ["a & b $x_$", EVIL, "_c"]
    folder = make_run(tmp_path / "run", kind, classes, n=60)
    run = json.loads((folder / "run.json").read_text())
    run |= {"model": EVIL, "status": "failed", "host": EVIL, "started": EVIL}
    (folder / "run.json").write_text(json.dumps(run))
    html = write_report(folder).read_text(encoding="utf-8")
    assert EVIL not in html and "&lt;script&gt;" in html
    assert re.findall(r"<script[^>]*>", html) == ['<script type="application/json" id="explorer-data">', "<script>"]
    assert "a &amp; b" in html or kind == "binary"
    assert "did not finish" in html
    assert ("<h3>By class" in html) == (kind != "binary")


@pytest.mark.parametrize(
    "missing",
    [
        ("run.json", "metrics.csv", "splits.csv", "config.yaml"),
        ("test_metrics.json", "test_predictions.csv"),
        ("run.json", "splits.csv", "metrics.csv", "config.yaml", "test_predictions.csv"),
    ],
)
def test_missing_files_do_not_break_it(binary, tmp_path, missing):
    html = write_report(copy(binary[0], tmp_path / "run", *missing)).read_text(encoding="utf-8")
    assert ('<section id="metrics"' in html) == ("test_metrics.json" not in missing)
    assert html.count("<img") == 7 - ("metrics.csv" in missing) - 6 * ("test_predictions.csv" in missing)


def test_blank_and_empty_columns_do_not_break_it(binary, tmp_path):
    folder = copy(binary[0], tmp_path / "run")
    (folder / "metrics.csv").write_text("epoch,step,train_loss,val_loss,val_auroc\n0,1,,,\n")
    (folder / "splits.csv").write_text("")
    table = pd.read_csv(folder / "test_predictions.csv")
    table["target"] = None
    table.to_csv(folder / "test_predictions.csv", index=False)
    assert write_report(folder).read_text(encoding="utf-8").count("<img") == 0


def test_undefined_values_are_not_numbers(binary, tmp_path):
    folder = copy(binary[0], tmp_path / "run", "test_predictions.csv")
    test = json.loads((folder / "test_metrics.json").read_text())
    test["metrics"] = {name: {"value": None, "ci95": None} for name in test["metrics"]}
    (folder / "test_metrics.json").write_text(json.dumps(test))
    html = write_report(folder).read_text(encoding="utf-8")
    assert html.count("<td>n/a</td></tr>") == len(test["metrics"]) and "no metric is defined" in html


def test_a_further_test_finds_the_run_one_level_up(binary, tmp_path):
    run = copy(binary[0], tmp_path / "run", "metrics.csv")
    further = run / "test_1"
    further.mkdir()
    for name in ("test_metrics.json", "test_predictions.csv"):
        (run / name).rename(further / name)
    html = write_report(further).read_text(encoding="utf-8")
    assert (further / "report.html").is_file() and not (run / "report.html").exists()
    assert "Synthetic data:" in html and "densenet121" in html and "Configuration" in html


def test_detection_runs_have_metrics_without_predictions(binary, tmp_path):
    folder = copy(binary[0], tmp_path / "run", "test_predictions.csv")
    run = json.loads((folder / "run.json").read_text())
    run |= {"spec": {"label_kind": "boxes", "classes": ["nodule"]}, "task": "lesion_det"}
    (folder / "run.json").write_text(json.dumps(run))
    metrics = {"map": {"value": 0.31, "ci95": [0.2, 0.4]}, "froc_0.125": {"value": 0.5, "ci95": None}}
    (folder / "test_metrics.json").write_text(json.dumps({"split": "test", "n_cases": 5, "metrics": metrics}))
    html = write_report(folder).read_text(encoding="utf-8")
    assert "mAP is 0.310" in html and "Sensitivity at 0.125 false positives per image" in html


def test_names_that_look_like_numbers_or_blanks_stay_names(tmp_path):
    folder = make_run(tmp_path / "run", "multiclass", ["007", "NA", "1.0"], n=60)
    read = read_folder(folder).predictions()
    table = pd.read_csv(folder / "test_predictions.csv", dtype=str, keep_default_na=False)
    assert np.isfinite(read.target_NC).all()
    assert read.target_NC.sum(axis=0).tolist() == [(table["target"] == c).sum() for c in ("007", "NA", "1.0")]
    assert read.probs_NC[:, 0].tolist() == table["prob_007"].astype(float).tolist()


def test_what_is_no_run_folder_and_what_is_broken_say_so(tmp_path):
    with pytest.raises(MedtrainError, match="is no run folder"):
        write_report(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(MedtrainError, match=r"run\.json: damaged: it is no JSON: line 1"):
        write_report(tmp_path)
