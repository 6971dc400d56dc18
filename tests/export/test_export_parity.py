"""Two files of predictions: what is the same passes, what is not is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from medtrain.export.parity import Limits, compare_classes

ROWS = "case,patient,prediction,prob_no,prob_yes,error\na,p,yes,0.4,0.6,\nb,p,no,0.51,0.49,\nc,c,,,,no such file\n"


def compared(tmp_path: Path, theirs: str, **more: object) -> tuple[float, list[str], list[str]]:
    one, other = tmp_path / "one.csv", tmp_path / "other.csv"
    one.write_text(ROWS)
    other.write_text(theirs)
    parity = compare_classes(one, other, Limits(thresholds={"yes": 0.5}, **more))  # type: ignore[arg-type]
    return parity.largest, parity.changed, parity.faults


def test_the_same_is_the_same(tmp_path: Path) -> None:
    assert compared(tmp_path, ROWS) == (0.0, [], [])
    largest, changed, faults = compared(tmp_path, ROWS.replace("0.6", "0.600009"))
    assert (round(largest, 7), changed, faults) == (9e-6, [], [])


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("0.6,", "0.6001,", "a: prob_yes 0.6001, not 0.6"),
        ("0.6,", ",", "a: prob_yes , not 0.6"),
        ("no such file", "other", "c: error 'other', not 'no such file'"),
        ("a,p,", "a,q,", "a: patient 'q', not 'p'"),
        ("b,p,no", "b,p,yes", "b: prediction yes, not no; 0.01 from where it tips"),
        ("prob_no", "prob_non", "columns case, patient, prediction, prob_non, prob_yes, error, not case"),
        ("c,c,,,,no such file\n", "", "2 cases, not the same 3"),
    ],
)
def test_what_differs_is_named(tmp_path: Path, old: str, new: str, fault: str) -> None:
    _, _, faults = compared(tmp_path, ROWS.replace(old, new, 1))
    assert len(faults) == 1
    assert faults[0].startswith(fault)


def test_in_half_precision_a_decision_may_change_near_its_threshold_only(tmp_path: Path) -> None:
    theirs = ROWS.replace("b,p,no", "b,p,yes")
    assert compared(tmp_path, theirs, probability=0.02, changes=True)[1:] == (
        ["b: prediction yes, not no; 0.01 from where it tips"],
        [],
    )
    assert len(compared(tmp_path, theirs, probability=1e-3, changes=True)[2]) == 1
