"""The closing table of a command."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from medtrain.report import metrics_table
from medtrain.report.words import cautions, duration, entry, label, number, with_interval

TEST = {
    "split": "test",
    "n_cases": 200,
    "n_patients": 100,
    "metrics": {
        "auroc": {"value": 0.91234, "ci95": [0.88, 0.94]},
        "ppv": {"value": None, "ci95": None},
        "auroc_micro": {"value": 0.5, "ci95": None},
    },
}


def printed(*arguments, width=60):
    console = Console(file=io.StringIO(), width=width)
    console.print(metrics_table(*arguments), crop=False)
    return console.file.getvalue()


def test_values_intervals_and_paths():
    text = printed(TEST, False, "outputs/[red]/run", "outputs/run/report.html")
    assert "AUROC" in text and "0.912" in text and "0.880 to 0.940" in text and text.count("n/a") == 2
    assert "200 cases, 100 patients" in text and "micro" not in text and "ynthetic" not in text
    assert "run     outputs/[red]/run" in text and "report  outputs/run/report.html" in text


def test_synthetic_data_are_named():
    assert "synthetic data" in printed(TEST, True, "run", None)
    assert "report" not in printed(TEST, True, "run", None)


def test_warnings_are_told():
    text = printed(TEST | {"warnings": ["constant prediction: [x]"]}, True, "run", None)
    assert "warning: constant prediction: [x]" in text and "warning" not in printed(TEST, True, "run", None)


def test_groups_and_another_prevalence_are_told():
    auroc = {"auroc": {"value": 0.75, "ci95": None}}
    site = {"n_cases": 12, "n_patients": 9, "events": {"well": 8, "sick": 4}, "metrics": auroc}
    empty = site | {"n_cases": 3, "metrics": {"auroc": {"value": None, "ci95": None}}}
    more = {
        "decision": {"thresholds": {"sick": 0.5}},
        "prevalence": {"prevalence": 0.01, "metrics": {"ppv": {"value": 0.043, "ci95": [0.02, 0.09]}}},
        "groups": {"site": {"[north]": site, "south": empty}},
    }
    text = printed(TEST | more, False, "run", None, width=100)
    assert "PPV at prevalence 0.01" in text and "0.043" in text and "by site" in text
    north, south = (next(line for line in text.splitlines() if name in line) for name in ("[north]", "south"))
    assert north.split()[1::2] == ["[north]", "12", "9", "4", "0.750", "n/a"] and south.count("n/a") == 2
    assert "of class sick" in text and "well" not in text


def test_a_long_path_stays_on_its_line():
    path = "outputs/" + "x" * 90 + "/run"
    assert path in printed(TEST, False, path, None)


def test_nothing_to_show_is_no_error():
    assert "run" in printed({}, False, "run", "report.html")


@pytest.mark.parametrize(
    ("value", "text"), [(None, "n/a"), (0.12345, "0.123"), (1234.5, "1234.5"), (3, "3"), (True, "yes"), ("x", "x")]
)
def test_numbers(value, text):
    assert number(value) == text


def test_words():
    assert label("f1_micro") == "F1, micro average" and label("own_metric") == "own_metric"
    assert entry(0.5) == ("0.500", "n/a")
    assert [duration(s) for s in (42.4, 372.5, 3725, "soon")] == ["42 s", "6 min 12 s", "1 h 2 min", "soon"]


def test_an_interval_that_is_not_there_says_why_and_few_patients_are_named():
    few = {"sick": {"positive": 3, "negative": 90}}
    metrics = {
        "auroc": {"value": 1.0, "ci95": None, "reason": "1 from 3 patients"},
        "ppv": {"value": 0.5, "ci95": [0.2, 0.8], "defined": 1931, "replicates": 2000},
        "ece": {"value": 0.08, "ci95": None, "reason": "biased", "if_calibrated": 0.07},
    }
    site = {"n_cases": 12, "n_patients": 9, "events": {}, "metrics": metrics, "few": few}
    test = TEST | {"metrics": metrics, "few": few, "groups": {"site": {"north": site}}}
    text = printed(test, False, "run", None, width=160)
    assert "none: 1 from 3 patients" in text and "0.070 expected of a calibrated model" in text
    assert "0.200 to 0.800, defined in 1,931 of 2,000 replicates" in text
    sentences = cautions(test)
    assert len(sentences) == 2 and all(sentence in text for sentence in sentences)
    assert sentences[0].startswith("Fewer than 10 positive or negative patients: sick (3 positive, 90 negative)")
    assert sentences[1].startswith("site north: fewer than 10")
    assert cautions(TEST) == []
    assert with_interval(metrics["ppv"]) == ("0.500", "0.200 to 0.800")
    assert with_interval(metrics["auroc"]) == ("1.000", "no interval")
