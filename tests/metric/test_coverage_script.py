"""scripts/coverage.py: no metric has an interval that is not judged there; and its rows say what they claim."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from medtrain.metric import PositiveSheet
from tests.metric.coverage_studies import classes, masks, others, quantities, results
from tests.repository import ROOT

WRITERS = {("medtrain.metric.interval", "write"), ("medtrain.metric.cluster", "number")}
KINDS = {
    "two classes": classes.Setting("two classes", 40, 2, alike=0.5),
    "labels": classes.Setting("labels", 60, labels=2, prevalence=0.3),
    "classes": classes.Setting("classes", 60, labels=-3, auroc=0.9),
}


def writers() -> dict[str, str]:
    """Find the modules that write intervals: {module: the name by which it calls the writer}."""
    calls = {}
    for path in (ROOT / "medtrain").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom):
                writing = [one.asname or one.name for one in node.names if (node.module, one.name) in WRITERS]
                if writing and path.name != "__init__.py":
                    calls[module] = writing[0]
    return calls


def noted(used: set[str], module: str, function: Callable) -> Callable:
    """Note that a module used its writer."""

    def writer(*args, **kwargs):
        used.add(module)
        return function(*args, **kwargs)

    return writer


@pytest.fixture
def fewer(monkeypatch):
    """Read truths from fewer cases, for this test alone."""
    cached = classes.truths, others.true_detection, others.true_analyses, others._pooled_auroc, others._true_paired
    cached += quantities.true_values, quantities.true_grades
    for module in (classes, others, quantities):
        monkeypatch.setattr(module, "PLENTY", 3000)
    for function in cached:
        function.cache_clear()
    yield
    for function in cached:
        function.cache_clear()


def judged() -> dict[str, dict]:
    rng = np.random.default_rng(0)
    studies = {name: classes.study(setting, rng, 30) for name, setting in KINDS.items()}
    return studies | {
        name: one(rng, 30) for name, (one, _) in (others.OTHERS | quantities.VALUES | masks.MASKS).items()
    }


def test_what_writes_an_interval_is_judged_by_the_script(fewer, monkeypatch):
    """A new analysis with an interval needs a study in the script: this fails until it is there."""
    used: set[str] = set()
    for module, name in writers().items():
        own = importlib.import_module(module)
        monkeypatch.setattr(own, name, noted(used, module, getattr(own, name)))
    studies = judged()
    assert len(writers()) > 8 and set(writers()) == used
    metrics = {metric for name in KINDS for metric in studies[name]}
    for setting in KINDS.values():
        sheet, cases = classes.draw(setting, np.random.default_rng(1))
        measured = classes.Measured(cases, sheet, 0, 0).metrics()
        assert set(measured["metrics"]) - metrics == {"ece"}  # which has none, being biased
    whole = others.true_detection()
    assert {"map", "map50", "ap10", "cpm", "froc_1", "sensitivity", "ppv", "f1", "fp_per_negative_image"} <= set(whole)


def test_a_row_says_how_often_the_truth_is_held():
    """Hand-worked: of four studies one has no value, one a null of few patients, one holds 0.5, one is a null."""
    given = [
        results.Result(0.5, np.nan, None),
        results.Result(0.5, 1.0, None, enough=False),
        results.Result(0.5, 0.6, (0.4, 0.7), reference=(0.55, 0.6)),
        results.Result(0.5, 1.0, None, reference=(0.4, 0.5)),
    ]
    parts = iter(given)
    (row,) = results.summarise("some", lambda: {"auroc": next(parts)}, 4)
    assert (row.studies, row.null, row.no_value) == (2, 1, 1)
    assert row.ours == (50.0, 0.3) and row.reference == (50.0, 0.075) and row.plain is None
    assert row.short and not row.wide


def test_rows_are_saved_and_make_the_tables_of_the_docs(tmp_path: Path):
    held = results.Row("few", "brier", (95.0, 0.2), None, (90.1, 0.1), 0, 0, 1000)
    slope = results.Row("few", "calibration_slope", (90.3, 2.0), None, None, 0, 7, 993)
    area = results.Row("few", "auroc", (96.0, 0.2), (92.0, 0.19), None, 0, 0, 1000)
    tiles = results.Row("tiles", "tile AUROC", (88.0, 0.2), None, None, 0, 0, 400)
    rows = [held, slope, area, tiles]
    results.save(rows, tmp_path / "rows.csv")
    results.save([slope], tmp_path / "rows.csv")
    assert sorted(results.load(tmp_path / "rows.csv"), key=str) == sorted(rows, key=str)
    page = tmp_path / "page.md"
    parts = [f"{begin}\nyesterday\n{end}" for begin, end in results.MADE.values()]
    page.write_text("above\n" + "\nbetween\n".join(parts) + "\nbelow\n")
    results.document(rows, page, "classes")
    results.document([], page, "numbers")
    text = page.read_text()
    assert text.startswith("above\n") and text.endswith(f"between\n{parts[1]}\nbelow\n")
    assert text.count("yesterday") == 1  # of the part that there are no rows of
    assert "| few | 96 / 92 |  |  |  | 95 / 90.1 | 90.3 |  | 1,000 |" in text and "few: 7." in text
    assert "| tiles | tile AUROC | 88 | 0.2 | 400 |" in text
    assert "errors: tiles: tile AUROC." in text and "92 %: few: auroc." in text


def test_numbers_have_a_table_without_columns_of_classes(tmp_path: Path):
    page = tmp_path / "page.md"
    page.write_text("\n".join(results.MADE["numbers"]))
    results.document([results.Row("grades", "kappa_quadratic", (93.0, 0.1), None, None, 0, 0, 80)], page, "numbers")
    text = page.read_text()
    assert "| grades | kappa_quadratic | 93 | 0.1 | 80 |" in text
    assert "slope" not in text and "Wider than others" not in text


def test_marks_stand_in_the_page_once():
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    assert all(text.count(mark) == 1 for marks in results.MADE.values() for mark in marks)


def test_a_study_has_the_truth_that_its_sheet_measures():
    setting = KINDS["two classes"]
    sheet, _ = classes.draw(setting, np.random.default_rng(0))
    assert sheet is PositiveSheet and classes.truths(setting)[0]["auroc"] == setting.auroc
